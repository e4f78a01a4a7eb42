"""Standard input that is encoded as it comes, where its container can be read from front to back."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import IO, BinaryIO

from vidtwin_codec import machine
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error, renamed, standard_input, temporary_folder
from vidtwin_codec.media.ffmpeg import Child
from vidtwin_codec.media.info import MediaInfo
from vidtwin_codec.media.probe import probe
from vidtwin_codec.media.signature import recognise
from vidtwin_codec.media.timeline import Timeline
from vidtwin_codec.media.whitelist import HEAD_BYTES, refuse_playlist

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


_CHUNK = 1 << 16
_FORWARD = frozenset({"matroska", "mpegts", "yuv4mpegpipe"})
_HEADS = (1 << 20, 4 << 20, 16 << 20, 64 << 20)
"""Bytes that are looked at before a video is begun; the next where one does not show enough of it."""
_ENOUGH_FRAMES = 25
_NAME = "standard input"


class Feed:
    """The rest of a stream behind its beginning, to be put into children: the pictures' and, with sound, the sound's.

    Args:
        head: the beginning, in a file.
        rest: what follows it, without a buffer.
        children: number of children that get it. Reading begins when all are there.

    Attributes:
        bytes: read so far, the beginning included.
        error: what ended the reading, if it was not the end.
    """

    def __init__(self, head: Path, rest: IO[bytes], children: int = 1) -> None:
        self._head, self._rest, self._expected = head, rest, children
        self.bytes = head.stat().st_size
        self.error: VidtwinError | None = None
        self._children: list[Child] = []
        self._lock, self._stopped = threading.Lock(), False

    def into(self, child: Child) -> None:
        """Put all of it into the standard input of a child, on a thread that serves all of them."""
        with self._lock:
            if len(self._children) == self._expected:
                raise RuntimeError("a stream can be read only once")
            self._children.append(child)
            complete = len(self._children) == self._expected
            if self._stopped:
                child.end()
        if complete:
            machine.start(threading.Thread(target=self._run, name="vidtwin-feed", daemon=True))

    def stop(self) -> bool:
        """End all children, since nobody wants the rest; return whether this is the first to say so."""
        with self._lock:
            first, self._stopped = not self._stopped, True
            for child in self._children:
                child.end()
        return first

    @contextlib.contextmanager
    def stopping(self) -> Iterator[None]:
        """A block after which, if it fails, nobody waits for the stream any more, which may never end."""
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def _run(self) -> None:
        left = list(self._children)
        with self._head.open("rb") as head:
            while left and (piece := head.read(_CHUNK)):
                self._put(piece, left)
        while left and (piece := self._read()):
            self.bytes += len(piece)
            self._put(piece, left)
        for child in left:
            with contextlib.suppress(BrokenPipeError, ValueError):
                child.stdin.close()

    def _put(self, piece: bytes, left: list[Child]) -> None:
        """Give a piece to all children that still run; while one takes its time, the others may do nothing."""
        for child in list(left):
            with contextlib.ExitStack() as stack:
                for other in left:
                    if other is not child:
                        stack.enter_context(other.excused())
                try:
                    child.stdin.write(piece)
                except (BrokenPipeError, ValueError):  # the child has ended, and its pipe is closed
                    left.remove(child)

    def _read(self) -> bytes:
        try:
            with contextlib.ExitStack() as stack:
                for child in self._children:
                    stack.enter_context(child.excused())  # whoever sends it may take his time
                return self._rest.read(_CHUNK)
        except OSError as error:
            self.error = explain_os_error(error, _NAME)
            return b""


@dataclass(frozen=True)
class Piped:
    """A video that came down a pipe.

    Attributes:
        path: all of it, or its beginning where it is read as it comes.
        info: of the video that is read as it comes, once; None where all of it is in the file.
    """

    path: Path
    info: MediaInfo | None = None


@contextlib.contextmanager
def open_piped(folder: Path, *, sound: bool, fps: Fraction | None = None, whole: bool = False) -> Iterator[Piped]:
    """Look at the beginning of standard input, and store all of it only where that is necessary.

    Matroska (WebM), MPEG transport streams, fragmented MP4 and YUV4MPEG2 of a constant rate can be read as they come.
    The contents tell, not the name.

    Args:
        folder: for what is stored; has to stay as long as the video is read.
        sound: is wanted, so that the stream goes to a child of its own for it, too.
        fps: frame rate to resample to; None: the video's own.
        whole: store all of it in any case.

    Raises:
        VidtwinError: standard input is a terminal, closed or empty, or the temporary folder is full.
    """
    path = folder / "standard-input"
    given = piped_input()
    with contextlib.ExitStack() as stack:
        stream: IO[bytes] = given
        try:
            stream = stack.enter_context(os.fdopen(os.dup(given.fileno()), "rb", buffering=0))
        except io.UnsupportedOperation:
            whole = True
        try:
            info = None if whole else _begin(path, stream, sound, fps)
            if info is None:
                with path.open("ab") as copy:
                    while piece := stream.read(_CHUNK):
                        copy.write(piece)
        except OSError as error:
            raise explain_os_error(error, folder.parent) from error
        if not path.stat().st_size:
            raise VidtwinError("standard input is empty")
        yield Piped(path, info)


def _begin(path: Path, stream: IO[bytes], sound: bool, fps: Fraction | None) -> MediaInfo | None:
    """Store as much as is needed to know the video; None where all of it will be."""
    for wanted in _HEADS:
        with path.open("ab") as copy:
            while (missing := wanted - copy.tell()) > 0:
                piece = stream.read(min(missing, _CHUNK))
                if not piece:
                    return None  # short enough to be looked at as a whole
                copy.write(piece)
        demuxer = _forward(path)
        if demuxer is None:
            return None
        try:
            found = probe(path)
        except VidtwinError:  # more may show it; what is wrong is said of the whole
            continue
        if (found.frames or 0) < _ENOUGH_FRAMES:
            continue
        if found.variable_rate or fps not in (None, found.fps):
            return None
        children = 2 if sound and found.audio_streams else 1
        return _live(found, Feed(path, stream, children), demuxer)
    return None


def _live(found: MediaInfo, feed: Feed, demuxer: str) -> MediaInfo:
    before = found.source.arguments[: -len(_input(found))]
    source = replace(
        found.source,
        path=Path(_NAME),
        arguments=(*before, "-f", demuxer, "-i", "pipe:0"),
        feed=feed,
    )
    said = tuple(text for text in found.warnings if not text.startswith("truncated"))
    return replace(
        found,
        path=Path(_NAME),
        frames=None,
        duration=None,
        file_bytes=0,
        warnings=said,
        source=source,
        timeline=Timeline(found.timeline.shift),
    )


def _input(found: MediaInfo) -> tuple[str, ...]:
    return found.source.arguments[found.source.arguments.index("-i") :]


def _forward(path: Path) -> str | None:
    """ffmpeg's demuxer of a file whose container can be read from front to back; None of others."""
    with path.open("rb") as stream:
        refuse_playlist(_NAME, stream.read(HEAD_BYTES))
        stream.seek(0)
        known = recognise(stream)
        if known is None:
            return None
        if known[0] == "mov":
            return "mov" if _is_fragmented(stream, path.stat().st_size) else None
    return known[0] if known[0] in _FORWARD else None


def _is_fragmented(stream: IO[bytes], size: int) -> bool:
    """Whether the index of an MP4 comes before its pictures and says that they come in fragments."""
    place = 0
    while place + 8 <= size:
        stream.seek(place)
        start = stream.read(16)
        length, kind = int.from_bytes(start[:4], "big"), start[4:8]
        if length == 1:
            length = int.from_bytes(start[8:16], "big")
        if kind == b"moov":
            stream.seek(place)
            return place + length <= size and b"mvex" in stream.read(length)
        if kind not in (b"ftyp", b"free", b"skip", b"wide", b"uuid") or length < 8:
            return False
        place += length
    return False
