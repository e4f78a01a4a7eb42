"""The bytes of a .vtw around its groups: magic numbers, limits, and frames that hold no latents.

docs/FORMAT.md is the specification; every number here is explained there.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

VERSION = (1, 1)
FIRST_VERSION = (1, 0)

# Zstandard reserves 0x184D2A50 to 0x184D2A5F for frames that decoders skip; ours is ...56, so a .vtw begins with "V".
SKIPPABLE_MAGIC = struct.pack("<I", 0x184D2A56)
HEADER_TAG = b"VTWH"
AUDIO_TAG = b"VTWA"
INDEX_TAG = b"VTWI"
END_TAG = b"VTWE"
PACKED_END_TAG = b"VTWP"

MAX_HEADER_BYTES = 1 << 20
MAX_JSON_BYTES = 1 << 20
MAX_INDEX_BYTES = 1 << 26  # two million groups
MAX_AUDIO_CHUNK = 1 << 20
CRC_BYTES = 4

_FRAME_START = struct.Struct("<4sI4s")  # magic, length of what follows, tag
_AUDIO_NUMBER = struct.Struct("<I")
FRAME_START_BYTES = _FRAME_START.size
AUDIO_OVERHEAD = FRAME_START_BYTES + _AUDIO_NUMBER.size + CRC_BYTES


class DamagedError(ValueError):
    """Bytes that should be one of our frames are damaged; the message continues a sentence such as 'the header'."""


def is_skippable(magic: bytes) -> bool:
    """Return whether four bytes start a Zstandard skippable frame, ours or any other."""
    return len(magic) == 4 and magic[1:] == SKIPPABLE_MAGIC[1:] and magic[0] >> 4 == 5


def build_frame(tag: bytes, body: bytes) -> bytes:
    """Build a skippable frame: magic, length, tag, body, and the CRC-32 of all of these."""
    start = _FRAME_START.pack(SKIPPABLE_MAGIC, len(tag) + len(body) + CRC_BYTES, tag)
    return _with_crc(start + body)


def open_frame(data: bytes, tag: bytes) -> memoryview:
    """Return the body of a frame that `build_frame` made.

    Raises:
        DamagedError: the tag or the length is wrong, or the checksum does not hold.
    """
    if len(data) < FRAME_START_BYTES + CRC_BYTES:
        raise DamagedError("is too short")
    magic, length, found = _FRAME_START.unpack_from(data)
    if magic != SKIPPABLE_MAGIC or found != tag or length != len(data) - 8:
        raise DamagedError("does not start as it should")
    if zlib.crc32(data[:-CRC_BYTES]) != closing_crc(data):
        raise DamagedError("has a wrong checksum")
    return memoryview(data)[FRAME_START_BYTES:-CRC_BYTES]


def closing_crc(frame: bytes) -> int:
    """Return the checksum that ends a frame of ours.

    A CRC over frame and checksum together would be the same for every frame.
    """
    return int.from_bytes(frame[-CRC_BYTES:], "little")


def build_audio(number: int, chunk: bytes) -> bytes:
    """Build audio frame ``number`` (from 0) of at most `MAX_AUDIO_CHUNK` bytes of the audio file."""
    if not 0 < len(chunk) <= MAX_AUDIO_CHUNK:
        raise ValueError(f"an audio chunk holds 1 to {MAX_AUDIO_CHUNK} bytes, not {len(chunk)}")
    return build_frame(AUDIO_TAG, _AUDIO_NUMBER.pack(number) + chunk)


def open_audio(data: bytes) -> tuple[int, bytes]:
    """Return the number and the bytes of an audio frame.

    Raises:
        DamagedError: the data are not an intact audio frame.
    """
    body = open_frame(data, AUDIO_TAG)
    if len(body) <= _AUDIO_NUMBER.size or len(body) > _AUDIO_NUMBER.size + MAX_AUDIO_CHUNK:
        raise DamagedError("holds no audio, or too much")
    return _AUDIO_NUMBER.unpack_from(body)[0], bytes(body[_AUDIO_NUMBER.size :])


@dataclass(frozen=True)
class Counts:
    """The sizes of a .vtw in bytes; ``video_bytes`` is everything that is not an audio frame, framing included."""

    vtw_bytes: int
    video_bytes: int
    audio_bytes: int
    frames: int
    groups: int


def _with_crc(data: bytes) -> bytes:
    return data + zlib.crc32(data).to_bytes(CRC_BYTES, "little")
