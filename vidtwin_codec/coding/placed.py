"""Coder 5: where the clips of a group without patterns lie, before what another coder makes of their symbols."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vidtwin_codec.coding.coders import CONTEXT, PLAIN, PLAIN_BY_POSITION
from vidtwin_codec.coding.placement import Placement

INNER = (PLAIN, PLAIN_BY_POSITION, CONTEXT)
_SIZE = struct.Struct("<2H")  # rows, columns


class Placed(NamedTuple):
    """What stands at the start of the body.

    Attributes:
        inner: id of the coder that made the rest. placements: of each clip. size: bytes that this takes.
    """

    inner: int
    placements: tuple[Placement | None, ...]
    size: int


def encode_placements(inner: int, placements: Sequence[Placement | None]) -> bytes:
    """The start of a body whose rest the coder ``inner`` makes."""
    parts = [bytes([inner])]
    for one in placements:
        if one is None:
            parts.append(b"\0")
            continue
        steps = np.diff(one.corners.astype(np.int64), axis=0, prepend=0)
        parts += [b"\1", _SIZE.pack(one.rows, one.columns), steps.astype("<i2").tobytes()]
    return b"".join(parts)


def decode_placements(body: memoryview, clips: int, frames: int) -> Placed:
    """Inverse of `encode_placements`, for bytes from anywhere.

    Args:
        body: begins with it. clips: of the group. frames: of a clip.

    Raises:
        ValueError: not what that writes. Sizes of canvases are for the caller to check.
    """
    if not body or body[0] not in INNER:
        raise ValueError("clips on canvases are coded by an unknown coder")
    found: list[Placement | None] = []
    at, path = 1, 4 * frames
    for _ in range(clips):
        flag = body[at] if at < len(body) else None
        at += 1
        if flag == 0:
            found.append(None)
            continue
        if flag != 1 or at + _SIZE.size + path > len(body):
            raise ValueError("the canvas of a clip is damaged or cut short")
        rows, columns = _SIZE.unpack_from(body, at)
        at += _SIZE.size
        steps = np.frombuffer(body, "<i2", 2 * frames, at).reshape(frames, 2)
        at += path
        corners = steps.cumsum(axis=0, dtype=np.int64)
        if int(corners.min()) < 0 or int(corners.max()) > np.iinfo(np.int16).max:
            raise ValueError("a frame's corner lies outside its canvas")
        found.append(Placement(rows, columns, 0, 0, corners.astype(np.int16)))
    return Placed(body[0], tuple(found), at)
