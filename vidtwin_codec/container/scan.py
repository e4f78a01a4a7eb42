"""Walks a .vtw frame by frame without its index, and skips damage up to the next intact frame."""

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
    """An intact group: its checksum and place in the video hold, and all its symbols if they were decoded."""

    offset: int
    size: int
    entry: GroupEntry


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """An intact audio frame: its number and the bytes of audio it holds."""

    offset: int
    size: int
    number: int
    audio_bytes: int


@dataclass(frozen=True, slots=True)
class IndexFrame:
    """An intact index."""

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
    """Bytes that are not an intact frame; ``truncated`` if the file ends before the frame does."""

    offset: int
    size: int
    reason: str
    truncated: bool


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Everything from ``offset`` on, which the allowance does not suffice for."""

    offset: int
    size: int
    reason: str


Frame = GroupFrame | AudioFrame | IndexFrame | ForeignFrame | Damage | Unchecked


def scan(
    source: ByteSource,
    header: Header,
    start: int,
    *,
    decoded: set[bytes] | None = None,
    allowance: Allowance = UNLIMITED,
) -> Iterator[Frame]:
    """Yield the frames from ``start`` to the end of the file, with every checksum checked.

    Bad contents never raise an error.

    Args:
        source: the bytes of the file.
        header: the header of the file.
        start: the position at which the header frame ends.
        decoded: digests of the bodies whose symbols were decoded, which are not decoded again; the scan adds to them.
            None decodes no symbols.
        allowance: the work that may be spent; where it ends, the scan ends with `Unchecked`.
    """
    position = start
    foreign: ForeignFrame | None = None
    search = UNLIMITED if allowance is UNLIMITED else for_search(source.size, allowance)
    while position < source.size:
        try:
            frame = frame_at(source, header, position, decoded=decoded, allowance=allowance)
            after = position
            if isinstance(frame, Damage):
                # a foreign frame has no checksum: if no intact frame follows it, its length may be damaged
                after = _next_intact(source, header, (foreign.offset if foreign else position) + 1, search)
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
    source: ByteSource,
    header: Header,
    offset: int,
    *,
    decoded: set[bytes] | None = None,
    allowance: Allowance = UNLIMITED,
) -> Frame:
    """Return the frame at ``offset``, or a `Damage` that reaches to the end of the file and says why there is none.

    Arguments are those of `scan`.

    Raises:
        TooMuchWorkError: the allowance does not suffice.
    """
    allowance.spend(PER_READ)
    start = source.read_at(offset, FRAME_START_BYTES)
    rest = source.size - offset
    try:
        if start[:4] == zstd_frame.MAGIC:
            return _group_at(source, header, offset, decoded, allowance)
        if is_skippable(start[:4]) and len(start) >= 8:
            return _skippable_at(source, start, offset, allowance)
    except zstd_frame.TruncatedFrameError:
        return Damage(offset, rest, "the file ends inside a group", True)
    except (zstd_frame.FrameError, CorruptGroupError, DamagedError) as error:
        return Damage(offset, rest, str(error), False)
    beginning = len(start) < 8 and (zstd_frame.MAGIC.startswith(start[:4]) or SKIPPABLE_MAGIC.startswith(start[:4]))
    return Damage(offset, rest, "the file ends inside a frame" if beginning else "no frame starts here", beginning)


def open_group(source: ByteSource, header: Header, offset: int, size: int) -> OpenGroup:
    """Open the group whose frame takes ``size`` bytes from ``offset`` on.

    Raises:
        CorruptGroupError: the group is damaged.
    """
    if size > zstd_frame.bound(header.max_group_content):
        raise CorruptGroupError(f"damaged group: {size} bytes are more than a group of this file can take")
    return header.open_group(source.read_at(offset, size))


def _group_at(
    source: ByteSource, header: Header, offset: int, decoded: set[bytes] | None, allowance: Allowance
) -> GroupFrame:
    def read_at(position: int, size: int) -> bytes:
        allowance.spend(PER_READ)
        return source.read_at(position, size)

    size = zstd_frame.measure(read_at, offset, max_content=header.max_group_content)
    allowance.spend(PER_BYTE * size, size)
    data = source.read_at(offset, size)
    group = header.open_group(data, allowance)
    if decoded is not None:
        digest = group.digest()
        if digest not in decoded:
            for _ in group.clips():
                pass
        decoded.add(digest)
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


def _next_intact(source: ByteSource, header: Header, start: int, allowance: Allowance) -> int:
    """Return the first position from ``start`` on at which an intact group, audio frame or index begins, or the end."""
    position = start
    while position < source.size:
        window = source.read_at(position, _WINDOW + len(zstd_frame.MAGIC) - 1)
        for match in _LANDMARK.finditer(window):
            found = frame_at(source, header, position + match.start(), allowance=allowance)
            if not isinstance(found, (Damage, ForeignFrame)):
                return found.offset
        position += _WINDOW
    return source.size
