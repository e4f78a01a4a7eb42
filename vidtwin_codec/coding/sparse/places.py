"""Kernels that walk over the places of a tile, with predictions of slot 0 and the dynamics."""

from __future__ import annotations

from typing import Any

from vidtwin_codec.coding.sparse.bands import (
    AT_BAND,
    AT_COLOUR,
    AT_PERM,
    AT_RING,
    BAND_FIELDS,
    CHANNELS,
    HEIGHT,
    PLACE,
    SLOTS,
    STRIDE,
    WIDTH,
)
from vidtwin_codec.coding.sparse.binary import ALLOWED, BYTES, CODED, DECODING, OVERRUN, cost
from vidtwin_codec.coding.sparse.contexts import (
    AT_LEFT,
    AT_UP,
    BEFORE,
    BEFORE_BELOW,
    BEFORE_RIGHT,
    HAS_BEFORE,
    LEFT,
    MODE,
    OWN,
    UP,
    UP_LEFT,
    UP_RIGHT,
    flag_contexts,
)
from vidtwin_codec.coding.sparse.jit import entry, kernel
from vidtwin_codec.coding.sparse.rdoq import FAR, UNIT, choose_rest, choose_slot, forget_slot
from vidtwin_codec.coding.sparse.trend import advance_end, begin_trend
from vidtwin_codec.coding.sparse.walk import anything, code_place

# The tasks of the walk.
DECODE, GIVEN, CHOOSE = 0, 1, 2
PLACE_SHARE = 400  # a place that is not as it was takes the time of its channels * (10 + slots) / 400 decisions
FAR_SMALLER = 12  # a prediction with this many times less energy in slot 0 is the only one tried


@kernel
def set_offsets(sizes: Any, place: int, off: Any, before: Any) -> None:
    """Find the records around a place; a place outside the grid has the empty record behind the last."""
    width, size = sizes[WIDTH], sizes[PLACE]
    row, column = place // width, place % width
    outside = sizes[HEIGHT] * width * size
    off[OWN] = place * size
    off[LEFT] = (place - 1) * size if column > 0 else outside
    off[AT_LEFT] = (place - 1) * sizes[CHANNELS] if column > 0 else -1
    off[AT_UP] = (place - width) * sizes[CHANNELS] if row > 0 else -1
    off[UP] = (place - width) * size if row > 0 else outside
    off[UP_LEFT] = (place - width - 1) * size if row > 0 and column > 0 else outside
    off[UP_RIGHT] = (place - width + 1) * size if row > 0 and column < width - 1 else outside
    off[BEFORE] = place * size
    off[HAS_BEFORE] = before[place * size + size - 1]
    off[BEFORE_RIGHT] = (place + 1) * size if column < width - 1 else outside
    off[BEFORE_BELOW] = (place + width) * size if row < sizes[HEIGHT] - 1 else outside


@kernel
def guess_means(sizes: Any, table: Any, place: int, means: Any, guesses: Any) -> None:
    """Guess slot 0's constant of each colour: the median of left, up, and left + up - corner."""
    width, channels = sizes[WIDTH], sizes[CHANNELS]
    row, column = place // width, place % width
    for colour in range(3):
        guesses[colour] = 0
        ring = table[sizes[AT_COLOUR] + colour] + 0
        if ring < table[sizes[AT_COLOUR] + colour + 1]:
            k = table[sizes[AT_PERM] + table[sizes[AT_BAND] + table[sizes[AT_RING] + ring] * BAND_FIELDS]]
            if row > 0 and column > 0:
                left = means[(place - 1) * channels + k] + 0
                up = means[(place - width) * channels + k] + 0
                corner = means[(place - width - 1) * channels + k] + 0
                if corner >= max(left, up):
                    guesses[colour] = min(left, up)
                elif corner <= min(left, up):
                    guesses[colour] = max(left, up)
                else:
                    guesses[colour] = left + up - corner
            elif row > 0:
                guesses[colour] = means[(place - width) * channels + k]
            elif column > 0:
                guesses[colour] = means[(place - 1) * channels + k]


@kernel
def predict_slot(
    sizes: Any, table: Any, place: int, means: Any, guesses: Any, mode: int, source: Any, unit: int, targets: Any
) -> None:
    """Subtract the prediction of slot 0 from ``source`` (the place's symbols, times ``unit``) and fill ``targets``."""
    channels = sizes[CHANNELS]
    for k in range(channels):
        j = place * channels + table[sizes[AT_PERM] + k]
        targets[k] = source[j] - (means[j] * unit if mode != 0 else 0)
    if mode == 0:
        for colour in range(3):
            ring = table[sizes[AT_COLOUR] + colour] + 0
            if ring < table[sizes[AT_COLOUR] + colour + 1]:
                k = table[sizes[AT_BAND] + table[sizes[AT_RING] + ring] * BAND_FIELDS] + 0
                targets[k] -= guesses[colour] * unit


@kernel
def bits_like(sizes: Any, targets: Any) -> int:
    """Estimate the bits that slot 0's numbers take."""
    total = 0
    for k in range(sizes[CHANNELS]):
        value = abs(targets[k])
        while value > 0:
            total += 2
            value >>= 1
        if targets[k] != 0:
            total += 3
    return total


@kernel
def clear_record(sizes: Any, off: Any, own: Any) -> None:
    """Clear a place's record for its next use."""
    last = off[OWN] + sizes[PLACE] - 1
    flags = off[OWN] + sizes[SLOTS] * sizes[STRIDE]
    # most records were never used or empty, and hold nothing but flags; clearing the others takes longest of all
    begin = flags if own[last] == 0 or own[flags] != 0 else off[OWN]
    for k in range(begin, last):
        own[k] = 0
    own[last] = 1


@kernel
def energy(targets: Any, count: int) -> Any:
    """Return the sum of the squares of a slot's targets."""
    total = 0
    for k in range(count):
        size = min(abs(targets[k]), FAR)
        total += size * size
    return total


@kernel
def choose_place(
    sizes: Any, table: Any, fixed: Any, states: Any, weights: Any, work: Any, sums: Any, off: Any, own: Any,
    before: Any, trend: Any, symbols: Any, targets: Any, values: Any, place: int, means: Any, guesses: Any,
    ends: Any, source: Any, price: int, bonus: int, least: int, best: Any,
) -> None:  # fmt: skip
    """Choose a place's numbers and mode."""
    channels, slots = sizes[CHANNELS], sizes[SLOTS]
    known = off[HAS_BEFORE]
    some = 0
    for k in range(channels, channels * slots):
        if abs(targets[k]) >= least:
            some = 1
            break
    off[MODE] = known
    predict_slot(sizes, table, place, means, guesses, known, source, UNIT, targets)
    for k in range(channels):
        if abs(targets[k]) >= least:
            some = 1
    if some == 0:
        return
    # slot 0 as it is, then as a difference, then as it is again if that was better; not both where one is far smaller
    predicted = energy(targets, channels)
    predict_slot(sizes, table, place, means, guesses, 0, source, UNIT, targets)
    plain = energy(targets, channels)
    begin, end = 0, 1
    if known != 0:
        begin, end = (1 if FAR_SMALLER * predicted < plain else 0), (1 if FAR_SMALLER * plain < predicted else 3)
    gain, alone = 0, 0
    for attempt in range(begin, end):
        mode = attempt % 2
        if attempt == 2 and (begin == 1 or gain <= alone):
            break
        forget_slot(sizes, off, own, values, 0)
        off[MODE] = mode
        begin_trend(sizes, table, off, place, means, guesses, ends, trend)
        predict_slot(sizes, table, place, means, guesses, mode, source, UNIT, targets)
        gain = choose_slot(
            sizes, table, fixed, states, weights, work, sums, off, own, before, trend, symbols, targets, values,
            0, price, bonus, least, best,
        )  # fmt: skip
        if known != 0:
            flag_contexts(sizes, off, own, before, 1, work)
            gain += cost(states, weights, fixed, work, mode) * price
        if attempt == 0:
            alone = gain + (plain - predicted) * best[2]  # relative to the clip before
    if known != 0 and off[MODE] == 0:
        gain = alone
    gain += choose_rest(
        sizes, table, fixed, states, weights, work, sums, off, own, before, trend, symbols, targets, values, price,
        bonus, least, best,
    )  # fmt: skip
    if gain >= 0:
        for slot in range(slots):
            forget_slot(sizes, off, own, values, slot)
        off[MODE] = known


@kernel
def place_symbols(
    sizes: Any, table: Any, register: Any, off: Any, own: Any, before: Any, symbols: Any, values: Any, place: int,
    means: Any, guesses: Any, ends: Any, limit: int,
) -> int:  # fmt: skip
    """Add the prediction to a place's ``values``, clear them, and return how many symbols are out of range."""
    slots, channels = sizes[SLOTS], sizes[CHANNELS]
    here, plane = place * channels, sizes[HEIGHT] * sizes[WIDTH] * channels
    perm, flags = sizes[AT_PERM], slots * sizes[STRIDE]
    if own[off[OWN] + flags] != 0 and off[MODE] != 0:
        # empty, as in the clip before; after two such clips the ends are those of slot 0 already
        for k in range(here, here + channels):
            symbols[k] = means[k]
        if before[off[BEFORE] + flags] != 0:
            return 0
    register[CODED] += channels * (10 + slots) // PLACE_SHARE
    wrong = 0
    if off[MODE] == 0:
        for colour in range(3):
            ring = table[sizes[AT_COLOUR] + colour] + 0
            if ring < table[sizes[AT_COLOUR] + colour + 1]:
                values[table[sizes[AT_BAND] + table[sizes[AT_RING] + ring] * BAND_FIELDS]] += guesses[colour]
    for k in range(channels):
        j = here + table[perm + k]
        value = values[k] + (means[j] if off[MODE] != 0 else 0)
        if abs(value) > limit:
            wrong += 1
        means[j] = max(-limit, min(limit, value))
        symbols[j] = means[j]
        values[k] = 0
        ends[here + k] = 0
        if means[j] != 0:
            advance_end(sizes, table, ends, here + k, 0, means[j] + 0)
    for slot in range(1, slots):
        if own[off[OWN] + (slot + 1) * sizes[STRIDE] - 1] != 0:
            for k in range(channels):
                value = values[slot * channels + k] + 0
                if value != 0:
                    if abs(value) > limit:
                        wrong += 1
                        value = 0
                    symbols[slot * plane + here + table[perm + k]] = value
                    values[slot * channels + k] = 0
                    advance_end(sizes, table, ends, here + k, slot, value)
    return wrong


@entry
def walk_places(
    sizes: Any, table: Any, fixed: Any, states: Any, weights: Any, work: Any, register: Any, buffer: Any, sums: Any,
    off: Any, own: Any, before: Any, trend: Any, symbols: Any, targets: Any, values: Any, means: Any, guesses: Any,
    ends: Any, best: Any, scales: Any, source: Any, first: int, last: int, task: int,
    price: int, bonus: int, least: int, limit: int,
) -> Any:  # fmt: skip
    """Code places ``first`` to ``last - 1`` of a tile and return how many symbols are out of range.

    ``source`` holds symbols (`GIVEN`) or 64ths of a step (`CHOOSE`), ``[slots, h, w, C]``; ``symbols`` receives the
    symbols. ``scales`` is the factor on each place's distortion, up to `SCALE`. ``means`` is slot 0 of the clip before,
    ``[h, w, C]``, and of this clip where the walk has been.
    """
    slots, channels = sizes[SLOTS], sizes[CHANNELS]
    plane = sizes[HEIGHT] * sizes[WIDTH] * channels
    perm = sizes[AT_PERM]
    wrong = 0
    for place in range(first, last):
        set_offsets(sizes, place, off, before)
        clear_record(sizes, off, own)
        guess_means(sizes, table, place, means, guesses)
        off[MODE] = 0
        if task == CHOOSE and scales[place] == 0:
            off[MODE] = off[HAS_BEFORE]
        elif task == CHOOSE:
            best[2] = scales[place]
            for slot in range(1, slots):
                begin = slot * plane + place * channels
                most = 0
                for k in range(begin, begin + channels):
                    most = max(most, abs(source[k]))
                for k in range(slot * channels, (slot + 1) * channels):
                    targets[k] = 0
                if most >= least:
                    for k in range(channels):
                        targets[slot * channels + k] = source[begin + table[perm + k]]
            choose_place(
                sizes, table, fixed, states, weights, work, sums, off, own, before, trend, symbols, targets, values,
                place, means, guesses, ends, source, price, bonus, least, best,
            )  # fmt: skip
            clear_record(sizes, off, own)
        elif task == GIVEN:
            for slot in range(1, slots):
                begin = slot * plane + place * channels
                if anything(source, begin, begin + channels) != 0:
                    for k in range(channels):
                        values[slot * channels + k] = source[begin + table[perm + k]]
            predict_slot(sizes, table, place, means, guesses, 0, source, 1, values)
            if off[HAS_BEFORE] != 0:
                alone = bits_like(sizes, values)
                predict_slot(sizes, table, place, means, guesses, 1, source, 1, values)
                off[MODE] = 1
                if bits_like(sizes, values) > alone:
                    off[MODE] = 0
                    predict_slot(sizes, table, place, means, guesses, 0, source, 1, values)
        code_place(
            sizes, table, fixed, states, weights, work, register, buffer, sums, off, own, before, trend, symbols,
            values, place, means, guesses, ends,
        )  # fmt: skip
        wrong += place_symbols(
            sizes, table, register, off, own, before, symbols, values, place, means, guesses, ends, limit
        )
        if register[DECODING] != 0 and (register[OVERRUN] > BYTES or register[CODED] > register[ALLOWED]):
            return wrong + 1
    return wrong
