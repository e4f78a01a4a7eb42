"""Kernels that predict a clip's symbols as if its first frame went on where the last frame before it ended.

``ends`` is each pattern at the last frame of the clip before, ``[h, w, C]``, in 64ths of a step, in walking order.
``trend`` is ``[2, C]`` of a place: what the slots so far still lack of it, and slot 0's symbols in the clip before.
"""

from __future__ import annotations

from typing import Any

from vidtwin_codec.coding.sparse.bands import (
    AT_BAND,
    AT_COLOUR,
    AT_PERM,
    AT_RING,
    AT_START,
    BAND_FIELDS,
    CHANNELS,
)
from vidtwin_codec.coding.sparse.contexts import HAS_BEFORE, MODE
from vidtwin_codec.coding.sparse.jit import kernel

MOST_STEPS = 1 << 14
MOST = 1 << 28


@kernel
def bounded(value: int, most: int) -> int:
    """Clip a number to +-``most``."""
    return max(-most, min(most, value))


@kernel
def begin_trend(sizes: Any, table: Any, off: Any, place: int, means: Any, guesses: Any, ends: Any, trend: Any) -> None:
    """Set the trend of a place whose mode is known to what the prediction of slot 0 leaves missing."""
    channels = sizes[CHANNELS]
    if off[HAS_BEFORE] == 0:
        for k in range(2 * channels):
            trend[k] = 0
        return
    start = table[sizes[AT_START]] + 0
    for k in range(channels):
        mean = bounded(means[place * channels + table[sizes[AT_PERM] + k]] + 0, MOST_STEPS)
        trend[channels + k] = mean
        trend[k] = bounded(ends[place * channels + k] - (start * mean if off[MODE] != 0 else 0), MOST)
    if off[MODE] == 0:
        for colour in range(3):
            ring = table[sizes[AT_COLOUR] + colour] + 0
            if ring < table[sizes[AT_COLOUR] + colour + 1]:
                k = table[sizes[AT_BAND] + table[sizes[AT_RING] + ring] * BAND_FIELDS] + 0
                trend[k] = bounded(trend[k] - start * bounded(guesses[colour] + 0, MOST_STEPS), MOST)


@kernel
def advance_trend(sizes: Any, table: Any, trend: Any, slot: int, k: int, value: int) -> None:
    """Subtract a number of a slot from what is missing."""
    start = table[sizes[AT_START] + slot] + 0
    trend[k] = bounded(trend[k] - start * bounded(value, MOST_STEPS), MOST)


@kernel
def advance_end(sizes: Any, table: Any, ends: Any, at: int, slot: int, value: int) -> None:
    """Add a symbol to its pattern's end: slots are cosines, and every other one has changed sign at the last frame."""
    start = table[sizes[AT_START] + slot] * (-1 if slot & 1 != 0 else 1)
    ends[at] = bounded(ends[at] + start * bounded(value, MOST_STEPS), MOST)
