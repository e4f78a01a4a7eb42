"""Reads a .vtw: header, index, single groups, and the intact parts of a damaged file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from vidtwin_codec.closing import Closing
from vidtwin_codec.coding import LATEST_CODER, Allowance, CorruptGroupError, Group, LatentArrays, OpenGroup, PlacedClip
from vidtwin_codec.coding.allowance import UNLIMITED, for_file
from vidtwin_codec.container.format import (
    AUDIO_OVERHEAD,
    FRAME_START_BYTES,
    HEADER_TAG,
    MAX_HEADER_BYTES,
    SKIPPABLE_MAGIC,
    Counts,
    DamagedError,
    closing_crc,
    open_audio,
)
from vidtwin_codec.container.header import Header
from vidtwin_codec.container.index import TAIL_BYTES, Index, length_from_tail
from vidtwin_codec.container.inspection import FrameRange, Inspection, index_problem, inspect
from vidtwin_codec.container.scan import AudioFrame, ForeignFrame, frame_at, open_group
from vidtwin_codec.container.source import ByteSource
from vidtwin_codec.errors import VidtwinError

RECOVER_HINT = "decode what is whole with `--recover`"
HEADER_HINT = "nothing can be decoded without the header: get the file again"


class VtwReader(Closing):
    """A .vtw file that is open for reading; a context manager.

    Args:
        file: a path, or a seekable binary stream or source, which stays open.
        recover: accept a damaged or truncated file: every checksum is checked now and only whole groups are listed.
        symbols: with ``recover``, decode all symbols, too: what is damaged behind sound checksums is found now.
        fallback: with ``recover``, believe a sound index, and look at everything only where there is none.
        thorough: look at everything whatever that takes; without it, a look ends where it takes more work or memory
            than files of this size are worth (docs/FORMAT.md), which is told as damage.

    Attributes:
        header: the header of the file.
        groups: entries of the groups that can be read, in order; without ``recover`` those of the index.
        complete: whether the index is at the end of the file and agrees with it, as far as checked: without
            ``recover`` always True, with it True when nothing at all is wrong.
        damage: the problems found with ``recover``, one line each; otherwise empty.
        lost: ranges of frames whose groups are lost, found with ``recover``; otherwise empty. Frames after the last
            whole group of a file without an index are unknown.
        frames: number of frames of the video, without padding, lost ones included where the index tells.
        counts: sizes in bytes; those of a damaged file count only what is there.

    Raises:
        VidtwinError: the file is not a .vtw, its header cannot be read, or it has a newer major version or an unknown
            coder; without ``recover`` also a missing or damaged index, with what could be recovered.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | BinaryIO | ByteSource,
        *,
        recover: bool = False,
        symbols: bool = False,
        fallback: bool = False,
        thorough: bool = False,
    ) -> None:
        self._owned = not isinstance(file, ByteSource)
        self._source = file if isinstance(file, ByteSource) else ByteSource(file)
        try:
            self.header, self._header_crc, self._start = read_header(self._source)
            index = None if recover and not fallback else self._read_index()
            if index is not None:
                self._use_index(index)
            else:
                found = self._inspect(symbols, thorough)
                if not recover:
                    raise _explain(self.name, found)
                self._use_inspection(found)
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The file's name in messages."""
        return self._source.name

    def open_group(self, number: int) -> OpenGroup:
        """Open group ``number`` of `groups`, without decoding its symbols. Any thread may call.

        Raises:
            CorruptGroupError: the group is damaged.
        """
        entry = self.groups[number]
        with self._naming(number):
            group = open_group(self._source, self.header, entry.offset, entry.size)
            if group.span != entry.span:
                raise CorruptGroupError("damaged group: is not what the index says")
        return group

    def clips(self, number: int) -> Iterator[LatentArrays]:
        """Yield the symbols of group ``number`` clip by clip, int32 ``[tiles, …]``. Any thread may call.

        Raises:
            CorruptGroupError: the group is damaged, which may show only after some clips.
        """
        for clip in self.placed(number):
            yield clip.symbols

    def placed(self, number: int) -> Iterator[PlacedClip]:
        """Yield the symbols and the canvas of each clip of group ``number``. Any thread may call.

        Raises:
            CorruptGroupError: the group is damaged, which may show only after some clips.
        """
        group = self.open_group(number)
        with self._naming(number):
            yield from group.placed()

    def read_group(self, number: int) -> Group:
        """Read group ``number`` of `groups` as a whole. Any thread may call.

        Raises:
            CorruptGroupError: the group is damaged.
        """
        group = self.open_group(number)
        with self._naming(number):
            return group.whole()

    @contextmanager
    def _naming(self, number: int) -> Iterator[None]:
        """Add the number of the group to the messages of errors."""
        try:
            yield
        except MemoryError as error:
            raise VidtwinError(f"{self.name}: group {number} does not fit the memory of this machine") from error
        except CorruptGroupError as error:
            frames = FrameRange(self.groups[number].first_frame, self.groups[number].span.end_frame)
            raise CorruptGroupError(f"{self.name}: group {number} ({frames}): {error.message}", RECOVER_HINT) from error

    def audio_chunks(self) -> Iterator[bytes]:
        """Yield the pieces of the audio file in order; with ``recover``, those that are intact.

        Raises:
            VidtwinError: a piece is damaged or missing (never with ``recover``).
        """
        for frame in self._walk_audio() if self._audio is None else self._audio:
            try:
                yield open_audio(self._source.read_at(frame.offset, frame.size))[1]
            except DamagedError as error:
                raise VidtwinError(f"{self.name}: the audio changed while it was read ({error})") from error

    def verify(self, *, thorough: bool = False) -> list[str]:
        """Check checksums and symbols, and that index, groups, frames and audio agree.

        Args:
            thorough: whether to inspect everything at any cost; see the class.

        Returns:
            The problems, one line each; empty for an intact file.
        """
        return self._inspect(True, thorough).problems

    def close(self) -> None:
        """Close the file, unless the caller opened it."""
        if self._owned:
            self._source.close()

    def _inspect(self, symbols: bool, thorough: bool) -> Inspection:
        allowance: Allowance = UNLIMITED if thorough else for_file(self._source.size)
        try:
            return inspect(
                self._source, self.header, self._header_crc, self._start, symbols=symbols, allowance=allowance
            )
        except MemoryError as error:
            raise VidtwinError(f"{self.name}: what it holds does not fit the memory of this machine") from error

    def _use_index(self, index: Index) -> None:
        self.groups = list(index.groups)
        self.damage: list[str] = []
        self.lost: list[FrameRange] = []
        self.complete = True
        self.frames = index.frames
        self.counts = self._count(index.audio_bytes, index.audio_frames)
        self._audio: list[AudioFrame] | None = None
        self._audio_frames = index.audio_frames
        self._audio_end = index.groups[0].offset if index.groups else index.offset

    def _use_inspection(self, found: Inspection) -> None:
        self.groups = found.groups
        self.damage = found.problems
        self.lost = found.lost
        self.complete = not found.problems
        self.frames = found.index.frames if found.index else found.groups[-1].span.end_frame if found.groups else 0
        self.counts = self._count(sum(frame.audio_bytes for frame in found.audio), len(found.audio))
        self._audio = found.audio

    def _count(self, audio_bytes: int, audio_frames: int) -> Counts:
        size = self._source.size
        audio = audio_bytes + audio_frames * AUDIO_OVERHEAD
        return Counts(size, size - audio, audio, self.frames, len(self.groups))

    def _read_index(self) -> Index | None:
        """Return the index at the end of the file, or None if it is missing, damaged or belongs to another file."""
        size = self._source.size
        length = length_from_tail(self._source.read_at(size - TAIL_BYTES, TAIL_BYTES))
        if length is None or length > size - self._start:
            return None
        offset = size - length
        try:
            index = Index.from_bytes(self._source.read_at(offset, length), offset)
        except DamagedError:
            return None
        if index.groups and index.groups[0].offset < self._start:
            return None
        return None if index_problem(index, offset, self.header, self._header_crc) else index

    def _walk_audio(self) -> Iterator[AudioFrame]:
        position, number = self._start, 0
        while position < self._audio_end:
            frame = frame_at(self._source, self.header, position)
            if isinstance(frame, AudioFrame) and frame.number == number:
                number += 1
                yield frame
            elif not isinstance(frame, ForeignFrame):
                break
            position += frame.size
        if number != self._audio_frames:
            raise VidtwinError(
                f"{self.name}: the audio is damaged: piece {number} of {self._audio_frames} is lost", RECOVER_HINT
            )


def read_header(source: ByteSource) -> tuple[Header, int, int]:
    """Return the header, the checksum that closes its frame, and the length of the frame.

    Raises:
        VidtwinError: the file is not a .vtw, damaged, of a newer major version, or has an unknown coder.
    """
    start = source.read_at(0, FRAME_START_BYTES)
    if not start:
        raise VidtwinError(f"{source.name}: is empty")
    if start[:4] != SKIPPABLE_MAGIC[: len(start)] or (start[8:] and not HEADER_TAG.startswith(start[8:])):
        raise VidtwinError(f"{source.name}: is not a .vtw file", "`vidtwin encode` makes one from a video")
    length = 8 + int.from_bytes(start[4:8], "little")
    if len(start) < FRAME_START_BYTES or MAX_HEADER_BYTES >= length > source.size:
        raise VidtwinError(f"{source.name}: is truncated: it ends inside the header", HEADER_HINT)
    if length > MAX_HEADER_BYTES:
        raise VidtwinError(f"{source.name}: the header is damaged: it claims {length} bytes", HEADER_HINT)
    data = source.read_at(0, length)
    try:
        header = Header.from_bytes(data)
    except DamagedError as error:
        raise VidtwinError(f"{source.name}: the header is damaged: it {error}", HEADER_HINT) from error
    except VidtwinError as error:
        raise VidtwinError(f"{source.name}: {error.message}", error.hint) from error
    if header.coder > LATEST_CODER:
        raise VidtwinError(
            f"{source.name}: uses coder {header.coder}, which this version of vidtwin does not know",
            "install a newer vidtwin",
        )
    return header, closing_crc(data), length


def verify(file: str | os.PathLike[str] | BinaryIO, *, thorough: bool = False) -> list[str]:
    """List everything that is wrong with a .vtw; bad contents never raise an error.

    Args:
        file: a path, or a seekable binary stream, which stays open.
        thorough: whether to inspect everything at any cost; see `VtwReader`.

    Returns:
        The problems, one line each; empty for an intact file.
    """
    try:
        with VtwReader(file, recover=True, symbols=True, thorough=thorough) as reader:
            return reader.damage
    except VidtwinError as error:
        return [error.message]


def _explain(name: str, found: Inspection) -> VidtwinError:
    if not found.groups:
        return VidtwinError(f"{name}: {found.ending}; no group is whole, so nothing can be recovered")
    frames = sum(entry.frames for entry in found.groups)
    groups = "1 group is" if len(found.groups) == 1 else f"{len(found.groups)} groups are"
    return VidtwinError(f"{name}: {found.ending}; {groups} whole ({frames} frames)", RECOVER_HINT)
