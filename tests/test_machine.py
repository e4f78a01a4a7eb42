"""Memory and cores, also of containers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from vidtwin_codec import machine
from vidtwin_codec.errors import VidtwinError

GIB = 1 << 30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for files of control groups, on a machine of 16 GiB and 12 cores."""
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(machine, "_usable_cores", lambda: 12)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"total": 16 * GIB}))
    machine.memory.cache_clear()
    yield tmp_path
    machine.memory.cache_clear()


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


def test_this_machine_has_some() -> None:
    assert machine.memory() > GIB // 8
    assert machine.cores() >= 1


def test_without_control_groups_the_machine_counts(groups: Path) -> None:
    assert (machine.memory(), machine.cores()) == (16 * GIB, 12)


def test_limits_of_version_2_are_those_of_all_groups_around(groups: Path) -> None:
    write(groups, membership="0::/a/b")
    write(groups / "a", memory__max=str(4 * GIB), cpu__max="350000 100000")
    write(groups / "a" / "b", memory__max="max", cpu__max="max 100000")
    assert (machine.memory(), machine.cores()) == (4 * GIB, 4)


def test_a_group_named_from_outside_the_container_is_the_root(groups: Path) -> None:
    write(groups, membership="0::/docker/0123", memory__max=str(GIB), cpu__max="50000 100000")
    assert (machine.memory(), machine.cores()) == (GIB, 1)


def test_limits_of_version_1(groups: Path) -> None:
    write(groups, membership="5:cpu,cpuacct:/x\n4:memory:/x\n1:name=systemd:/x")
    write(groups / "memory" / "x", memory__limit_in_bytes=str(2 * GIB))
    write(groups / "cpu" / "x", cpu__cfs_quota_us="200000", cpu__cfs_period_us="100000")
    assert (machine.memory(), machine.cores()) == (2 * GIB, 2)


def test_no_limit_in_version_1_is_a_huge_one(groups: Path) -> None:
    write(groups, membership="5:cpu:/\n4:memory:/")
    write(groups / "memory", memory__limit_in_bytes="9223372036854771712")
    write(groups / "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert (machine.memory(), machine.cores()) == (16 * GIB, 12)


def test_a_thread_that_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(VidtwinError, match="no more threads"):
        machine.start(threading.Thread())
