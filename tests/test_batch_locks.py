"""The locks between runs. (Without torch: each test starts an interpreter.)"""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

import pytest

from vidtwin_codec.batch.locks import BusyError, OutputLocks


def _hold(folder: Path, held: object, release: object) -> None:
    with OutputLocks(folder).hold("a/b.vtw"):
        held.set()  # type: ignore[attr-defined]
        release.wait()  # type: ignore[attr-defined]


def test_locks_keep_other_processes_from_one_output(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, release))
    other.start()
    try:
        held.wait()
        locks = OutputLocks(tmp_path)
        with pytest.raises(BusyError), locks.hold("a/b.vtw"):
            pass
        with pytest.raises(BusyError), locks.hold("a/b.vtw", wait=True, stopped=lambda: True):
            pass
        with locks.hold("a/c.vtw"):
            pass
        threading.Timer(0.2, release.set).start()
        with locks.hold("a/b.vtw", wait=True):
            pass
    finally:
        release.set()
        other.join()
    assert not list(tmp_path.iterdir())
