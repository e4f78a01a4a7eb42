"""One run at a time at each output, however many run at once on one destination."""

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
    """Another run is at work on this output."""


class OutputLocks:
    """Locks between processes, one file each while held; the system frees those of a process that died.

    They only keep two runs from doing the same work: should a file system not honour them, every output is still
    complete and written by one run alone, because it is renamed into place.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def hold(self, output: str, *, wait: bool = False, stopped: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Keep others from ``output``.

        Args:
            output: its path below the destination.
            wait: until another run has finished with it, unless ``stopped`` says so.

        Raises:
            BusyError: another run is at work on it (and it was not waited for).
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
            # unlinked while held; who opened it before finds the work done when its turn comes
            with contextlib.suppress(OSError):  # some systems keep open files
                path.unlink()
            lock.release()
