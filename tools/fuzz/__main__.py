"""Reads hostile files by the thousand:  python -m tools.fuzz [--cases 100000] [--seed 1] [--target NAME …]

Every case is a sound file that was changed: bits, lengths, pieces, whole fields, mostly with checksums made right
again. It fails if anything but the project's own error comes of it, or a warning, more than 10 s of CPU time or 1 GiB,
or the death of the process. A failing case is kept in --keep, and read again by:  python -m tools.fuzz --reproduce FILE
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

_KEPT = 3  # of each fault
_STEP = 400  # cases of a target at a time, times its share


def main() -> int:
    """Read the command line, run the cases, print the table."""
    parser = argparse.ArgumentParser(prog="tools.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", metavar="NAME", help="this kind of file alone; may be repeated")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for failing cases")
    parser.add_argument("--reproduce", type=Path, metavar="FILE", help="read a case that was kept")
    parser.add_argument("--bounds", action="store_true", help="compile kernels with checks of bounds, for this run")
    options = parser.parse_args()
    if not hasattr(os, "fork"):
        parser.error("needs a system that forks processes")
    if options.bounds:  # before anything is compiled; not into the cache of every day
        os.environ |= {"NUMBA_BOUNDSCHECK": "1", "VIDTWIN_CACHE": str(options.keep.absolute() / "cache")}

    from tools.fuzz.targets import TARGETS

    if options.reproduce is not None:
        return reproduce(options.reproduce)
    unknown = set(options.target or ()) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    return hunt(options.target or list(TARGETS), options.cases, options.seed, options.keep)


def hunt(names: list[str], cases: int, seed: int, keep: Path) -> int:
    """Run the cases, which are shared out among the targets; return 1 if any failed."""
    from tools.fuzz.targets import TARGETS
    from tools.fuzz.workers import FAILED, run_cases, since

    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    faults: Counter[str] = Counter()
    began, told, shares = time.monotonic(), time.monotonic(), sum(TARGETS[name].share for name in names)
    rounds = -(-cases // (_STEP * shares))
    for one in range(rounds):
        for name in names:
            target = TARGETS[name]
            first, end = (target.share * cases * place // (shares * rounds) for place in (one, one + 1))
            for outcome in run_cases(target, seed, range(first, end)):
                counts[name][outcome.kind] += 1
                if outcome.kind != FAILED:
                    continue
                fault = f"{name}: {outcome.text.splitlines()[-1]}"
                faults[fault] += 1
                if faults[fault] <= _KEPT:
                    keep.mkdir(parents=True, exist_ok=True)
                    path = keep / f"{name}-{seed}-{outcome.number}{target.suffix}"
                    path.write_bytes(target.case(seed, outcome.number))
                    path.with_name(path.name + ".txt").write_text(outcome.text)
                    print(f"{path}: {fault}", flush=True)
            if time.monotonic() - told > 60:
                told = time.monotonic()
                done = sum(kinds.total() for kinds in counts.values())
                print(f"{since(began)}  {done} of {cases}", file=sys.stderr, flush=True)
    print(table(counts))
    for fault, times in faults.most_common():
        print(f"{times:6}  {fault}")
    print(f"seed {seed}, {since(began)}")
    return 1 if faults else 0


def table(counts: dict[str, Counter[str]]) -> str:
    """One line for each target, and the sum."""
    from tools.fuzz.workers import ACCEPTED, FAILED, REFUSED

    counts = {**counts, "all": sum(counts.values(), Counter())}
    lines = [f"{'target':12}{'cases':>8}{'accepted':>10}{'refused':>9}{'failures':>10}"]
    lines += [
        f"{name:12}{one.total():8}{one[ACCEPTED]:10}{one[REFUSED]:9}{one[FAILED]:10}" for name, one in counts.items()
    ]
    return "\n".join(lines)


def reproduce(path: Path) -> int:
    """Read a case again; return 1 if it still fails."""
    from tools.fuzz.targets import TARGETS
    from tools.fuzz.workers import FAILED, run_bytes

    name = path.name.partition("-")[0]
    if name not in TARGETS:
        print(f"{path}: its name does not begin with a target ({', '.join(TARGETS)})", file=sys.stderr)
        return 2
    outcome = run_bytes(TARGETS[name], path.read_bytes())
    print(f"{outcome.kind}: {outcome.text}")
    return 1 if outcome.kind == FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
