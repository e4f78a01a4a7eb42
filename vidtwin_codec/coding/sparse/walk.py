"""Kernels that code one place: its flags, its slots, their colours' reaches, bands, magnitudes and signs."""

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
from vidtwin_codec.coding.sparse.binary import DECODING, code, decide
from vidtwin_codec.coding.sparse.contexts import (
    ESCAPE_0,
    HAS_BEFORE,
    MAX_KEPT,
    MODE,
    MOST_IN_BAND,
    OWN,
    STEPS_UP,
    band_contexts,
    band_values,
    flag_contexts,
    one_context,
    reach_contexts,
    slot_contexts,
)
from vidtwin_codec.coding.sparse.jit import kernel
from vidtwin_codec.coding.sparse.position import more_contexts, near_values, sign_contexts, zero_contexts
from vidtwin_codec.coding.sparse.trend import advance_trend, begin_trend

MOST_COUNTED = 60
MAX_EXPONENT = 25
EVEN = 1 << 15


@kernel
def anything(values: Any, start: int, end: int) -> int:
    """Return a number that is not zero if an element from ``start`` to ``end - 1`` is not."""
    bits = 0
    for k in range(start, end):
        bits |= values[k]
    return bits


@kernel
def code_rest(states: Any, weights: Any, fixed: Any, work: Any, register: Any, buffer: Any, rest: int) -> int:
    """Code a number from 0 by the exponent of ``rest + 1`` in unary, and its bits below the highest."""
    value = rest + 1
    exponent = 0
    while exponent < MAX_EXPONENT:
        one_context(ESCAPE_0 + exponent, work)
        if decide(states, weights, fixed, work, register, buffer, 1 if value >> (exponent + 1) != 0 else 0) == 0:
            break
        exponent += 1
    result = 1
    for i in range(exponent):
        result = 2 * result + code(register, buffer, EVEN, (value >> (exponent - 1 - i)) & 1)
    return result - 1


@kernel
def code_position(
    sizes: Any, table: Any, fixed: Any, states: Any, weights: Any, work: Any, register: Any, buffer: Any, sums: Any,
    off: Any, symbols: Any, values: Any, slot: int, k: int, band: int, value: int,
) -> Any:  # fmt: skip
    """Code a number that is not zero: its sign, then its magnitude."""
    given = abs(value)
    negative = 1 if value < 0 else 0
    if sign_contexts(sizes, table, off, values, symbols, slot, k, band, sums, work) != 0:
        negative = decide(states, weights, fixed, work, register, buffer, negative)
    else:
        negative = code(register, buffer, EVEN, negative)
    sign = 1 - 2 * negative
    magnitude = 1
    while magnitude <= STEPS_UP:
        more_contexts(sizes, table, fixed, slot, k, band, sign, magnitude, sums, work)
        if decide(states, weights, fixed, work, register, buffer, 1 if given > magnitude else 0) == 0:
            break
        magnitude += 1
    if magnitude > STEPS_UP:
        magnitude += code_rest(states, weights, fixed, work, register, buffer, given - magnitude)
    return sign * magnitude


@kernel
def code_band(
    sizes: Any, table: Any, fixed: Any, states: Any, weights: Any, work: Any, register: Any, buffer: Any, sums: Any,
    off: Any, own: Any, before: Any, trend: Any, symbols: Any, values: Any, slot: int, band: int, beyond: int,
) -> Any:  # fmt: skip
    """Code the positions of a band that holds something, and return how many are not zero."""
    at = sizes[AT_BAND] + band * BAND_FIELDS
    start, end = table[at] + 0, table[at + 1] + 0
    base = off[OWN] + slot * sizes[STRIDE]
    of_slot = slot * sizes[CHANNELS]
    band_values(sizes, table, fixed, off, own, before, slot, band, sums)
    seen, total = 0, 0
    for k in range(start, end):
        near_values(sizes, table, fixed, off, own, before, trend, slot, k, sums)
        zero_contexts(sizes, table, fixed, off, slot, k, band, seen, beyond, sums, work)
        value = values[of_slot + k] + 0
        some = 1
        if seen > 0 or k < end - 1:
            some = decide(states, weights, fixed, work, register, buffer, 1 if value != 0 else 0)
        if some != 0:
            value = code_position(
                sizes, table, fixed, states, weights, work, register, buffer, sums, off, symbols, values, slot, k,
                band, value,
            )  # fmt: skip
            values[of_slot + k] = value
            if off[HAS_BEFORE] != 0:
                advance_trend(sizes, table, trend, slot, k, value)
            own[base + k] = min(abs(value), MAX_KEPT)
            seen += 1
            total += own[base + k]
    own[base + sizes[CHANNELS] + 1 + band] = min(total, MOST_IN_BAND)
    return seen


@kernel
def code_colour(
    sizes: Any, table: Any, fixed: Any, states: Any, weights: Any, work: Any, register: Any, buffer: Any, sums: Any,
    off: Any, own: Any, before: Any, trend: Any, symbols: Any, values: Any, slot: int, colour: int, must: int,
) -> Any:  # fmt: skip
    """Code the reach of a colour of a slot and its bands up to there; return how many positions are not zero."""
    first, last = table[sizes[AT_COLOUR] + colour] + 0, table[sizes[AT_COLOUR] + colour + 1] + 0
    rings = sizes[AT_RING]
    of_slot = slot * sizes[CHANNELS]
    given = 0
    if register[DECODING] == 0:
        for ring in range(first, last):
            begin = table[sizes[AT_BAND] + table[rings + ring] * BAND_FIELDS]
            end = table[sizes[AT_BAND] + (table[rings + ring + 1] - 1) * BAND_FIELDS + 1]
            if anything(values, of_slot + begin, of_slot + end) != 0:
                given = ring - first + 1
    reach = 0
    while reach < last - first:
        more = 1
        if reach > 0 or must == 0:
            reach_contexts(sizes, table, off, own, before, slot, colour, reach, table[rings + first + reach], work)
            more = decide(states, weights, fixed, work, register, buffer, 1 if given > reach else 0)
        if more == 0:
            break
        reach += 1
    own[off[OWN] + slot * sizes[STRIDE] + sizes[CHANNELS] + 2 + sizes[NBANDS] + colour] = reach
    total = 0
    for ring in range(first, first + reach):
        beyond = first + reach - 1 - ring
        some = 0
        until = table[rings + ring + 1] + 0
        for band in range(table[rings + ring] + 0, until):
            here = 1
            if beyond > 0 or some > 0 or band < until - 1:
                band_contexts(sizes, table, fixed, off, own, before, slot, band, beyond, 1 if some > 0 else 0, work)
                if register[DECODING] == 0:
                    here = 0
                    at = sizes[AT_BAND] + band * BAND_FIELDS
                    if anything(values, of_slot + table[at], of_slot + table[at + 1]) != 0:
                        here = 1
                here = decide(states, weights, fixed, work, register, buffer, here)
            if here != 0:
                some += code_band(
                    sizes, table, fixed, states, weights, work, register, buffer, sums,
                    off, own, before, trend, symbols, values, slot, band, beyond,
                )  # fmt: skip
        total += some
    return total


@kernel
def code_place(
    sizes: Any, table: Any, fixed: Any, states: Any, weights: Any, work: Any, register: Any, buffer: Any, sums: Any,
    off: Any, own: Any, before: Any, trend: Any, symbols: Any, values: Any, place: int, means: Any, guesses: Any,
    ends: Any,
) -> None:  # fmt: skip
    """Code a place: ``values`` and ``off[MODE]`` are read when encoding; when decoding they are zero and get filled."""
    slots, channels = sizes[SLOTS], sizes[CHANNELS]
    empty = 1 if off[MODE] == off[HAS_BEFORE] else 0
    if register[DECODING] == 0 and empty != 0:
        empty = 0 if anything(values, 0, slots * channels) != 0 else 1
    flag_contexts(sizes, off, own, before, 0, work)
    empty = decide(states, weights, fixed, work, register, buffer, empty)
    at = off[OWN] + slots * sizes[STRIDE]
    own[at] = empty
    if empty != 0:
        off[MODE] = off[HAS_BEFORE]
        own[at + 1] = off[MODE]
        return
    if off[HAS_BEFORE] != 0:
        flag_contexts(sizes, off, own, before, 1, work)
        off[MODE] = decide(states, weights, fixed, work, register, buffer, off[MODE])
    own[at + 1] = off[MODE]
    begin_trend(sizes, table, off, place, means, guesses, ends, trend)
    for slot in range(slots):
        some = 0
        if register[DECODING] == 0:
            some = 1 if anything(values, slot * channels, (slot + 1) * channels) != 0 else 0
        slot_contexts(sizes, table, fixed, off, own, before, slot, work)
        if decide(states, weights, fixed, work, register, buffer, some) == 0:
            continue
        total = 0
        last = 0
        for colour in range(3):
            if table[sizes[AT_COLOUR] + colour + 1] > table[sizes[AT_COLOUR] + colour]:
                last = colour
        for colour in range(last + 1):
            if table[sizes[AT_COLOUR] + colour + 1] > table[sizes[AT_COLOUR] + colour]:
                total += code_colour(
                    sizes, table, fixed, states, weights, work, register, buffer, sums,
                    off, own, before, trend, symbols, values, slot, colour, 1 if colour == last and total == 0 else 0,
                )  # fmt: skip
        own[off[OWN] + (slot + 1) * sizes[STRIDE] - 1] = min(total, MOST_COUNTED)
