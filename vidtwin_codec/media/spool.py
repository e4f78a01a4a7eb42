"""Standard input as a file: ffmpeg has to look at an input twice, and most containers need seeking."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error, renamed, standard_input, temporary_folder

_CHUNK = 1 << 20


def piped_input() -> BinaryIO:
    """Standard input, to be read as it comes.

    Raises:
        VidtwinError: it is a terminal, or closed.
    """
    stream = standard_input()
    if stream.isatty():
        raise VidtwinError("standard input is a terminal, not a video", "pipe a file in, or name one")
    return stream


@contextlib.contextmanager
def spool_stdin() -> Iterator[Path]:
    """Copy standard input to a temporary file and yield its path; the file is deleted at the end.

    Raises:
        VidtwinError: standard input is a terminal, closed or empty, or the temporary folder is full.
    """
    stream = piped_input()
    with temporary_folder() as folder:
        path = folder / "standard-input"
        try:
            try:
                with path.open("wb") as copy:
                    while chunk := stream.read(_CHUNK):
                        copy.write(chunk)
            except OSError as error:
                raise explain_os_error(error, folder.parent) from error
            if path.stat().st_size == 0:
                raise VidtwinError("standard input is empty")
            yield path
        except VidtwinError as error:
            raise renamed(error, path, "standard input") from error
