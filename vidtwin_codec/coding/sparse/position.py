"""Kernels that find the contexts of a number: whether it is zero, its sign, its magnitude."""

from __future__ import annotations

from typing import Any

from vidtwin_codec.coding.sparse.bands import (
    AT_BAND,
    AT_CELL,
    AT_COARSE,
    AT_EXPECTED,
    AT_NEIGHBOUR,
    AT_PERM,
    AT_SLOT,
    BAND_FIELDS,
    CHANNELS,
    HEIGHT,
    NEIGHBOURS,
    STRIDE,
    WIDTH,
)
from vidtwin_codec.coding.sparse.binary import (
    FIRST,
    SECOND,
    THIRD,
)
from vidtwin_codec.coding.sparse.contexts import (
    AT_LEFT,
    AT_UP,
    BEFORE,
    BEFORE_BELOW,
    BEFORE_RIGHT,
    EXPECTED,
    FOLLOWS,
    GROUPS,
    HAS_BEFORE,
    LEFT,
    MODE,
    MORE_0,
    MORE_1,
    MORE_2,
    MORE_3,
    MORE_4,
    MORE_5,
    MORE_6,
    MORE_7,
    MORE_A,
    MORE_B,
    MORE_C,
    OWN,
    SIGN_0,
    SIGN_1,
    SIGN_2,
    SIGN_3,
    SIGN_4,
    SIGN_5,
    SIGN_6,
    SIGN_7,
    SIGN_A,
    SIGN_B,
    SIGN_C,
    STEPS_UP,
    UP,
    UP_LEFT,
    UP_RIGHT,
    ZERO_0,
    ZERO_1,
    ZERO_2,
    ZERO_3,
    ZERO_4,
    ZERO_5,
    ZERO_6,
    ZERO_7,
    ZERO_A,
    ZERO_B,
    ZERO_C,
    group_of,
)
from vidtwin_codec.coding.sparse.fixed import (
    INDEX,
    INPUTS,
    LEVEL,
    LEVEL4,
    LEVEL5,
    LEVEL6,
    LEVEL12,
)
from vidtwin_codec.coding.sparse.jit import kernel


@kernel
def trend_level(fixed: Any, value: int) -> Any:
    """Return the class of a number of quarters of a step, -5 to 5."""
    level = fixed[LEVEL6 + min(abs(value), 255)] + 0
    return level if value > 0 else -level


@kernel
def near_values(
    sizes: Any, table: Any, fixed: Any, off: Any, own: Any, before: Any, trend: Any, slot: int, k: int, sums: Any
) -> None:
    """Sum magnitudes around a position: left and above, lower frequencies, lower slots, clip before, colours.

    Then follow the class of what is missing to go on where the clip before ended, and that of slot 0's symbol there.
    """
    stride = sizes[STRIDE]
    shift = slot * stride + k
    left, up = own[(off[LEFT] + shift) & INDEX] + 0, own[(off[UP] + shift) & INDEX] + 0
    corners = own[(off[UP_LEFT] + shift) & INDEX] + own[(off[UP_RIGHT] + shift) & INDEX]
    at = (sizes[AT_NEIGHBOUR] + k * NEIGHBOURS) & INDEX
    base = (off[OWN] + slot * stride) & INDEX
    n0, n1 = table[at] & INDEX, table[at + 1] & INDEX
    low = 2 * (own[base + n0] + own[base + n1]) + own[base + (table[at + 2] & INDEX)]
    low += own[base + (table[at + 3] & INDEX)] + own[base + (table[at + 4] & INDEX)]
    n5, n6 = table[at + 5] & INDEX, table[at + 6] & INDEX
    time = 0
    if slot > 0:
        b = (base - stride) & INDEX
        time = 2 * own[b + k] + own[b + n0] + own[b + n1] + own[b + n5] + own[b + n6]
        if slot > 1:
            time += own[(b - stride + k) & INDEX]
    past = 0
    if off[FOLLOWS] != 0:
        b = (off[BEFORE] + slot * stride) & INDEX
        past = 2 * before[b + k] + before[b + n0] + before[b + n1] + before[b + n5] + before[b + n6]
        past += before[(off[BEFORE_RIGHT] + shift) & INDEX] + before[(off[BEFORE_BELOW] + shift) & INDEX]
    near = 2 * (left + up) + corners
    sums[0] = left
    sums[1] = up
    sums[2] = corners
    sums[3] = near & 255
    sums[4] = low & 255
    sums[5] = time & 255
    sums[6] = past & 255
    sums[7] = own[base + (table[at + 7] & INDEX)] + own[base + (table[at + 8] & INDEX)]
    drift = trend[k] + 0
    sums[10] = trend_level(fixed, drift >> 4 if drift > 0 else -(-drift >> 4))
    sums[11] = 0
    if slot == 0:
        sums[11] = trend_level(fixed, 4 * trend[sizes[CHANNELS] + k])
    sums[8] = fixed[LEVEL12 + ((low + near) & 511)] * 12 + fixed[LEVEL12 + ((time + past) & 511)]


@kernel
def zero_contexts(
    sizes: Any, table: Any, fixed: Any, off: Any, slot: int, k: int, band: int, seen: int, beyond: int, sums: Any,
    work: Any,
) -> None:  # fmt: skip
    """Find the contexts of "not zero" in a band with ``seen`` others so far, ``beyond`` rings inside the reach."""
    expected = table[sizes[AT_EXPECTED] + slot * sizes[CHANNELS] + k]
    near, low, time, past = sums[3] & 255, sums[4] & 255, sums[5] & 255, sums[6] & 255
    others = sums[7]
    near4, low4, time4 = fixed[LEVEL4 + near], fixed[LEVEL4 + low], fixed[LEVEL4 + time]
    past5 = fixed[LEVEL5 + past]
    past3 = min(past5, 2)
    others3 = min(others, 2)
    colour = table[sizes[AT_BAND] + band * BAND_FIELDS + 2]
    left = table[sizes[AT_BAND] + band * BAND_FIELDS + 1] - k
    where = table[sizes[AT_SLOT] + slot]
    group = group_of(where)
    third = 2 if slot > 0 else off[MODE]
    coarse = table[sizes[AT_COARSE] + k]
    work[0] = ZERO_0 + (expected * 7 + fixed[LEVEL + low]) * 5 + fixed[LEVEL5 + near]
    drift = abs(sums[10])
    lower = fixed[LEVEL + time] + 0 if slot > 0 else 7 + abs(sums[11])
    work[1] = ZERO_1 + (expected * 13 + lower) * 5 + past5
    work[2] = ZERO_2 + ((((near4 * 4 + low4) * 4 + time4) * 3 + past3) * 3 + others3) * 3 + colour
    work[3] = ZERO_3 + group * 3072 + table[sizes[AT_CELL] + k]
    size = 0 if left <= 2 else 1 if left <= 6 else 2 if left <= 16 else 3
    work[4] = ZERO_4 + ((expected * 4 + min(beyond, 3)) * 4 + min(seen, 3)) * 4 + size
    sides = (min(sums[0] + 0, 2) * 3 + min(sums[1] + 0, 2)) * 3 + min(sums[2] + 0, 2)
    work[5] = ZERO_5 + ((sides * 6 + drift) * 6 + coarse) * 3 + third
    work[6] = ZERO_6 + (sums[8] * 6 + drift) * 2 + (1 if seen > 0 else 0)
    work[7] = ZERO_7 + sums[9] * 2 + (1 if seen > 0 else 0)
    work[THIRD] = ZERO_C + ((group * 3 + colour) * 6 + coarse) * INPUTS
    work[FIRST] = ZERO_A + ((expected * 2 + (1 if third == 1 else 0)) * 3 + min((drift + 1) // 2, 2)) * INPUTS
    work[SECOND] = ZERO_B + ((near4 * 4 + low4) * 3 + past3) * INPUTS


@kernel
def more_contexts(
    sizes: Any, table: Any, fixed: Any, slot: int, k: int, band: int, sign: int, magnitude: int, sums: Any,
    work: Any,
) -> None:  # fmt: skip
    """Find the contexts of "larger than ``magnitude``" at a position that is at least that, of this sign."""
    expected = table[sizes[AT_EXPECTED] + slot * sizes[CHANNELS] + k]
    colour = table[sizes[AT_BAND] + band * BAND_FIELDS + 2]
    group = group_of(table[sizes[AT_SLOT] + slot] + 0)
    coarse = table[sizes[AT_COARSE] + k]
    m = min(magnitude - 1, STEPS_UP - 1)
    work[0] = MORE_0 + m * EXPECTED + expected
    work[1] = MORE_1 + (m * 7 + fixed[LEVEL + (sums[4] & 255)]) * 3 + min(sums[7] + 0, 2)
    drift = 5 + sign * sums[10]
    work[2] = MORE_2 + (m * 7 + fixed[LEVEL + (sums[3] & 255)]) * 11 + drift
    lower = fixed[LEVEL + (sums[5] & 255)] + 0 if slot > 0 else 12 + sign * sums[11]
    work[3] = MORE_3 + (m * 18 + lower) * 3 + min(fixed[LEVEL5 + (sums[6] & 255)] + 0, 2)
    work[4] = MORE_4 + ((m * 3 + colour) * GROUPS + group) * 6 + coarse
    levels = fixed[LEVEL4 + (sums[3] & 255)] * 4 + fixed[LEVEL4 + (sums[4] & 255)]
    work[5] = MORE_5 + (min(m, 3) * 16 + levels) * 11 + drift
    work[6] = MORE_6 + min(m, 5) * 144 + sums[8]
    work[7] = MORE_7 + min(m, 3) * 625 + sums[9]
    work[THIRD] = MORE_C + (expected * 2 + (1 if m > 0 else 0)) * INPUTS
    work[FIRST] = MORE_A + m * INPUTS
    work[SECOND] = MORE_B + (group * 3 + colour) * INPUTS


@kernel
def sign_of(value: int) -> int:
    """Return 0 for zero, 1 for a positive number, 2 for a negative one."""
    return 0 if value == 0 else 1 if value > 0 else 2


@kernel
def sign_contexts(
    sizes: Any, table: Any, off: Any, values: Any, symbols: Any, slot: int, k: int, band: int, sums: Any, work: Any
) -> int:
    """Find the contexts of "negative" at a position that is not zero.

    Returns:
        0 where nothing is known, so that the sign is a raw bit.
    """
    channels = sizes[CHANNELS]
    at = sizes[AT_NEIGHBOUR] + k * NEIGHBOURS
    colour = table[sizes[AT_BAND] + band * BAND_FIELDS + 2]
    cell = table[sizes[AT_CELL] + k]
    rows, columns = (cell >> 5) & 31, cell & 31
    rows = 0 if rows == 0 else 1 + (rows & 1)
    columns = 0 if columns == 0 else 1 + (columns & 1)
    here = slot * sizes[HEIGHT] * sizes[WIDTH] * channels + table[sizes[AT_PERM] + k]
    left, up = 0, 0
    if off[AT_LEFT] >= 0:
        left = sign_of(symbols[off[AT_LEFT] + here])
    if off[AT_UP] >= 0:
        up = sign_of(symbols[off[AT_UP] + here])
    if sums[10] == 0 and sums[11] == 0 and left + up == 0:
        return 0
    below, inner, outer = 0, 0, 0
    if slot > 1:
        below = sign_of(values[(slot - 2) * channels + k])
    if slot > 0:
        if table[at + 1] < channels:
            inner = sign_of(values[(slot - 1) * channels + table[at + 1]])
        if table[at + 6] < channels:
            outer = sign_of(values[(slot - 1) * channels + table[at + 6]])
    first, second = 0, 0
    if table[at + 7] < channels:
        first = sign_of(values[slot * channels + table[at + 7]])
    if table[at + 8] < channels:
        second = sign_of(values[slot * channels + table[at + 8]])
    where = table[sizes[AT_SLOT] + slot] + 0
    group = group_of(where)
    third = 2 if slot > 0 else off[MODE]
    coarse = table[sizes[AT_COARSE] + k]
    drift, past = 5 + sums[10], 5 + sums[11]
    work[0] = SIGN_0 + (group * 3 + third) * 11 + drift
    work[1] = SIGN_1 + (where * 11 + past) * 11 + drift
    work[2] = SIGN_2 + (((rows * 3 + columns) * 3 + left) * 3 + up) * 6 + group
    work[3] = SIGN_3 + ((below * 3 + inner) * 3 + outer) * 6 + group
    work[4] = SIGN_4 + (coarse * 3 + third) * 11 + drift
    work[5] = SIGN_5 + (group * 2 + off[HAS_BEFORE]) * 11 + past
    work[6] = SIGN_6 + ((colour * 3 + first) * 3 + second) * 11 + drift
    work[7] = SIGN_7 + cell * 3 + (0 if sums[10] == 0 else 1 if sums[10] > 0 else 2)
    work[FIRST] = SIGN_A + where * INPUTS
    work[SECOND] = SIGN_B + (abs(sums[10]) * 2 + (1 if third == 1 else 0)) * INPUTS
    work[THIRD] = SIGN_C + (coarse * 3 + colour) * INPUTS
    return 1
