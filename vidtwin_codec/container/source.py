"""Random access to a file's bytes from several threads and forked processes."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import BinaryIO

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error


class ByteSource:
    """A file that is read by position, from a path or a seekable binary stream. A stream stays open.

    Attributes:
        name: for messages.
        size: bytes.

    Raises:
        VidtwinError: the file cannot be opened, or is a pipe.
        TypeError: the stream is one of text.
    """

    def __init__(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        self._lock = threading.Lock()
        if isinstance(file, (str, os.PathLike)):
            self.name = os.fspath(file)
            try:
                # opening a named pipe would block until somebody writes to it
                if Path(file).is_fifo():
                    raise VidtwinError(f"{self.name}: is a pipe; a .vtw is read from a file")
                self._stream: BinaryIO = open(file, "rb")  # noqa: SIM115 (closed in close)
            except OSError as error:
                raise explain_os_error(error, self.name) from error
            self._owned = True
        else:
            given: object = file  # whatever callers without type checks pass
            self.name = str(getattr(file, "name", "stream"))
            if isinstance(given, io.TextIOBase):
                raise TypeError(f'a .vtw is read from a binary stream: open {self.name} with "rb"')
            self._stream = file
            self._owned = False
        try:
            self.size = self._stream.seek(0, os.SEEK_END)
        except OSError as error:
            self.close()
            raise VidtwinError(f"{self.name}: cannot be read by position; a .vtw is read from a file") from error

    def read_at(self, offset: int, size: int) -> bytes:
        """Read ``size`` bytes from ``offset`` on, fewer only at the end of the file.

        Any thread may call, and a forked process too if the file was opened here.

        Raises:
            VidtwinError: the operating system cannot read the file.
        """
        # never more than the file has: a wrong length in it must not make us reserve memory
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        try:
            return self._read(offset, size)
        except OSError as error:
            raise explain_os_error(error, self.name) from error

    def _read(self, offset: int, size: int) -> bytes:
        if self._owned and hasattr(os, "pread"):
            return self._pread(offset, size)
        with self._lock:
            self._stream.seek(offset)
            data = self._stream.read(size)
            while len(data) < size and (more := self._stream.read(size - len(data))):  # unbuffered ones give less
                data += more
            return data

    def _pread(self, offset: int, size: int) -> bytes:
        """Read without moving the file's position, which forked processes share."""
        data = os.pread(self._stream.fileno(), size, offset)
        while len(data) < size:  # one call gives at most 2 GiB
            more = os.pread(self._stream.fileno(), size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def close(self) -> None:
        """Close the file if it was opened here."""
        if self._owned:
            self._stream.close()
