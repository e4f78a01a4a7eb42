"""Walks a .vtw frame by frame without its index, stepping over damage to the next frame that is sound."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vidtwin_codec.coding import CorruptGroupError, OpenGroup, zstd_frame
from vidtwin_codec.container.format import (
    AUDIO_TAG,
    FRAME_START_BYTES,
    INDEX_TAG,
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
    """A sound group: checksum and place in the video hold, and symbols that are coded as a whole were decoded; those
    that are coded clip by clip where this was asked for."""

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


Frame = GroupFrame | AudioFrame | IndexFrame | ForeignFrame | Damage


def scan(source: ByteSource, header: Header, start: int, *, symbols: bool = False) -> Iterator[Frame]:
    """Frames from ``start`` to the end of the file, every checksum checked; never raises for bad contents.

    Args:
        symbols: decode all of them, too, which takes time.
    """
    position = start
    foreign: ForeignFrame | None = None
    while position < source.size:
        frame = frame_at(source, header, position, symbols=symbols)
        if isinstance(frame, Damage):
            # a foreign frame has no checksum: when nothing sound follows it, its length may be what is damaged
            resume = (foreign.offset if foreign else position) + 1
            after = _next_sound(source, header, resume, symbols)
            yield replace(frame, size=max(after - position, 0))
            position = after
            foreign = None
        else:
            yield frame
            position += frame.size
            foreign = frame if isinstance(frame, ForeignFrame) else None


def frame_at(source: ByteSource, header: Header, offset: int, *, symbols: bool = False) -> Frame:
    """The frame at ``offset``, or why there is none (a `Damage` that reaches to the end of the file)."""
    start = source.read_at(offset, FRAME_START_BYTES)
    rest = source.size - offset
    try:
        if start[:4] == zstd_frame.MAGIC:
            return _group_at(source, header, offset, symbols)
        if is_skippable(start[:4]) and len(start) >= 8:
            return _skippable_at(source, start, offset)
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


def _group_at(source: ByteSource, header: Header, offset: int, symbols: bool) -> GroupFrame:
    size = zstd_frame.measure(source.read_at, offset, max_content=header.max_group_content)
    data = source.read_at(offset, size)
    group = header.open_group(data)
    if symbols:
        for _ in group.clips():
            pass
    return GroupFrame(offset, size, GroupEntry(offset, size, zlib.crc32(data), *group.span))


def _skippable_at(source: ByteSource, start: bytes, offset: int) -> Frame:
    size = 8 + int.from_bytes(start[4:8], "little")
    if offset + size > source.size:
        return Damage(offset, source.size - offset, "the file ends inside a skippable frame", True)
    tag = start[8:] if start[:4] == SKIPPABLE_MAGIC else b""
    if tag == AUDIO_TAG:
        number, chunk = open_audio(source.read_at(offset, size))
        return AudioFrame(offset, size, number, len(chunk))
    if tag == INDEX_TAG:
        return IndexFrame(offset, size, Index.from_bytes(source.read_at(offset, size)))
    return ForeignFrame(offset, size)


def _next_sound(source: ByteSource, header: Header, start: int, symbols: bool) -> int:
    """First position from ``start`` on where a sound group, audio frame or index begins, else the end."""
    position = start
    while position < source.size:
        window = source.read_at(position, _WINDOW + len(zstd_frame.MAGIC) - 1)
        for match in _LANDMARK.finditer(window):
            found = frame_at(source, header, position + match.start(), symbols=symbols)
            if not isinstance(found, (Damage, ForeignFrame)):
                return found.offset
        position += _WINDOW
    return source.size
