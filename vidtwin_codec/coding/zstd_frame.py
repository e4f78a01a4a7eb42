"""Zstandard frames from files that are not trusted: sizes are checked before anything is allocated.

The library parses frame headers. Block headers are parsed here, as RFC 8878 (section 3.1.1.2) lays them out, because
the library allocates whatever a header announces and does not say where a frame ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import zstandard

MAGIC = b"\x28\xb5\x2f\xfd"
MAX_HEADER = 18  # magic, descriptor, window, 4-byte dictionary id, 8-byte content size
CHECKSUM_BYTES = 4
_LEAST_HEADER = 5  # bytes that tell the length of a header
ReadAt = Callable[[int, int], bytes]

_SKIPPABLE_BLOCK_TYPES = (0, 2)  # raw and compressed blocks are as long as their header says; RLE (1) is one byte
_MAX_BLOCK = 128 * 1024
_LEAST_BLOCK = 256  # bytes of content that a writer puts into a block, on average


class FrameError(ValueError):
    """The bytes are not one intact Zstandard frame within the limits."""


class TruncatedFrameError(FrameError):
    """The bytes end before the frame does."""


class FrameHeader(NamedTuple):
    """The header of a frame.

    Attributes:
        content_size: bytes of content that the frame announces; None when it announces none.
        has_checksum: whether a checksum of the content ends the frame.
        has_dictionary: whether the frame names a dictionary.
        length: bytes of the header itself.
    """

    content_size: int | None
    has_checksum: bool
    has_dictionary: bool
    length: int


def compress(data: bytes, level: int, *, checksum: bool = True) -> bytes:
    """Compress ``data`` to one frame with its content size and, if ``checksum``, its content checksum."""
    return zstandard.ZstdCompressor(level=level, write_checksum=checksum, write_content_size=True).compress(data)


def bound(content_size: int) -> int:
    """Return the most bytes that a frame of ``content_size`` bytes may take: raw blocks and framing."""
    return content_size + content_size // 128 + 1024


def parse_header(data: bytes) -> FrameHeader:
    """Read the header of the frame at the start of ``data`` (`MAX_HEADER` bytes are always enough).

    Raises:
        TruncatedFrameError: ``data`` is too short.
        FrameError: no valid Zstandard frame header starts there.
    """
    if data[:4] != MAGIC[: len(data)]:  # the library also takes skippable frames
        raise FrameError("no Zstandard frame here")
    if len(data) < _LEAST_HEADER or len(data) < (length := zstandard.frame_header_size(data)):
        raise TruncatedFrameError("ends inside a frame header")
    try:
        parameters = zstandard.get_frame_parameters(data)
    except zstandard.ZstdError as error:
        raise FrameError("the frame header is not valid") from error
    size = parameters.content_size
    # to the library an id of 0 and no id are the same: the lowest bits of the descriptor tell them apart
    has_dictionary = bool(data[4] & 3)
    return FrameHeader(
        None if size == zstandard.CONTENTSIZE_UNKNOWN else size, parameters.has_checksum, has_dictionary, length
    )


def measure(read_at: ReadAt, offset: int, *, max_content: int) -> int:
    """Find the length in bytes of the frame at ``offset`` by walking its blocks, without decompressing them.

    Args:
        read_at: returns ``size`` bytes from a position on, fewer at the end of the data.
        offset: position at which the frame starts.
        max_content: most bytes that it may announce as its content.

    Raises:
        TruncatedFrameError: the data end first.
        FrameError: the frame lacks content size or checksum, names a dictionary, or exceeds the limit.
    """
    header = parse_header(read_at(offset, MAX_HEADER))
    if header.content_size is None or not header.has_checksum or header.has_dictionary:
        raise FrameError("the frame header lacks the content size or the checksum, or asks for a dictionary")
    if header.content_size > max_content:
        raise FrameError(f"announces {header.content_size} bytes of content, at most {max_content} are allowed")
    limit = offset + bound(header.content_size)
    position = offset + header.length
    blocks = 64 + header.content_size // _LEAST_BLOCK
    last = False
    while not last:
        blocks -= 1
        if blocks < 0:
            raise FrameError("has more blocks than its content can take")
        block = read_at(position, 3)
        if len(block) < 3:
            raise TruncatedFrameError("ends inside a frame")
        word = int.from_bytes(block, "little")
        last, kind, size = bool(word & 1), word >> 1 & 3, word >> 3
        if kind == 3 or size > _MAX_BLOCK:
            raise FrameError("a block header is not valid")
        position += 3 + (size if kind in _SKIPPABLE_BLOCK_TYPES else 1)
        if position > limit:
            raise FrameError("is longer than its content can be")
    position += CHECKSUM_BYTES
    if not read_at(position - 1, 1):
        raise TruncatedFrameError("ends inside a frame")
    return position - offset


def decompress(data: bytes, *, max_content: int) -> bytes:
    """Decompress ``data``, which must be exactly one frame with content size and checksum.

    Raises:
        FrameError: ``data`` is anything else, its content size exceeds ``max_content``, or the checksum does not hold.
            Nothing is allocated for a frame that announces too much.
    """
    length = measure(lambda position, size: data[position : position + size], 0, max_content=max_content)
    if length != len(data):
        raise FrameError(f"{len(data) - length} bytes follow the frame")
    try:
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise FrameError(_explain(error)) from error


def decompress_exactly(data: bytes, size: int) -> bytes:
    """Decompress ``data``, one frame that announces ``size`` bytes of content; it needs no checksum.

    Raises:
        FrameError: ``data`` announces another size, is damaged, or is not exactly one frame.
    """
    header = parse_header(data[:MAX_HEADER])
    if header.content_size != size or header.has_dictionary:
        raise FrameError(f"does not hold exactly {size} bytes")
    try:
        # the output buffer is as large as announced: data that hold more are an error, not memory
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FrameError(_explain(error)) from error


def _explain(error: zstandard.ZstdError) -> str:
    if "checksum" in str(error):
        return "the content checksum does not hold"
    return "its compressed data are damaged"
