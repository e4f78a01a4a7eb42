"""Memory, processor cores and threads that this process may use: those of the machine, or of its container."""

from __future__ import annotations

import functools
import math
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vidtwin_codec.errors import VidtwinError

CGROUPS = Path("/sys/fs/cgroup")
"""Folder in which Linux shows the limits of containers and of systemd's units."""
MEMBERSHIP = Path("/proc/self/cgroup")


@functools.cache
def memory() -> int:
    """Bytes of memory: what the machine has, or the least limit on this process where that is less."""
    import psutil  # only here: help need not wait for it

    total: int = psutil.virtual_memory().total
    return min([total, *_memory_limits()])


def cores() -> int:
    """Processor cores for this process: those it may run on, or its share of time in cores, rounded up, if less."""
    return max(1, min([_usable_cores(), *_core_limits()]))


def start(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
        VidtwinError: the system allows no more.
    """
    try:
        thread.start()
    except RuntimeError as error:
        if is_thread_refusal(error):
            raise no_threads() from error
        raise


def is_thread_refusal(error: RuntimeError) -> bool:
    """Whether an error says that the system allows no more threads."""
    return "can't start new thread" in str(error)


def no_threads() -> VidtwinError:
    """The error for that."""
    return VidtwinError(
        "the system allows no more threads or processes", "close other programs, or raise the limit (ulimit -u)"
    )


def _usable_cores() -> int:
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_limits() -> Iterator[int]:
    for folder in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit():  # not "max"; version 1 writes a number beyond all memory instead
                yield int(text)


def _core_limits() -> Iterator[int]:
    for folder in _groups("cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if not quota:  # version 1; there -1 is no limit
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            yield math.ceil(int(quota) / int(period))


def _groups(controller: str) -> Iterator[Path]:
    """Folders of the control groups that this process is in, of both versions: its own and those around it."""
    for line in _read(MEMBERSHIP).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if number == "0" and not controllers:
            root = CGROUPS
        elif controller in controllers.split(","):
            root = CGROUPS / controller
        else:
            continue
        group = PurePosixPath(name)
        # inside a container the name may be the one outside, of which only the root is to be seen
        for part in (group, *group.parents):
            yield root / part.relative_to("/")


def _read(path: Path) -> str:
    """A small file of the system; nothing where there is none."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
