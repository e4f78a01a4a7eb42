"""Reads hostile files by the thousand:  python -m tools.fuzz [--cases 100000] [--seed 1] [--target NAME …]

Every case is a sound file that was changed: bits, lengths, pieces, whole fields, mostly with checksums made right
again. It fails if anything but the project's own error comes of it, or a warning, more than 10 s of CPU time or 1 GiB,
or the death of the process. A failing case is kept in --keep, and read again by:  python -m tools.fuzz --reproduce FILE
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.fuzz.workers import Outcome, Target

_KEPT = 3  # of each fault
_ROUND = 20_000  # cases, after which each target has had its share


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
    """Run the cases, which are shared out among the targets; return 1 if any failed. Ends early when it is stopped."""
    from tools.fuzz.targets import TARGETS
    from tools.fuzz.workers import run_cases

    score = Score(cases, seed, keep, {name: Counter() for name in names})
    shares, rounds = sum(TARGETS[name].share for name in names), -(-cases // _ROUND)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        for one in range(rounds):
            before = 0
            for name in names:
                target = TARGETS[name]
                # of all cases, those up to this target's share; and of these, those of this round
                least, most = (cases * share // shares for share in (before, before + target.share))
                first, end = ((most - least) * place // rounds for place in (one, one + 1))
                for outcome in run_cases(target, seed, range(first, end)):
                    score.count(target, outcome)
                before += target.share
    except KeyboardInterrupt:
        print("stopped")
    score.show()
    return 1 if score.faults else 0


@dataclass
class Score:
    """Counts of a run: outcomes by target, and faults by what names them; keeps failing cases."""

    cases: int
    seed: int
    keep: Path
    counts: dict[str, Counter[str]]
    faults: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)

    def count(self, target: Target, outcome: Outcome) -> None:
        """Count a case; tell of it if it failed, and of progress now and then."""
        from tools.fuzz.workers import FAILED

        self.counts[target.name][outcome.kind] += 1
        if outcome.kind == FAILED:
            fault = f"{target.name}: {outcome.text.splitlines()[-1]}"
            self.faults[fault] += 1
            if self.faults[fault] <= _KEPT:
                self.keep.mkdir(parents=True, exist_ok=True)
                path = self.keep / f"{target.name}-{self.seed}-{outcome.number}{target.suffix}"
                path.write_bytes(target.case(self.seed, outcome.number))
                path.with_name(path.name + ".txt").write_text(outcome.text)
                print(f"{path}: {fault}", flush=True)
        if time.monotonic() - self.told > 60:
            self.told = time.monotonic()
            done = sum(kinds.total() for kinds in self.counts.values())
            print(f"{self.passed}  {done} of {self.cases}", file=sys.stderr, flush=True)

    @property
    def passed(self) -> str:
        """Time since the run began, to read."""
        seconds = round(time.monotonic() - self.began)
        return f"{seconds // 60}:{seconds % 60:02}"

    def show(self) -> None:
        """Print a line for each target, and the faults."""
        from tools.fuzz.workers import ACCEPTED, FAILED, REFUSED

        counts = {**self.counts, "all": sum(self.counts.values(), Counter[str]())}
        print(f"{'target':12}{'cases':>8}{'accepted':>10}{'refused':>9}{'failures':>10}")
        for name, one in counts.items():
            print(f"{name:12}{one.total():8}{one[ACCEPTED]:10}{one[REFUSED]:9}{one[FAILED]:10}")
        for fault, times in self.faults.most_common():
            print(f"{times:6}  {fault}")
        print(f"seed {self.seed}, {self.passed}")


def reproduce(path: Path) -> int:
    """Read a case again; return 1 if it still fails."""
    from tools.fuzz.targets import TARGETS
    from tools.fuzz.workers import FAILED, run_bytes
    from vidtwin_codec.text import printable

    name = path.name.partition("-")[0]
    if name not in TARGETS:
        print(f"{path}: its name does not begin with a target ({', '.join(TARGETS)})", file=sys.stderr)
        return 2
    outcome = run_bytes(TARGETS[name], path.read_bytes())
    print("\n".join(map(printable, f"{outcome.kind}: {outcome.text}".splitlines())))
    return 1 if outcome.kind == FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
