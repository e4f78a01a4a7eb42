"""Hostile files by the hundred, and the harness itself: what it must find, it finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks processes")
ROOT = Path(__file__).parent.parent
CASES = int(os.environ.get("VIDTWIN_FUZZ_CASES", "400"))
PLANTED = """
import os, signal, sys, types, warnings
from pathlib import Path
from tools.fuzz import workers
from tools.fuzz.__main__ import hunt, reproduce
from vidtwin_codec.errors import VidtwinError

workers.SECONDS, workers.GROWTH = 1, 64 << 20

def refuse(text): raise VidtwinError(text)
def spin():
    while True: pass
def grow(): bytearray(b"x") * (96 << 20)
def die(): os.kill(os.getpid(), signal.SIGSEGV)
ACTS = {
    b"0": lambda: True, b"1": lambda: refuse("no"), b"2": lambda: {}["a"], b"3": lambda: warnings.warn("old"),
    b"4": lambda: refuse("two\\nlines"), b"5": spin, b"6": grow, b"7": die,
}
target = workers.Target("planted", ".x", lambda random: b"", lambda path: ACTS[path.read_bytes()]())
object.__setattr__(target, "case", lambda seed, number: b"%d" % number)
sys.modules["tools.fuzz.targets"] = types.SimpleNamespace(TARGETS={"planted": target})
keep = Path(sys.argv[1])
assert hunt(["planted"], 8, 4, keep) == 1
for path in sorted(keep.glob("*.x")):
    print(path.name, reproduce(path))
(keep / "planted-good.x").write_bytes(b"1")
print("good", reproduce(keep / "planted-good.x"))
"""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A process of its own: one that has threads should not fork."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(180 + CASES // 5)
def test_hostile_files_are_accepted_or_refused(tmp_path: Path) -> None:
    ended = run("-m", "tools.fuzz", "--cases", str(CASES), "--keep", tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = [line.split() for line in ended.stdout.splitlines()[1:-1]]
    assert [row[0] for row in rows[-2:]] == ["state", "all"]
    for name, cases, accepted, refused, failures in rows:
        # what is never accepted, or never refused, was hardly read
        assert int(accepted) > 0, name
        assert int(refused) > int(cases) // 4, name
        assert int(failures) == 0, name
    assert int(rows[-1][1]) == CASES


def test_what_must_not_happen_is_found_and_happens_again(tmp_path: Path) -> None:
    ended = run("-c", PLANTED, tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    faults = {
        2: "KeyError",
        3: "UserWarning",
        4: "a message of several lines",
        5: "took more than 1 s of CPU time",
        6: "bytes of memory",
        7: "died of SIGSEGV",
    }
    for number, fault in faults.items():
        name = f"planted-4-{number}.x"
        assert fault in (tmp_path / f"{name}.txt").read_text().splitlines()[-1]
        assert f"{name} 1" in ended.stdout
    assert "planted            8         1        1         6" in ended.stdout
    assert "good 0" in ended.stdout
