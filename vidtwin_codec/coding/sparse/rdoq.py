"""Kernels that choose a place's symbols by rate and distortion, with the models in their state at that moment.

Gains are in units of a squared step / 2**18: distortion in 64ths of a step, squared, times the place's scale, which is
64 where all of it is seen; costs are in 256ths of a bit times ``price``. All gains are relative to all zeros, so a
place of zeros takes no time.
"""

from __future__ import annotations

from typing import Any

from vidtwin_codec.coding.sparse.bands import (
    AT_BAND,
    AT_COLOUR,
    AT_RING,
    BAND_FIELDS,
    CHANNELS,
    NBANDS,
    SLOTS,
    STRIDE,
)
from vidtwin_codec.coding.sparse.binary import cost, predict
from vidtwin_codec.coding.sparse.contexts import (
    HAS_BEFORE,
    MAX_KEPT,
    MOST_IN_BAND,
    OWN,
    STEPS_UP,
    band_contexts,
    band_values,
    flag_contexts,
    reach_contexts,
    slot_contexts,
)
from vidtwin_codec.coding.sparse.fixed import COST
from vidtwin_codec.coding.sparse.jit import kernel
from vidtwin_codec.coding.sparse.position import more_contexts, near_values, sign_contexts, zero_contexts
from vidtwin_codec.coding.sparse.trend import advance_trend
from vidtwin_codec.coding.sparse.walk import MOST_COUNTED

UNIT = 64  # of a step
SCALE = 64
BIT = 256
FAR = 1 << 20  # targets count as no larger, so that no sum leaves 64 bits


@kernel
def choose_position(
    sizes: Any, table: Any, fixed: Any, states: Any, weights: Any, work: Any, sums: Any,
    off: Any, symbols: Any, values: Any, slot: int, k: int, band: int, target: int,
    price: int, bonus: int, least: int, best: Any,
) -> None:  # fmt: skip
    """Choose the best number for a target (64ths of a step) whose zero contexts are in ``work``.

    ``best`` holds the number, its gain, and the place's scale.
    """
    chance = predict(states, weights, fixed, work)
    size = abs(target)
    best[0] = 0
    best[1] = fixed[COST + ((65536 - chance) >> 4)] * price
    if size < least:
        return
    some = fixed[COST + (chance >> 4)] + bonus
    sign = 1 if target > 0 else -1
    of_sign = BIT
    if sums[10] != 0 or sums[11] != 0:
        sign_contexts(sizes, table, off, values, symbols, slot, k, band, sums, work)
        of_sign = cost(states, weights, fixed, work, 1 if target < 0 else 0)
    some = (some + of_sign) * price
    nearest = (size + UNIT // 2) // UNIT
    if nearest > 2 * STEPS_UP:  # too large for a smaller number to pay
        best[0] = sign * nearest
        best[1] = some - min(size, FAR) * min(size, FAR) * best[2]
        return
    nearest = max(nearest, 1)
    for magnitude in range(1, nearest + 1):
        stop, go_on = 0, 0
        if magnitude <= STEPS_UP:
            more_contexts(sizes, table, fixed, slot, k, band, sign, magnitude, sums, work)
            chance = predict(states, weights, fixed, work)
            stop = fixed[COST + ((65536 - chance) >> 4)] * price
            go_on = fixed[COST + (chance >> 4)] * price
        if magnitude + 1 >= nearest:
            left = size - magnitude * UNIT
            gain = some + stop + (left * left - size * size) * best[2]
            if gain < best[1]:
                best[0] = sign * magnitude
                best[1] = gain
        some += go_on


@kernel
def choose_band(
    sizes: Any, table: Any, fixed: Any, states: Any, weights: Any, work: Any, sums: Any, off: Any, own: Any,
    before: Any, trend: Any, symbols: Any, targets: Any, values: Any, slot: int, band: int, beyond: int,
    price: int, bonus: int, least: int, best: Any,
) -> Any:  # fmt: skip
    """Choose the numbers of a band, or none, and return the gain; ``values`` and ``own`` hold the choice."""
    at = sizes[AT_BAND] + band * BAND_FIELDS
    start, end = table[at] + 0, table[at + 1] + 0
    base = off[OWN] + slot * sizes[STRIDE]
    of_slot = slot * sizes[CHANNELS]
    band_values(sizes, table, fixed, off, own, before, slot, band, sums)
    gain, seen, total = 0, 0, 0
    for k in range(start, end):
        near_values(sizes, table, fixed, off, own, before, trend, slot, k, sums)
        zero_contexts(sizes, table, fixed, off, slot, k, band, seen, beyond, sums, work)
        choose_position(
            sizes, table, fixed, states, weights, work, sums,
            off, symbols, values, slot, k, band, targets[of_slot + k] + 0, price, bonus, least, best,
        )  # fmt: skip
        gain += best[1]
        if best[0] != 0:
            seen += 1
            values[of_slot + k] = best[0]
            own[base + k] = min(abs(best[0]), MAX_KEPT)
            total += own[base + k]
    band_contexts(sizes, table, fixed, off, own, before, slot, band, beyond, 0, work)
    chance = predict(states, weights, fixed, work)
    nothing = fixed[COST + ((65536 - chance) >> 4)] * price
    gain += fixed[COST + (chance >> 4)] * price
    if seen == 0 or gain >= nothing:
        for k in range(start, end):
            values[of_slot + k] = 0
            own[base + k] = 0
        total = 0
        gain = nothing
    own[base + sizes[CHANNELS] + 1 + band] = min(total, MOST_IN_BAND)
    return gain


@kernel
def choose_colour(
    sizes: Any, table: Any, fixed: Any, states: Any, weights: Any, work: Any, sums: Any, off: Any, own: Any,
    before: Any, trend: Any, symbols: Any, targets: Any, values: Any, slot: int, colour: int,
    price: int, bonus: int, least: int, best: Any,
) -> Any:  # fmt: skip
    """Choose the numbers of a colour of a slot and return the gain."""
    first, last = table[sizes[AT_COLOUR] + colour] + 0, table[sizes[AT_COLOUR] + colour + 1] + 0
    rings = sizes[AT_RING]
    of_slot = slot * sizes[CHANNELS]
    base = off[OWN] + slot * sizes[STRIDE]
    furthest = 0
    for ring in range(first, last):
        begin = table[sizes[AT_BAND] + table[rings + ring] * BAND_FIELDS] + 0
        end = table[sizes[AT_BAND] + (table[rings + ring + 1] - 1) * BAND_FIELDS + 1] + 0
        for k in range(begin, end):
            if abs(targets[of_slot + k]) >= least:
                furthest = ring - first + 1
    gain, go_on, found = 0, 0, 0
    reach, best_gain = 0, 0
    for ring in range(furthest):
        reach_contexts(sizes, table, off, own, before, slot, colour, ring, table[rings + first + ring] + 0, work)
        chance = predict(states, weights, fixed, work)
        stop = fixed[COST + ((65536 - chance) >> 4)] * price + go_on + gain
        if ring == 0:
            best_gain = stop
        elif found != 0 and stop < best_gain:
            best_gain = stop
            reach = ring
        go_on += fixed[COST + (chance >> 4)] * price
        found = 0
        for band in range(table[rings + first + ring] + 0, table[rings + first + ring + 1] + 0):
            at = sizes[AT_BAND] + band * BAND_FIELDS
            some = 0
            for k in range(table[at] + 0, table[at + 1] + 0):
                if abs(targets[of_slot + k]) >= least:
                    some = 1
            if some != 0:
                gain += choose_band(
                    sizes, table, fixed, states, weights, work, sums, off, own, before, trend, symbols, targets, values,
                    slot, band, furthest - 1 - ring, price, bonus, least, best,
                )  # fmt: skip
                found += own[base + sizes[CHANNELS] + 1 + band]
            else:
                band_contexts(sizes, table, fixed, off, own, before, slot, band, furthest - 1 - ring, 0, work)
                gain += cost(states, weights, fixed, work, 0) * price
    if furthest > 0 and found != 0:
        stop = go_on + gain
        if furthest < last - first:
            reach_contexts(
                sizes, table, off, own, before, slot, colour, furthest, table[rings + first + furthest] + 0, work
            )
            stop += cost(states, weights, fixed, work, 0) * price
        if stop < best_gain:
            best_gain = stop
            reach = furthest
    elif furthest == 0 and last > first:
        reach_contexts(sizes, table, off, own, before, slot, colour, 0, table[rings + first] + 0, work)
        best_gain = cost(states, weights, fixed, work, 0) * price
    for ring in range(reach, furthest):
        for band in range(table[rings + first + ring] + 0, table[rings + first + ring + 1] + 0):
            at = sizes[AT_BAND] + band * BAND_FIELDS
            own[base + sizes[CHANNELS] + 1 + band] = 0
            for k in range(table[at] + 0, table[at + 1] + 0):
                values[of_slot + k] = 0
                own[base + k] = 0
    own[base + sizes[CHANNELS] + 2 + sizes[NBANDS] + colour] = reach
    return best_gain


@kernel
def forget_slot(sizes: Any, off: Any, own: Any, values: Any, slot: int) -> None:
    """Set a slot to nothing."""
    for k in range(slot * sizes[CHANNELS], (slot + 1) * sizes[CHANNELS]):
        values[k] = 0
    base = off[OWN] + slot * sizes[STRIDE]
    for k in range(base, base + sizes[STRIDE]):
        own[k] = 0


@kernel
def choose_slot(
    sizes: Any, table: Any, fixed: Any, states: Any, weights: Any, work: Any, sums: Any, off: Any, own: Any,
    before: Any, trend: Any, symbols: Any, targets: Any, values: Any, slot: int,
    price: int, bonus: int, least: int, best: Any,
) -> Any:  # fmt: skip
    """Choose the numbers of a slot and return the gain."""
    channels = sizes[CHANNELS]
    slot_contexts(sizes, table, fixed, off, own, before, slot, work)
    chance = predict(states, weights, fixed, work)
    nothing = fixed[COST + ((65536 - chance) >> 4)] * price
    gain = fixed[COST + (chance >> 4)] * price
    some = 0
    for k in range(slot * channels, (slot + 1) * channels):
        if abs(targets[k]) >= least:
            some = 1
            break
    if some == 0:
        return nothing
    for colour in range(3):
        gain += choose_colour(
            sizes, table, fixed, states, weights, work, sums, off, own, before, trend, symbols, targets, values,
            slot, colour, price, bonus, least, best,
        )  # fmt: skip
    total = 0
    for k in range(slot * channels, (slot + 1) * channels):
        if values[k] != 0:
            total += 1
    if total == 0 or gain >= nothing:
        forget_slot(sizes, off, own, values, slot)
        return nothing
    own[off[OWN] + (slot + 1) * sizes[STRIDE] - 1] = min(total, MOST_COUNTED)
    if off[HAS_BEFORE] != 0:
        for k in range(channels):
            if values[slot * channels + k] != 0:
                advance_trend(sizes, table, trend, slot, k, values[slot * channels + k] + 0)
    return gain


@kernel
def choose_rest(
    sizes: Any, table: Any, fixed: Any, states: Any, weights: Any, work: Any, sums: Any, off: Any, own: Any,
    before: Any, trend: Any, symbols: Any, targets: Any, values: Any, price: int, bonus: int, least: int, best: Any,
) -> Any:  # fmt: skip
    """Choose all slots but the first and return the gain, which includes the cost of the place's first flag."""
    flag_contexts(sizes, off, own, before, 0, work)
    gain = (cost(states, weights, fixed, work, 0) - cost(states, weights, fixed, work, 1)) * price
    for slot in range(1, sizes[SLOTS]):
        gain += choose_slot(
            sizes, table, fixed, states, weights, work, sums, off, own, before, trend, symbols, targets, values,
            slot, price, bonus, least, best,
        )  # fmt: skip
    return gain
