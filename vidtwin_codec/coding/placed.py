"""Coder 5: the placements of a group's clips, for layouts without patterns, before the body of another coder."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vidtwin_codec.coding.allowance import UNLIMITED, Allowance
from vidtwin_codec.coding.coders import CONTEXT, PLAIN, PLAIN_BY_POSITION
from vidtwin_codec.coding.placement import Placement

INNER = (PLAIN, PLAIN_BY_POSITION, CONTEXT)
_SIZE = struct.Struct("<2H")  # rows, columns
# Cost of reading and checking the place of a clip, in nanoseconds.
_PER_CLIP = 3_000
_PER_CANVAS = 100_000


class Placed(NamedTuple):
    """The start of the body.

    Attributes:
        inner: id of the coder that made the rest.
        placements: the placement of each clip; None for a clip without a canvas.
        size: bytes of the start.
    """

    inner: int
    placements: tuple[Placement | None, ...]
    size: int


def encode_placements(inner: int, placements: Sequence[Placement | None]) -> bytes:
    """Return the start of a body whose rest the coder ``inner`` makes."""
    parts = [bytes([inner])]
    for one in placements:
        if one is None:
            parts.append(b"\0")
            continue
        steps = np.diff(one.corners.astype(np.int64), axis=0, prepend=0)
        parts += [b"\1", _SIZE.pack(one.rows, one.columns), steps.astype("<i2").tobytes()]
    return b"".join(parts)


def decode_placements(body: memoryview, clips: int, frames: int, allowance: Allowance = UNLIMITED) -> Placed:
    """Read what `encode_placements` wrote; the bytes need not be trusted.

    The caller checks the sizes of canvases.

    Args:
        body: the bytes that begin with the placements.
        clips: number of clips in the group.
        frames: number of frames in a clip.
        allowance: the work that may be spent.

    Raises:
        ValueError: the bytes are not what `encode_placements` writes.
        TooMuchWorkError: the allowance does not suffice.
    """
    if not body or body[0] not in INNER:
        raise ValueError("clips on canvases are coded by an unknown coder")
    found: list[Placement | None] = []
    at, path = 1, 4 * frames
    allowance.spend(_PER_CLIP * clips)
    for _ in range(clips):
        flag = body[at] if at < len(body) else None
        at += 1
        if flag == 0:
            found.append(None)
            continue
        if flag != 1 or at + _SIZE.size + path > len(body):
            raise ValueError("the canvas of a clip is damaged or cut short")
        allowance.spend(_PER_CANVAS)
        rows, columns = _SIZE.unpack_from(body, at)
        at += _SIZE.size
        steps = np.frombuffer(body, "<i2", 2 * frames, at).reshape(frames, 2)
        at += path
        corners = steps.cumsum(axis=0, dtype=np.int64)
        if int(corners.min()) < 0 or int(corners.max()) > np.iinfo(np.int16).max:
            raise ValueError("a frame's corner lies outside its canvas")
        found.append(Placement(rows, columns, 0, 0, corners.astype(np.int16)))
    return Placed(body[0], tuple(found), at)
