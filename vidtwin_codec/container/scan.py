"""Walks a .vtw frame by frame without its index, stepping over damage to the next frame that is sound."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vidtwin_codec.coding import Allowance, CorruptGroupError, OpenGroup, TooMuchWorkError, zstd_frame
from vidtwin_codec.coding.allowance import PER_BYTE, PER_READ, UNLIMITED, for_search
from vidtwin_codec.container.format import (
    AUDIO_OVERHEAD,
    AUDIO_TAG,
    FRAME_START_BYTES,
    INDEX_TAG,
    MAX_AUDIO_CHUNK,
    MAX_INDEX_BYTES,
    SKIPPABLE_MAGIC,
    DamagedError,
    is_skippable,
    open_audio,
)
from vidtwin_codec.container.header import Header
from vidtwin_codec.container.index import GroupEntry, Index
from vidtwin_codec.container.source import ByteSource

_WINDOW = 1 << 20
_LANDMARK = re.compile(re.escape(zstd_frame.MAGIC) + b"|" + re.escape(SKIPPABLE_MAGIC))


@dataclass(frozen=True, slots=True)
class GroupFrame:
    """A sound group: checksum and place in the video hold, and all symbols where they were to be decoded."""

    offset: int
    size: int
    entry: GroupEntry


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """A sound audio frame: its number and how many bytes of audio it holds."""

    offset: int
    size: int
    number: int
    audio_bytes: int


@dataclass(frozen=True, slots=True)
class IndexFrame:
    """A sound index."""

    offset: int
    size: int
    index: Index


@dataclass(frozen=True, slots=True)
class ForeignFrame:
    """A skippable frame that is not ours, or that a newer version defines."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no sound frame; ``truncated`` when the file ends before the frame does."""

    offset: int
    size: int
    reason: str
    truncated: bool


@dataclass(frozen=True, slots=True)
class Unchecked:
    """All from ``offset`` on, which was more than may be spent."""

    offset: int
    size: int
    reason: str


Frame = GroupFrame | AudioFrame | IndexFrame | ForeignFrame | Damage | Unchecked


def scan(
    source: ByteSource, header: Header, start: int, *, symbols: bool = False, allowance: Allowance = UNLIMITED
) -> Iterator[Frame]:
    """Frames from ``start`` to the end of the file, every checksum checked; never raises for bad contents.

    Args:
        source, header: of the file.
        start: where the header ends.
        symbols: decode all of them, too, which takes time.
        allowance: what may be spent; where it ends, so does the scan, with `Unchecked`.
    """
    position = start
    foreign: ForeignFrame | None = None
    search = UNLIMITED if allowance is UNLIMITED else for_search(source.size, allowance)
    while position < source.size:
        try:
            frame = frame_at(source, header, position, symbols=symbols, allowance=allowance)
            after = position
            if isinstance(frame, Damage):
                # a foreign frame has no checksum: when nothing sound follows it, its length may be what is damaged
                after = _next_sound(source, header, (foreign.offset if foreign else position) + 1, search)
        except TooMuchWorkError as error:
            yield Unchecked(position, source.size - position, error.message)
            return
        if isinstance(frame, Damage):
            yield replace(frame, size=max(after - position, 0))
            position = after
            foreign = None
        else:
            yield frame
            position += frame.size
            foreign = frame if isinstance(frame, ForeignFrame) else None


def frame_at(
    source: ByteSource, header: Header, offset: int, *, symbols: bool = False, allowance: Allowance = UNLIMITED
) -> Frame:
    """The frame at ``offset``, or why there is none (a `Damage` that reaches to the end of the file).

    Raises:
        TooMuchWorkError: looking took more than the allowance.
    """
    allowance.spend(PER_READ)
    start = source.read_at(offset, FRAME_START_BYTES)
    rest = source.size - offset
    try:
        if start[:4] == zstd_frame.MAGIC:
            return _group_at(source, header, offset, symbols, allowance)
        if is_skippable(start[:4]) and len(start) >= 8:
            return _skippable_at(source, start, offset, allowance)
    except zstd_frame.TruncatedFrameError:
        return Damage(offset, rest, "the file ends inside a group", True)
    except (zstd_frame.FrameError, CorruptGroupError, DamagedError) as error:
        return Damage(offset, rest, str(error), False)
    beginning = len(start) < 8 and (zstd_frame.MAGIC.startswith(start[:4]) or SKIPPABLE_MAGIC.startswith(start[:4]))
    return Damage(offset, rest, "the file ends inside a frame" if beginning else "no frame starts here", beginning)


def open_group(source: ByteSource, header: Header, offset: int, size: int) -> OpenGroup:
    """The group whose frame takes ``size`` bytes from ``offset`` on.

    Raises:
        CorruptGroupError: it is damaged.
    """
    if size > zstd_frame.bound(header.max_group_content):
        raise CorruptGroupError(f"damaged group: {size} bytes are more than a group of this file can take")
    return header.open_group(source.read_at(offset, size))


def _group_at(source: ByteSource, header: Header, offset: int, symbols: bool, allowance: Allowance) -> GroupFrame:
    def read_at(position: int, size: int) -> bytes:
        allowance.spend(PER_READ)
        return source.read_at(position, size)

    size = zstd_frame.measure(read_at, offset, max_content=header.max_group_content)
    allowance.spend(PER_BYTE * size, size)
    data = source.read_at(offset, size)
    group = header.open_group(data, allowance)
    if symbols:
        for _ in group.clips():
            pass
    return GroupFrame(offset, size, GroupEntry(offset, size, zlib.crc32(data), *group.span))


def _skippable_at(source: ByteSource, start: bytes, offset: int, allowance: Allowance) -> Frame:
    size = 8 + int.from_bytes(start[4:8], "little")
    if offset + size > source.size:
        return Damage(offset, source.size - offset, "the file ends inside a skippable frame", True)
    tag = start[8:] if start[:4] == SKIPPABLE_MAGIC else b""
    if tag == AUDIO_TAG and size > AUDIO_OVERHEAD + MAX_AUDIO_CHUNK:
        raise DamagedError("holds too much audio")
    if tag == INDEX_TAG and size > MAX_INDEX_BYTES:
        raise DamagedError("is too long for an index")
    if tag in (AUDIO_TAG, INDEX_TAG):
        allowance.spend(PER_BYTE * size, size)
    if tag == AUDIO_TAG:
        number, chunk = open_audio(source.read_at(offset, size))
        return AudioFrame(offset, size, number, len(chunk))
    if tag == INDEX_TAG:
        return IndexFrame(offset, size, Index.from_bytes(source.read_at(offset, size), offset))
    return ForeignFrame(offset, size)


def _next_sound(source: ByteSource, header: Header, start: int, allowance: Allowance) -> int:
    """First position from ``start`` on where a sound group, audio frame or index begins, else the end.

    Raises:
        TooMuchWorkError: looking took more than the allowance.
    """
    position = start
    while position < source.size:
        window = source.read_at(position, _WINDOW + len(zstd_frame.MAGIC) - 1)
        for match in _LANDMARK.finditer(window):
            found = frame_at(source, header, position + match.start(), allowance=allowance)
            if not isinstance(found, (Damage, ForeignFrame)):
                return found.offset
        position += _WINDOW
    return source.size
