"""Coding of a clip's canvas: a flag that tells whether it has one, and differences to the clip before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.layout import LatentLayout
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.coding.sparse.binary import DECODING, code, decide
from vidtwin_codec.coding.sparse.contexts import MOTION_0, one_context
from vidtwin_codec.coding.sparse.jit import entry, kernel
from vidtwin_codec.coding.sparse.walk import EVEN

CANVAS = 4  # rows, columns, top, left
MOST_BITS = 24
_LENGTH = 2
_SIGN = _LENGTH + 4 * 5 * 8
_BITS = _SIGN + 4 * 3


@kernel
def bits_of(value: int) -> int:
    """Return the number of bits of a magnitude, 0 for 0."""
    size, length = abs(value), 0
    while size > 0:
        size >>= 1
        length += 1
    return length


@kernel
def code_number(
    states: Any, weights: Any, fixed: Any, work: Any, register: Any, buffer: Any, kind: int, last: int, value: int
) -> int:
    """Code a number of one of four kinds: its count of bits, sign, then the lower bits.

    ``last`` is the number of the same kind that was coded before.
    """
    length, given = 0, bits_of(value)
    before = min(bits_of(last), 4)
    while length < MOST_BITS:
        one_context(MOTION_0 + _LENGTH + (kind * 5 + before) * 8 + min(length, 7), work)
        if decide(states, weights, fixed, work, register, buffer, 1 if given > length else 0) == 0:
            break
        length += 1
    if length == 0:
        return 0
    one_context(MOTION_0 + _SIGN + kind * 3 + (0 if last == 0 else 1 if last > 0 else 2), work)
    negative = decide(states, weights, fixed, work, register, buffer, 1 if value < 0 else 0)
    size = 1
    for i in range(length - 1):
        bit = (abs(value) >> (length - 2 - i)) & 1
        if i < 2:
            one_context(MOTION_0 + _BITS + (kind * 6 + min(length - 2, 5)) * 3 + (size - 1 if i > 0 else 0), work)
            bit = decide(states, weights, fixed, work, register, buffer, bit)
        else:
            bit = code(register, buffer, EVEN, bit)
        size = 2 * size + bit
    return -size if negative != 0 else size


@entry
def walk_motion(
    fixed: Any, states: Any, weights: Any, work: Any, register: Any, buffer: Any, symbols: Any, moved: int, was: int,
    count: int,
) -> Any:  # fmt: skip
    """Code whether a clip moved, and return it; if so, code ``symbols``: four of its canvas, and two for each frame.

    ``was`` tells whether the clip before moved.
    """
    one_context(MOTION_0 + was, work)
    moved = decide(states, weights, fixed, work, register, buffer, moved)
    if moved == 0:
        return 0
    for i in range(count):
        kind, last = i // 2, 0
        if i >= CANVAS:
            kind = 2 + i % 2
            if i >= CANVAS + 2:
                last = symbols[i - 2] + 0
        value = code_number(states, weights, fixed, work, register, buffer, kind, last, symbols[i] + 0)
        if register[DECODING] != 0:
            symbols[i] = value
    return 1


def differences(placement: Placement, before: Placement, layout: LatentLayout) -> NDArray[np.int32]:
    """Return the numbers that code a placement: its canvas minus that of the clip before, and each frame's motion."""
    canvas = np.subtract(placement.canvas, before.canvas)
    path = np.concatenate([_positions(before, layout)[-1:], _positions(placement, layout)])
    return np.concatenate([canvas, np.diff(path, axis=0).ravel()]).astype(np.int32)


def placement_of(numbers: NDArray[np.int32], before: Placement, layout: LatentLayout) -> Placement:
    """Return the placement that numbers code: the inverse of `differences`.

    Raises:
        ValueError: no file may hold the placement.
    """
    rows, columns, top, left = (int(a) + b for a, b in zip(numbers[:CANVAS], before.canvas, strict=True))
    path = _positions(before, layout)[-1] + np.cumsum(numbers[CANVAS:].reshape(-1, 2).astype(np.int64), axis=0)
    corners = path - _size(layout) * np.array([top, left], np.int64)
    found = Placement(rows, columns, top, left, np.clip(corners, -1, 0x7FFF).astype(np.int16))
    found.check(layout)
    if bool((corners != found.corners).any()):
        raise ValueError("a frame's corner lies outside its canvas")
    return found


def _positions(placement: Placement, layout: LatentLayout) -> NDArray[np.int64]:
    origin = _size(layout) * np.array([placement.top, placement.left], np.int64)
    return placement.corners.astype(np.int64) + origin


def _size(layout: LatentLayout) -> int:
    assert layout.patterns is not None
    return layout.patterns.size
