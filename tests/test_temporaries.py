"""What a killed process leaves is removed by a later one, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from vidtwin_codec import temporaries
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import atomic_path, temporary_folder

HOLD = """
import sys
from pathlib import Path
from vidtwin_codec.files import atomic_path, temporary_folder
here = Path(sys.argv[1])
with atomic_path(here / "out.vtw") as file, temporary_folder(here) as hidden, temporary_folder() as folder:
    for path in (file, hidden / "a", folder / "b"):
        path.write_bytes(b"half")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, for this process and its children."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def hold(folder: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_removed_by_a_later_run(tmp_path: Path, scratch: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    killed, living = hold(there), hold(there)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert (len(names(there)), len(names(scratch))) == (4, 2)
    next_one = hold(there)
    assert (len(names(there)), len(names(scratch))) == (4, 2)  # of the two that live
    for child in (living, next_one):
        child.communicate("")
        assert child.returncode == 0
    assert (names(there), names(scratch)) == (["out.vtw"], [])


def test_what_is_not_surely_an_orphan_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = temporaries._machine()
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    foreign = [f".vidtwin-{'0' * 8}-abc.vtw", ".vidtwin-abcdefgh.vtw", "vidtwin-x", f"other-{machine}-abc", ".vidtwin"]
    for name in foreign:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / f".vidtwin-{machine}-link.vtw").symlink_to(victim)
    (tmp_path / f"vidtwin-{machine}-unlocked").mkdir()  # just being made, perhaps
    (tmp_path / f".vidtwin-{machine}-abc.vtw").write_bytes(b"")
    (tmp_path / f".vidtwin-mark-{machine}-abc.vtw").write_bytes(b"")
    temporaries.clear(tmp_path)
    assert names(tmp_path) == sorted(
        ["victim", *foreign, f".vidtwin-{machine}-link.vtw", f"vidtwin-{machine}-unlocked"]
    )
    assert victim.read_bytes() == b"mine"


def test_temporaries_of_this_process_are_never_taken_for_orphans(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.vtw") as temporary, temporary_folder(tmp_path) as folder:
        temporary.write_bytes(b"new")
        temporaries._cleared.clear()
        temporaries.clear(tmp_path)
        assert temporary.exists()
        assert folder.is_dir()
    assert names(tmp_path) == ["a.vtw"]


def test_where_files_cannot_be_locked_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(temporaries.fcntl, "flock", refuse)
    left = tmp_path / f".vidtwin-{temporaries._machine()}-abc.vtw"
    left.touch()
    with atomic_path(tmp_path / "a.vtw") as temporary:
        temporary.write_bytes(b"new")
    assert left.exists()
    assert (tmp_path / "a.vtw").read_bytes() == b"new"


def test_no_place_for_temporaries_is_said(scratch: Path) -> None:
    scratch.rmdir()
    with pytest.raises(VidtwinError, match=f"{scratch}: No such file or directory"), temporary_folder():
        pass
    assert not os.path.exists(scratch)
