"""No ffmpeg is waited for without end, and none outlives the process that started it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from media_samples import numbered, stand_in, write_all

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import probe, watch
from vidtwin_codec.media.ffmpeg import Child

needs_bash = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for ffmpeg is a script")
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A script in place of ffmpeg, to be written, that is given two seconds."""
    script = tmp_path / "ffmpeg.sh"
    monkeypatch.setattr("vidtwin_codec.media.ffmpeg.executable", lambda: str(script))
    monkeypatch.setattr("vidtwin_codec.media.formats.video_encoders", lambda: frozenset({"libx264"}))
    monkeypatch.setattr(watch, "STALL_SECONDS", 2.0)
    monkeypatch.setattr(watch, "_LOOK_SECONDS", 0.1)
    watch._watcher.cache_clear()
    return script


@needs_bash
def test_an_ffmpeg_that_hangs_is_ended_and_said(impatient: Path, tmp_path: Path) -> None:
    stand_in(impatient, "exec sleep 100")
    (tmp_path / "in.mp4").write_bytes(b"something")
    with pytest.raises(VidtwinError, match=r"in\.mp4.*ffmpeg hung and was ended"):
        probe(tmp_path / "in.mp4")
    # more than a pipe holds
    with pytest.raises(VidtwinError, match=r"o\.mp4: the video cannot be written \(ffmpeg hung and was ended\)"):
        write_all(tmp_path / "o.mp4", np.zeros((20, 48, 64, 3), np.uint8))
    # what it says of its progress is no progress
    says = "import sys, time\nsys.stdin.buffer.read()\n"
    says += 'for _ in range(300): time.sleep(0.2); print("frame=0", file=sys.stderr)'
    stand_in(impatient, f"exec {sys.executable} -c '{says}'")
    with pytest.raises(VidtwinError, match="ffmpeg hung and was ended"):
        write_all(tmp_path / "o.mp4", numbered(2))


@needs_bash
def test_an_ffmpeg_that_works_or_waits_for_us_is_let_be(impatient: Path) -> None:
    stand_in(impatient, "for i in {1..200000}; do :; done; echo done; read x; exit 3")
    with Child([], feed=True) as child:
        with child.waiting():
            assert child.stdout.readline() == b"done\n"
        time.sleep(4)  # nobody waits
        child.stdin.write(b"x\n")
        child.stdin.close()
        assert child.wait() == 3
        assert not child.hung


@needs_bash
def test_a_hanging_ffmpeg_is_noticed_without_counts_of_bytes(
    impatient: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(psutil.Process, "io_counters")  # as on macOS
    monkeypatch.setattr(psutil.Process, "status", lambda self: psutil.STATUS_RUNNING)
    monkeypatch.setattr(watch, "_STATES_TELL", False)
    stand_in(impatient, "for i in {1..200000}; do :; done; exec sleep 100")
    (tmp_path / "in.mp4").write_bytes(b"something")
    with pytest.raises(VidtwinError, match="ffmpeg hung and was ended"):
        probe(tmp_path / "in.mp4")


def test_what_a_process_does_is_seen() -> None:
    before = watch._activity(os.getpid())
    busy = sum(number * number for number in range(3_000_000))
    seen = watch._activity(os.getpid())
    assert before is not None
    assert seen is not None
    assert busy
    assert seen.differs(before)
    assert watch._activity(2**22 + 1) is None  # no such process


@needs_proc
@pytest.mark.skipif(not watch._with_parent(), reason="nothing here sets PR_SET_PDEATHSIG")
def test_a_child_that_reads_and_writes_nothing_dies_with_its_parent() -> None:
    program = (
        "import threading, time; from vidtwin_codec.media.watch import start_process\n"
        "def start():\n    print(start_process(['sleep', '100']).pid, flush=True)\n"
        "thread = threading.Thread(target=start); thread.start(); thread.join(); time.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.5)
        assert _runs(pid)  # the thread that asked for it has ended, and it has not
        parent.kill()
    deadline = time.monotonic() + 20
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)


@needs_proc
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_children_can_be_started_after_a_fork() -> None:
    watch.start_process(["true"]).wait()
    pid = os.fork()
    if pid == 0:
        os._exit(watch.start_process(["true"]).wait())
    killer = threading.Timer(20, os.kill, (pid, 9))
    killer.start()
    assert os.waitpid(pid, 0)[1] == 0
    killer.cancel()


def test_what_cannot_be_started_is_said() -> None:
    with pytest.raises(FileNotFoundError):
        watch.start_process(["/nowhere/ffmpeg"])


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
