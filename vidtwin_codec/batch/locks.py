"""Locks that keep several runs on one destination from making the same output at once."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from vidtwin_codec.files import explain_os_error

_POLL_SECONDS = 0.5


class BusyError(Exception):
    """Another run is making this output."""


class OutputLocks:
    """Locks between processes, one file each while held; the system frees those of a process that died.

    They only save two runs from making the same output. On a file system without working locks every output is still
    complete and written by one run alone, because it is renamed into place.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def hold(self, output: str, *, wait: bool = False, stopped: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Hold the lock of ``output`` while the block lasts.

        Args:
            output: path of the output below the destination.
            wait: whether to wait for another run that holds the lock.
            stopped: says whether to stop waiting.

        Raises:
            BusyError: another run holds the lock, and was not waited for.
            VidtwinError: the folder cannot be written.
        """
        path = self._folder / f"{hashlib.sha256(output.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.lock"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path, thread_local=False)
            while True:
                try:
                    lock.acquire(blocking=False)
                    break
                except Timeout:
                    if not wait or stopped():
                        raise BusyError(output) from None
                time.sleep(_POLL_SECONDS)
        except OSError as error:
            raise explain_os_error(error, path) from error
        try:
            yield
        finally:
            # unlinked while held: a run that opened it before gets the lock next, and finds the output made
            with contextlib.suppress(OSError):  # some systems do not delete open files
                path.unlink()
            lock.release()
