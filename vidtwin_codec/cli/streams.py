"""Standard streams that are closed, full or of a narrow encoding: one clear error and no traceback."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

import click

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error
from vidtwin_codec.text import printable


class _Stream(io.TextIOWrapper):
    """A standard stream on which failing to write is an error of the user's."""

    def __init__(self, stream: TextIO, name: str) -> None:
        # what the encoding of the terminal lacks is escaped
        lines = bool(stream.line_buffering)
        super().__init__(stream.buffer, encoding=stream.encoding, errors="backslashreplace", line_buffering=lines)
        self._label = name

    def write(self, text: str, /) -> int:
        with self._explained():
            return super().write(text)

    def flush(self) -> None:
        with self._explained():
            super().flush()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise  # the reader has had enough: nothing to tell
        except OSError as error:
            raise explain_os_error(error, self._label) from error


@contextlib.contextmanager
def guarded_streams() -> Iterator[None]:
    """For the time of a command: standard streams that explain themselves, also where the shell has closed them."""
    _occupy_closed()
    before = sys.stdout, sys.stderr
    # where it is closed, writing fails as it would for any program
    text = open(1, "w", encoding="utf-8", closefd=False) if sys.stdout is None else sys.stdout  # noqa: SIM115
    if sys.stderr is not None:
        sys.stderr = _Stream(sys.stderr, "standard error")
    sys.stdout = _Stream(text, "standard output")
    try:
        yield
    finally:
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            if isinstance(stream, _Stream):
                _let_go(stream, number)
        sys.stdout, sys.stderr = before


def say(line: str) -> None:
    """One line on standard error, safe to show."""
    click.echo(printable(line), err=True)


def check_stdout() -> None:
    """Make sure that something can be written to standard output, before any work is done.

    Raises:
        VidtwinError: it is closed.
    """
    try:
        os.write(sys.stdout.fileno(), b"")
    except io.UnsupportedOperation:
        return  # a stream without a file, as in tests
    except OSError as error:
        raise explain_os_error(error, "standard output") from error


def _occupy_closed() -> None:
    """Take the places of closed streams, so that no file that is opened later is taken for one of them."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            # the lowest free number is this one; reading from 0 and writing to 1 go on failing
            os.open(os.devnull, os.O_RDONLY if number == 1 else os.O_WRONLY)


def _let_go(stream: _Stream, number: int) -> None:
    """Give the stream's file back; what cannot be written is dropped, lest the interpreter fail on it at its end."""
    try:
        stream.detach()
    except (OSError, VidtwinError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, number)
        os.close(null)
        stream.detach()
