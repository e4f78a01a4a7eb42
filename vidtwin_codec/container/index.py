"""The index at the end of a .vtw: the place of each group, and all that a complete file holds."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vidtwin_codec.coding import GroupSpan
from vidtwin_codec.container.format import (
    CRC_BYTES,
    END_TAG,
    FRAME_START_BYTES,
    INDEX_TAG,
    MAX_INDEX_BYTES,
    PACKED_END_TAG,
    DamagedError,
    build_frame,
    open_frame,
)
from vidtwin_codec.container.packed_json import deflate, inflate

_COUNTS = struct.Struct("<IQIQI")  # groups, position of this frame, audio frames, audio bytes, checksum of the header
_RECORD = struct.Struct("<Q6I")  # offset, size, CRC-32 of the group's bytes, first frame, frames, first clip, clips
# The tail: length of the whole index frame and the end tag, which stand before the CRC-32 that closes every frame.
_TAIL = struct.Struct("<I4s")
TAIL_BYTES = _TAIL.size + CRC_BYTES
MIN_GROUP_BYTES = 16  # the smallest frame of a group
MIN_INDEX_BYTES = FRAME_START_BYTES + TAIL_BYTES
_TAGS = (END_TAG, PACKED_END_TAG)


class GroupEntry(NamedTuple):
    """A group's entry: position and size in bytes of its Zstandard frame, CRC-32, and its frames and clips."""

    offset: int
    size: int
    crc: int
    first_frame: int
    frames: int
    first_clip: int
    clips: int

    @property
    def span(self) -> GroupSpan:
        """The part of the video that the group holds."""
        return GroupSpan(self.first_frame, self.frames, self.first_clip, self.clips)


@dataclass(frozen=True)
class Index:
    """The contents of the index.

    Attributes:
        groups: entries in order; frames and clips follow each other without a gap from 0 on.
        offset: position of the index frame itself, the end of everything before it.
        audio_frames: number of audio frames.
        audio_bytes: size of the audio file that they hold.
        header_crc: checksum that closes the header frame of the same file.
    """

    groups: tuple[GroupEntry, ...]
    offset: int
    audio_frames: int
    audio_bytes: int
    header_crc: int

    @property
    def frames(self) -> int:
        """Number of frames of the whole video, without padding."""
        return sum(entry.frames for entry in self.groups)

    def to_bytes(self, *, packed: bool = False) -> bytes:
        """Return the index as a skippable frame.

        Args:
            packed: whether contents may be deflated, which readers of format version 1.0 do not know.
        """
        counts = _COUNTS.pack(len(self.groups), self.offset, self.audio_frames, self.audio_bytes, self.header_crc)
        contents, tag = counts + b"".join(_RECORD.pack(*entry) for entry in self.groups), END_TAG
        short = deflate(contents) if packed else contents
        if len(short) < len(contents):
            contents, tag = short, PACKED_END_TAG
        length = FRAME_START_BYTES + len(contents) + TAIL_BYTES
        return build_frame(INDEX_TAG, contents + _TAIL.pack(length, tag))

    @classmethod
    def from_bytes(cls, data: bytes, position: int) -> Index:
        """Read the skippable frame that `to_bytes` returned.

        Args:
            data: the frame.
            position: position of the frame in the file; there cannot be more groups than have room before it.

        Raises:
            DamagedError: the checksum does not hold, or the numbers contradict each other.
        """
        body = open_frame(data, INDEX_TAG)
        if len(body) < _TAIL.size:
            raise DamagedError("is too short")
        contents = bytes(body[: -_TAIL.size])
        length, tag = _TAIL.unpack(body[-_TAIL.size :])
        if tag == PACKED_END_TAG:
            try:
                most = _COUNTS.size + position // MIN_GROUP_BYTES * _RECORD.size
                contents = inflate(contents, min(most, MAX_INDEX_BYTES))
            except ValueError as error:
                raise DamagedError("has contents that cannot be unpacked") from error
        if len(contents) < _COUNTS.size or (length, tag in _TAGS) != (len(data), True):
            raise DamagedError("has a length that does not fit its contents")
        count, offset, audio_frames, audio_bytes, header_crc = _COUNTS.unpack_from(contents)
        records = contents[_COUNTS.size :]
        if len(records) != count * _RECORD.size:
            raise DamagedError("has a length that does not fit its contents")
        groups = tuple(GroupEntry(*values) for values in _RECORD.iter_unpack(records))
        _check_order(groups, offset)
        return cls(groups, offset, audio_frames, audio_bytes, header_crc)


def length_from_tail(tail: bytes) -> int | None:
    """Return the length of the index frame that ends with these `TAIL_BYTES` bytes, or None if they are not a tail."""
    if len(tail) != TAIL_BYTES:
        return None
    length, tag = _TAIL.unpack_from(tail)
    return int(length) if tag in _TAGS and length >= MIN_INDEX_BYTES else None


def _check_order(groups: Sequence[GroupEntry], end: int) -> None:
    position = frame = clip = 0
    for number, entry in enumerate(groups):
        if entry.offset < position or entry.frames < 1 or entry.clips < 1 or entry.size < MIN_GROUP_BYTES:
            raise DamagedError(f"contradicts itself at group {number}")
        if (entry.first_frame, entry.first_clip) != (frame, clip):
            raise DamagedError(f"leaves a gap before group {number}")
        position, frame, clip = entry.offset + entry.size, entry.span.end_frame, entry.span.end_clip
    if position > end:
        raise DamagedError("points beyond the groups")
