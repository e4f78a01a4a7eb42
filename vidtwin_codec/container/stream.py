"""Reads a .vtw from front to back, as it comes down a pipe: header, sound, groups, and the index at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from vidtwin_codec.closing import Closing
from vidtwin_codec.coding import CorruptGroupError, PlacedClip
from vidtwin_codec.container.format import AUDIO_OVERHEAD, Counts, open_audio
from vidtwin_codec.container.index import GroupEntry, Index
from vidtwin_codec.container.inspection import FrameRange, index_problem
from vidtwin_codec.container.reader import read_header
from vidtwin_codec.container.scan import AudioFrame, Damage, ForeignFrame, Frame, GroupFrame, IndexFrame, frame_at
from vidtwin_codec.container.source import ByteSource
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error

_CHUNK = 1 << 20
_HINT = "get the file again; `--recover` decodes what is whole of it"


class ForwardSource(ByteSource):
    """A stream read by position, from front to back: what was let go of cannot be read again.

    Args:
        stream: binary; need not be seekable. It stays open.
        name: for messages.

    Attributes:
        size: of the whole stream; beyond all bounds until its end has been seen.
    """

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self.name, self.size = name, sys.maxsize
        self._input = stream
        self._held, self._start = bytearray(), 0

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes from ``offset`` on, fewer than ``size`` only at the end of the stream. One thread at a time may call.

        Raises:
            VidtwinError: the operating system refuses.
        """
        if offset < self._start:
            raise ValueError(f"byte {offset} has been let go of")
        self._read_to(offset + size)
        return bytes(self._held[offset - self._start : offset - self._start + size])

    def let_go(self, offset: int) -> None:
        """Forget all before ``offset``, reading on to it where it has not come yet."""
        while self._start < offset:
            step = min(offset - self._start, max(len(self._held), _CHUNK))
            self._read_to(self._start + step)
            if not self._held:
                return
            taken = min(step, len(self._held))
            del self._held[:taken]
            self._start += taken

    def close(self) -> None:
        """Nothing: the stream is the caller's."""

    def _read_to(self, end: int) -> None:
        try:
            while (missing := min(end, self.size) - self._start - len(self._held)) > 0:
                piece = self._input.read(min(missing, _CHUNK))
                if not piece:
                    self.size = self._start + len(self._held)
                    return
                self._held += piece
        except OSError as error:
            raise explain_os_error(error, self.name) from error


class VtwStream(Closing):
    """A .vtw that comes down a pipe; each group can be read when it is there, and only then.

    Args:
        stream: binary; need not be seekable. It stays open.
        name: for messages.

    Attributes:
        header: see `Header`.
        damage: empty: what is damaged is an error here.
        frames: true frames of the video; None until its end has been read.

    Raises:
        VidtwinError: not a .vtw, an unreadable header, a newer major version or an unknown coder.
    """

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self.name = name
        self.damage: list[str] = []
        self.frames: int | None = None
        self._source = ForwardSource(stream, name)
        self.header, self._header_crc, self._position = read_header(self._source)
        self._entries: list[GroupEntry] = []
        self._audio_frames = self._audio_bytes = 0
        self._next: Frame | None = None

    def audio_chunks(self) -> Iterator[bytes]:
        """Pieces of the audio file, in order; before the first group is asked for.

        Raises:
            VidtwinError: a piece is damaged or missing.
        """
        while isinstance(frame := self._peek(), AudioFrame):
            yield self._audio(frame)

    @property
    def groups(self) -> Iterator[GroupEntry]:
        """Entries of the groups, each as soon as it is there; sound that nobody asked for is passed over.

        Raises:
            VidtwinError: the stream is damaged, or ends before its index.
        """
        while not isinstance(frame := self._peek(), IndexFrame):
            if isinstance(frame, AudioFrame) and not self._entries:
                self._audio(frame)
                continue
            if not isinstance(frame, GroupFrame):
                raise self._damaged(frame)
            entry = frame.entry
            end = self._entries[-1].span if self._entries else None
            if (entry.first_frame, entry.first_clip) != ((end.end_frame, end.end_clip) if end else (0, 0)):
                raise VidtwinError(f"{self.name}: is damaged: frames are missing before {_frames(entry)}", _HINT)
            self._entries.append(entry)
            yield entry
            self._step(frame)
        self._finish(frame.index, frame)

    def placed(self, number: int) -> Iterator[PlacedClip]:
        """Symbols and canvases of the clips of group ``number``, which is the latest that :attr:`groups` gave.

        Raises:
            CorruptGroupError: it is damaged; clips may have come before that shows.
        """
        entry = self._entries[number]
        with self._naming(number, entry):
            yield from self.header.open_group(self._source.read_at(entry.offset, entry.size)).placed()

    @property
    def counts(self) -> Counts:
        """Sizes of what has been read so far."""
        audio = self._audio_bytes + self._audio_frames * AUDIO_OVERHEAD
        frames = sum(entry.frames for entry in self._entries)
        return Counts(self._position, self._position - audio, audio, frames, len(self._entries))

    def close(self) -> None:
        """Nothing: the stream is the caller's."""

    def _peek(self) -> Frame:
        """The frame that comes next, strangers' ones passed over."""
        while self._next is None:
            self._source.let_go(self._position)
            found = frame_at(self._source, self.header, self._position)
            if isinstance(found, ForeignFrame):
                self._position += found.size
            else:
                self._next = found
        return self._next

    def _step(self, frame: Frame) -> None:
        self._next = None
        self._position += frame.size

    def _audio(self, frame: AudioFrame) -> bytes:
        if frame.number != self._audio_frames:
            raise VidtwinError(f"{self.name}: the audio is damaged: piece {self._audio_frames} is lost", _HINT)
        chunk = open_audio(self._source.read_at(frame.offset, frame.size))[1]
        self._audio_frames += 1
        self._audio_bytes += len(chunk)
        self._step(frame)
        return chunk

    def _finish(self, index: Index, frame: IndexFrame) -> None:
        problem = index_problem(index, frame.offset, self.header, self._header_crc)
        if problem is None and list(index.groups) != self._entries:
            problem = "the index at the end is not that of the groups before it"
        if problem is None and (index.audio_frames, index.audio_bytes) != (self._audio_frames, self._audio_bytes):
            problem = "the audio is not what the index says"
        if problem is None and self._source.read_at(frame.offset + frame.size, 1):
            problem = "bytes follow the index, which should be the end of the file"
        if problem:
            raise VidtwinError(f"{self.name}: {problem}", _HINT)
        self._position += frame.size
        self.frames = index.frames

    def _damaged(self, frame: Frame) -> VidtwinError:
        if not isinstance(frame, Damage):
            return VidtwinError(f"{self.name}: is damaged: audio stands behind the first group", _HINT)
        if frame.truncated or not self._source.read_at(frame.offset, 1):
            return VidtwinError(f"{self.name}: the file is truncated: the index at its end is missing", _HINT)
        return VidtwinError(f"{self.name}: is damaged at byte {frame.offset}: {frame.reason}", _HINT)

    @contextmanager
    def _naming(self, number: int, entry: GroupEntry) -> Iterator[None]:
        """Errors of a group say which one it is."""
        try:
            yield
        except MemoryError as error:
            raise VidtwinError(f"{self.name}: group {number} does not fit the memory of this machine") from error
        except CorruptGroupError as error:
            raise CorruptGroupError(
                f"{self.name}: group {number} ({_frames(entry)}): {error.message}", _HINT
            ) from error


def _frames(entry: GroupEntry) -> FrameRange:
    return FrameRange(entry.first_frame, entry.span.end_frame)
