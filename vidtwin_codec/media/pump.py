"""Copying of ffmpeg's output to a stream while it is written."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import IO

from vidtwin_codec import machine
from vidtwin_codec.media.ffmpeg import Child

_CHUNK = 1 << 16
_PAUSE_SECONDS = 0.01


class Pump:
    """Copies the output of a child to a stream, on a thread of its own. The stream stays open.

    A reader that takes its time, as a player that is paused, holds up the child for as long as it likes.

    Args:
        child: writes to its standard output.
        stream: takes it. Where it has no buffer, nothing of this process is in the way of an end in the middle of
            a piece.

    Attributes:
        copied: bytes that the stream has taken.
    """

    def __init__(self, child: Child, stream: IO[bytes]) -> None:
        self.copied = 0
        self._child, self._stream = child, stream
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="vidtwin-pump", daemon=True)
        machine.start(self._thread)

    def finish(self) -> None:
        """Wait until all that the child writes has been handed on.

        Raises:
            OSError: the stream does not take it, which has ended the child.
        """
        with self._child.waiting():
            self._thread.join()
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """Wait for no more than the piece that is being handed on; the child has been ended."""
        # a reader that takes nothing any more must not keep this process: the thread dies with it
        self._thread.join(1.0)

    def _run(self) -> None:
        try:
            while piece := os.read(self._child.stdout.fileno(), _CHUNK):
                with self._child.excused():
                    write_all(self._stream, piece)
                    self._stream.flush()
                self.copied += len(piece)
        except OSError as error:
            self._error = error
            self._child.end()
            # what it has written until then is of no use
            with contextlib.suppress(OSError):
                while os.read(self._child.stdout.fileno(), _CHUNK):
                    pass


def write_all(stream: IO[bytes], data: bytes) -> None:
    """Write all of ``data``, also where the stream takes only some at a time, or none for a while."""
    rest = memoryview(data)
    while rest:
        taken = stream.write(rest)
        if not taken:
            time.sleep(_PAUSE_SECONDS)
            continue
        rest = rest[taken:]
