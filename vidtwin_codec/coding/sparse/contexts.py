"""The numbers of all contexts, and kernels that find the contexts of flags, slots, reaches and bands."""

from __future__ import annotations

from typing import Any

from vidtwin_codec.coding.sparse.bands import (
    AT_BAND,
    AT_EXPECTED,
    AT_SLOT,
    BAND_FIELDS,
    CHANNELS,
    NBANDS,
    STRIDE,
)
from vidtwin_codec.coding.sparse.binary import FIRST, SECOND, THIRD
from vidtwin_codec.coding.sparse.fixed import INDEX, INPUTS, LEVEL, LEVEL5
from vidtwin_codec.coding.sparse.jit import kernel

# Indices of the records of the place being coded and of its neighbours: in this clip, then in the clip before.
OWN, LEFT, UP, UP_LEFT, UP_RIGHT, BEFORE, BEFORE_RIGHT, BEFORE_BELOW = range(8)
MODE, HAS_BEFORE = 8, 9  # whether slot 0 is a difference to the clip before; whether that has this place
FOLLOWS = 10  # whether there is a clip before at all
AT_LEFT, AT_UP = 11, 12  # index at which slot 0's symbols of these places begin in a tile; -1 where there are none
OFFSETS = 13
MOST_IN_BAND = 40  # a band's sum of magnitudes, likewise
MAX_KEPT = 15  # magnitudes and counts are clipped to this

KNOWN_SLOTS = 16  # the last one stands for all larger ones
EXPECTED = 24
GROUPS = 6
STEPS_UP = 14  # magnitudes below 1 + STEPS_UP are coded one by one

# Contexts: six tables for each kind of decision, one after the other; then sets of weights.
ZERO_0 = 0
ZERO_1 = ZERO_0 + EXPECTED * 7 * 5
ZERO_2 = ZERO_1 + EXPECTED * 13 * 5
ZERO_3 = ZERO_2 + 4 * 4 * 4 * 3 * 3 * 3
ZERO_4 = ZERO_3 + GROUPS * 3 * 1024
ZERO_5 = ZERO_4 + EXPECTED * 4 * 4 * 4
ZERO_6 = ZERO_5 + 27 * 6 * 6 * 3
ZERO_7 = ZERO_6 + 144 * 6 * 2
MORE_0 = ZERO_7 + 625 * 2
MORE_1 = MORE_0 + STEPS_UP * EXPECTED
MORE_2 = MORE_1 + STEPS_UP * 7 * 3
MORE_3 = MORE_2 + STEPS_UP * 7 * 11
MORE_4 = MORE_3 + STEPS_UP * 18 * 3
MORE_5 = MORE_4 + STEPS_UP * 3 * GROUPS * 6
MORE_6 = MORE_5 + 4 * 4 * 4 * 11
MORE_7 = MORE_6 + 6 * 144
BAND_0 = MORE_7 + 4 * 625
BAND_1 = BAND_0 + EXPECTED * 5 * 5
BAND_2 = BAND_1 + EXPECTED * 5 * 5
BAND_3 = BAND_2 + 117 * GROUPS * 3
BAND_4 = BAND_3 + 4 * 3 * 2 * 4 * 12
BAND_5 = BAND_4 + 243 * 3
REACH_0 = BAND_5 + 3 * 4 * 4 * 13
REACH_1 = REACH_0 + 16 * 3 * 16
REACH_2 = REACH_1 + 125 * 6
REACH_3 = REACH_2 + 125 * 6
REACH_4 = REACH_3 + 16 * 25 * 3
REACH_5 = REACH_4 + EXPECTED * 5 * GROUPS
SLOT_0 = REACH_5 + 125 * 3 * 8
SLOT_1 = SLOT_0 + 16 * 3 * 2
SLOT_2 = SLOT_1 + 16 * 4 * 2
SLOT_3 = SLOT_2 + 128
SLOT_4 = SLOT_3 + EXPECTED * 7
SLOT_5 = SLOT_4 + 5 * 5 * 5
FLAG_0 = SLOT_5 + 5 * 5 * GROUPS  # flags of a place: 2 kinds
FLAGS = 2 * 64
ESCAPE_0 = FLAG_0 + FLAGS
ESCAPES = 32
DYNAMICS_0 = ESCAPE_0 + ESCAPES
DYNAMICS = 256  # of each of the two
MOTION_0 = DYNAMICS_0 + 2 * DYNAMICS
MOTION = 256  # numbers of canvases
SIGN_0 = MOTION_0 + MOTION
SIGN_1 = SIGN_0 + 6 * 3 * 11
SIGN_2 = SIGN_1 + 16 * 11 * 11
SIGN_3 = SIGN_2 + 81 * 6
SIGN_4 = SIGN_3 + 27 * 6
SIGN_5 = SIGN_4 + 6 * 3 * 11
SIGN_6 = SIGN_5 + 6 * 2 * 11
SIGN_7 = SIGN_6 + 3 * 9 * 11
STATES = SIGN_7 + 3072 * 3

ZERO_A = 0
ZERO_B = ZERO_A + EXPECTED * 2 * 3 * INPUTS
MORE_A = ZERO_B + 3 * 16 * INPUTS
MORE_B = MORE_A + STEPS_UP * INPUTS
BAND_A = MORE_B + GROUPS * 3 * INPUTS
BAND_B = BAND_A + EXPECTED * INPUTS
REACH_A = BAND_B + 16 * INPUTS
REACH_B = REACH_A + 16 * 3 * INPUTS
SLOT_A = REACH_B + GROUPS * 2 * INPUTS
SLOT_B = SLOT_A + 16 * INPUTS
ONE = SLOT_B + 4 * INPUTS  # for flags of a place, escapes and dynamics, which have few contexts
NONE = ONE + INPUTS
ZERO_C = NONE + INPUTS
MORE_C = ZERO_C + GROUPS * 18 * INPUTS
BAND_C = MORE_C + EXPECTED * 2 * INPUTS
REACH_C = BAND_C + GROUPS * 3 * INPUTS
SLOT_C = REACH_C + 5 * 5 * INPUTS
SIGN_A = SLOT_C + 3 * 2 * INPUTS
SIGN_B = SIGN_A + 16 * INPUTS
SIGN_C = SIGN_B + 6 * 2 * INPUTS
WEIGHTS = SIGN_C + 6 * 3 * INPUTS


@kernel
def group_of(slot: int) -> int:
    """Return the class of a temporal frequency, 0 to 5."""
    if slot < 2:
        return slot
    if slot < 4:
        return 2
    if slot < 7:
        return 3
    return 4 if slot < 11 else 5


@kernel
def band_values(
    sizes: Any, table: Any, fixed: Any, off: Any, own: Any, before: Any, slot: int, band: int, sums: Any
) -> None:
    """Classify the sums of the bands around this one: left and above, inner ring, lower slot, clip before."""
    stride = sizes[STRIDE]
    shift = slot * stride + sizes[CHANNELS] + 1
    base = off[OWN] + shift
    here = shift + band
    near = 2 * (own[(off[LEFT] + here) & INDEX] + own[(off[UP] + here) & INDEX])
    near += own[(off[UP_LEFT] + here) & INDEX] + own[(off[UP_RIGHT] + here) & INDEX]
    inner = own[base + table[sizes[AT_BAND] + band * BAND_FIELDS + 6]] + 0
    lower, past = 0, 0
    if slot > 0:
        lower = own[base - stride + band] + 0
    if off[FOLLOWS] != 0:
        past = before[off[BEFORE] + shift + band] + 0
    level = fixed[LEVEL5 + near] * 5 + fixed[LEVEL5 + inner]
    sums[9] = (level * 5 + fixed[LEVEL5 + lower]) * 5 + fixed[LEVEL5 + past]


@kernel
def band_contexts(
    sizes: Any, table: Any, fixed: Any, off: Any, own: Any, before: Any, slot: int, band: int, beyond: int, some: int,
    work: Any,
) -> None:  # fmt: skip
    """Find the contexts of "the band holds anything"; ``some`` tells whether an earlier band of its ring does."""
    stride, channels = sizes[STRIDE], sizes[CHANNELS]
    shift = slot * stride + channels + 1
    at = sizes[AT_BAND] + band * BAND_FIELDS
    expected = table[sizes[AT_EXPECTED] + slot * channels + table[at]]
    colour, ring, sector = table[at + 2], table[at + 3], table[at + 4]
    base = off[OWN] + shift
    left, up = own[off[LEFT] + shift + band], own[off[UP] + shift + band]
    corners = own[off[UP_LEFT] + shift + band] + own[off[UP_RIGHT] + shift + band]
    inner, other = own[base + table[at + 6]], own[base + table[at + 7]]
    lower = 0
    if slot > 0:
        lower = own[base - stride + band] + 0
    past = 0
    if off[FOLLOWS] != 0:
        past = before[off[BEFORE] + shift + band] + 0
    group = group_of(table[sizes[AT_SLOT] + slot] + 0)
    near5, inner5 = fixed[LEVEL5 + 2 * (left + up) + corners], fixed[LEVEL5 + inner]
    lower5, past5 = fixed[LEVEL5 + lower], fixed[LEVEL5 + past]
    some_sides = (1 if left > 0 else 0) + (1 if up > 0 else 0)
    work[0] = BAND_0 + (expected * 5 + near5) * 5 + inner5
    work[1] = BAND_1 + (expected * 5 + lower5) * 5 + past5
    work[2] = BAND_2 + (table[at + 5] * GROUPS + group) * 3 + some_sides
    work[3] = BAND_3 + (((min(beyond, 3) * 3 + sector) * 2 + some) * 4 + min(inner5 + 0, 3)) * 12 + expected // 2
    third = ((min(left + 0, 2) * 3 + min(up + 0, 2)) * 3 + min(corners, 2)) * 3 + min(lower, 2)
    work[4] = BAND_4 + (third * 3 + min(past, 2)) * 3 + colour
    work[5] = BAND_5 + ((min(other + 0, 2) * 4 + min(lower5 + 0, 3)) * 4 + min(inner5 + 0, 3)) * 13 + ring
    work[6] = work[0]
    work[7] = work[1]
    work[THIRD] = BAND_C + (group * 3 + colour) * INPUTS
    work[FIRST] = BAND_A + expected * INPUTS
    work[SECOND] = BAND_B + (min(beyond, 3) * 4 + min(inner5 + 0, 3)) * INPUTS


@kernel
def _side(reach: int, k: int) -> int:
    return max(0, min(4, reach - k + 1))


@kernel
def reach_contexts(
    sizes: Any, table: Any, off: Any, own: Any, before: Any, slot: int, colour: int, k: int, band: int, work: Any
) -> None:
    """Find the contexts of "ring ``k`` of this colour or a later one holds anything"; ``band`` is the ring's first."""
    stride = sizes[STRIDE]
    shift = slot * stride + sizes[CHANNELS] + 2 + sizes[NBANDS] + colour
    left, up = own[off[LEFT] + shift] + 0, own[off[UP] + shift] + 0
    lower, lowest, past = 0, 0, 0
    if slot > 0:
        lower = own[off[OWN] + shift - stride] + 0
    if slot > 1:
        lowest = own[off[OWN] + shift - 2 * stride] + 0
    if off[FOLLOWS] != 0:
        past = before[off[BEFORE] + shift] + 0
    other = 0
    if colour > 0:
        other = own[off[OWN] + shift - colour] + 0
    where = table[sizes[AT_SLOT] + slot] + 0
    group = group_of(where)
    expected = table[sizes[AT_EXPECTED] + slot * sizes[CHANNELS] + table[sizes[AT_BAND] + band * BAND_FIELDS]]
    m = min(k, 15)
    begin = 1 if k == 0 else 0
    side_lower, side_past = _side(lower, k), _side(past, k)
    side_near = _side(max(left, up), k)
    work[0] = REACH_0 + (m * 3 + colour) * 16 + where
    work[1] = REACH_1 + (((_side(left, k) * 5 + _side(up, k)) * 5 + side_lower) * 3 + colour) * 2 + begin
    work[2] = REACH_2 + (((side_past * 5 + side_lower) * 5 + _side(other, k)) * 3 + colour) * 2 + begin
    work[3] = REACH_3 + ((m * 5 + side_near) * 5 + side_past) * 3 + colour
    work[4] = REACH_4 + (expected * 5 + side_lower) * GROUPS + group
    corners = _side(own[off[UP_LEFT] + shift] + 0, k) * 5 + _side(own[off[UP_RIGHT] + shift] + 0, k)
    work[5] = REACH_5 + ((corners * 5 + _side(lowest, k)) * 3 + colour) * 8 + min(m, 7)
    work[6] = work[0]
    work[7] = work[1]
    work[THIRD] = REACH_C + (side_near * 5 + side_lower) * INPUTS
    work[FIRST] = REACH_A + (m * 3 + colour) * INPUTS
    work[SECOND] = REACH_B + (group * 2 + off[HAS_BEFORE]) * INPUTS


@kernel
def slot_contexts(sizes: Any, table: Any, fixed: Any, off: Any, own: Any, before: Any, slot: int, work: Any) -> None:
    """Find the contexts of "the slot holds anything"."""
    stride = sizes[STRIDE]
    shift = (slot + 1) * stride - 1
    left, up = own[off[LEFT] + shift] + 0, own[off[UP] + shift] + 0
    up_left, up_right = own[off[UP_LEFT] + shift] + 0, own[off[UP_RIGHT] + shift] + 0
    lower, lowest, past, around = 0, 0, 0, 0
    if slot > 0:
        lower = own[off[OWN] + shift - stride] + 0
    if slot > 1:
        lowest = own[off[OWN] + shift - 2 * stride] + 0
    if off[FOLLOWS] != 0:
        past = before[off[BEFORE] + shift] + 0
        around = before[off[BEFORE_RIGHT] + shift] + before[off[BEFORE_BELOW] + shift]
    where = table[sizes[AT_SLOT] + slot] + 0
    group = group_of(where)
    expected = table[sizes[AT_EXPECTED] + slot * sizes[CHANNELS]]
    some_lower = (2 if lower > 0 else 0) + (1 if lowest > 0 else 0)
    some_sides = (1 if left > 0 else 0) + (1 if up > 0 else 0)
    some_past = 1 if past > 0 else 0
    corners = (2 if up_left > 0 else 0) + (1 if up_right > 0 else 0)
    sides = ((2 if left > 0 else 0) + (1 if up > 0 else 0)) * 4 + corners
    work[0] = SLOT_0 + (where * 3 + some_sides) * 2 + some_past
    work[1] = SLOT_1 + (where * 4 + some_lower) * 2 + some_past
    work[2] = SLOT_2 + (sides * 4 + some_lower) * 2 + some_past
    work[3] = SLOT_3 + expected * 7 + fixed[LEVEL + left + up + past]
    lower5 = fixed[LEVEL5 + 2 * lower + lowest]
    near5 = fixed[LEVEL5 + left + up + ((up_left + up_right) >> 1)]
    work[4] = SLOT_4 + (lower5 * 5 + near5) * 5 + fixed[LEVEL5 + past]
    work[5] = SLOT_5 + (fixed[LEVEL5 + past] * 5 + fixed[LEVEL5 + around]) * 6 + group
    work[6] = work[0]
    work[7] = work[1]
    work[THIRD] = SLOT_C + (some_sides * 2 + some_past) * INPUTS
    work[FIRST] = SLOT_A + where * INPUTS
    work[SECOND] = SLOT_B + some_lower * INPUTS


@kernel
def flag_contexts(sizes: Any, off: Any, own: Any, before: Any, which: int, work: Any) -> None:
    """Find the contexts of a flag of a place: 0, it holds nothing; 1, its slot 0 is a difference to the clip before."""
    at = sizes[STRIDE] * sizes[0] + which
    left, up = own[off[LEFT] + at] + 0, own[off[UP] + at] + 0
    up_right, up_left = own[off[UP_RIGHT] + at] + 0, own[off[UP_LEFT] + at] + 0
    past, around = 0, 0
    if off[FOLLOWS] != 0:
        past = before[off[BEFORE] + at] + 0
        around = before[off[BEFORE_RIGHT] + at] + before[off[BEFORE_BELOW] + at]
    first = FLAG_0 + which * 64
    known = off[HAS_BEFORE]
    work[0] = first + (left * 2 + up) * 2 + past
    work[1] = first + 8 + ((up_left * 2 + up_right) * 2 + left) * 2 + up
    work[2] = first + 24 + past * 3 + around
    work[3] = first + 30 + (left + up + up_left + up_right) * 4 + past * 2 + known
    work[4] = first + 50 + known
    work[6] = first + 50 + known
    work[7] = first + 50 + known
    work[5] = first + 52 + ((left + up) * 2 + (1 if past + around > 1 else 0)) * 2 + known
    work[FIRST] = ONE
    work[SECOND] = NONE
    work[THIRD] = NONE


@kernel
def one_context(number: int, work: Any) -> None:
    """Take one context for all six: a plain adaptive bit."""
    for i in range(INPUTS):
        work[i] = number
    work[FIRST] = ONE
    work[SECOND] = NONE
    work[THIRD] = NONE
