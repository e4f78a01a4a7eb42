"""Child processes that end with the process that started them, or when they hang."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

STALL_SECONDS = 120.0
"""Seconds for which a child may do nothing at all while its parent waits for it."""
_LOOK_SECONDS = 5.0
# What ffmpeg's main thread uses by waking up twice a second to see that nothing has happened is far less.
_BUSY_SECONDS = 0.05
# On macOS and Windows a process that only waits counts as running, too.
_STATES_TELL = sys.platform == "linux"
# Nor is what it says of its progress.
_BUSY_BYTES = 1 << 20


def start_process(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a :class:`subprocess.Popen` that, on Linux, is killed when this process ends, however it ends.

    Raises:
        OSError: the process cannot be started.
        ValueError: an argument holds a null character.
    """
    # what cannot be found is for Popen to say
    wrapper = _with_parent() if shutil.which(command[0]) else ()
    return _starter().start([*wrapper, *command], options)


@functools.cache
def _with_parent() -> tuple[str, ...]:
    """Return a command that sets PR_SET_PDEATHSIG and then runs the one after it; empty where there is none.

    Setting it from Python between fork and exec would be unsafe beside other threads, and slow.
    """
    found = shutil.which("setpriv") if sys.platform == "linux" else None
    if found is None:
        return ()
    command = (found, "--pdeathsig", "KILL", "--")
    try:
        tried = subprocess.run([*command, "true"], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    except OSError:
        return ()
    return command if tried.returncode == 0 else ()


def _abandon(started: Future[subprocess.Popen[bytes]]) -> None:
    if started.exception() is None:
        started.result().kill()


class _Starter:
    """A thread that starts all children and ends with the process: Linux's parent of a child is a thread."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[tuple[Sequence[str], dict[str, Any], Future[subprocess.Popen[bytes]]]]
        self._asked = queue.SimpleQueue()
        threading.Thread(target=self._run, name="ffmpeg-start", daemon=True).start()

    def start(self, command: Sequence[str], options: dict[str, Any]) -> subprocess.Popen[bytes]:
        future: Future[subprocess.Popen[bytes]] = Future()
        self._asked.put((command, options, future))
        try:
            return future.result()
        except BaseException:
            future.add_done_callback(_abandon)  # an interrupt came first: nobody will know of the child
            raise

    def _run(self) -> None:
        while True:
            command, options, future = self._asked.get()
            try:
                future.set_result(subprocess.Popen(command, **options))
            except BaseException as error:
                future.set_exception(error)
            del future


@functools.cache
def _starter() -> _Starter:
    return _Starter()


class Patience:
    """Waits for a child with a limit: one that neither computes, reads nor writes is given up.

    Args:
        pid: process id of the child.
        give_up: is called from another thread, once.
    """

    def __init__(self, pid: int, give_up: Callable[[], None]) -> None:
        self._pid, self._give_up = pid, give_up
        self._lock = threading.Lock()
        self._waiting = self._excused = 0
        self._idle = 0.0
        self._seen: _Activity | None = None
        _watcher().watch(self)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Within, nothing but the child is waited for."""
        with self._lock:
            self._waiting += 1
            self._idle = 0.0
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    @contextlib.contextmanager
    def excused(self) -> Iterator[None]:
        """Within, somebody else keeps the child waiting: it may do nothing."""
        with self._lock:
            self._excused += 1
        try:
            yield
        finally:
            with self._lock:
                self._excused -= 1
                self._idle = 0.0

    def look(self, seconds: float) -> None:
        """Check the child; this is called every ``seconds`` seconds."""
        seen = _activity(self._pid)
        with self._lock:
            before, self._seen = self._seen, seen
            if not self._waiting or self._excused or before is None or seen is None:
                self._idle = 0.0
                return
            # Slow steps add up: what was used since it last did something counts.
            if seen.differs(before):
                self._idle = 0.0
                return
            self._seen = before
            self._idle += seconds
            given_up = self._idle >= STALL_SECONDS
        if given_up:
            self._give_up()


class _Activity(NamedTuple):
    """The processor time in seconds, the bytes read and the bytes written by a process so far."""

    seconds: float
    read: int
    written: int
    ready: bool
    """To compute, but for other processes that do."""

    def differs(self, before: _Activity) -> bool:
        """Return whether the process has done something since ``before``."""
        busy = self.seconds - before.seconds >= _BUSY_SECONDS or self.written - before.written >= _BUSY_BYTES
        return busy or self.ready or self.read != before.read


def _activity(pid: int) -> _Activity | None:
    """Return the activity of a process, or None where it is not known."""
    import psutil  # only here: help need not wait for it

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            ready = _STATES_TELL and process.status() == psutil.STATUS_RUNNING
            # macOS does not count bytes; Linux counts those of pipes as characters
            counted = process.io_counters() if hasattr(process, "io_counters") else None
    except psutil.Error:
        return None
    read, written = (getattr(counted, f"{way}_chars", getattr(counted, f"{way}_bytes", 0)) for way in ("read", "write"))
    return _Activity(times.user + times.system, read, written, ready)


class _Watcher:
    """A thread that checks all children."""

    def __init__(self) -> None:
        self._watched: weakref.WeakSet[Patience] = weakref.WeakSet()
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="ffmpeg-watch", daemon=True).start()

    def watch(self, patience: Patience) -> None:
        with self._lock:
            self._watched.add(patience)

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            with self._lock:
                watched = list(self._watched)
            for patience in watched:
                # counts checks and not the clock: while this process is stopped, nobody empties the child's pipes
                patience.look(_LOOK_SECONDS)
            watched.clear()


@functools.cache
def _watcher() -> _Watcher:
    return _Watcher()


def _forget() -> None:
    """Forget the threads in a forked process, which does not have them."""
    _starter.cache_clear()
    _watcher.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
