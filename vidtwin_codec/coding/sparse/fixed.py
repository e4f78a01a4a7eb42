"""Fixed tables of the binary models, in whole numbers: squash, stretch, rates of learning, costs."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

INPUTS = 8  # number of contexts of every decision
REACH = 3071  # stretched probabilities go from -REACH to REACH, in 256ths of a natural logarithm

# No index is negative; an "and" with this tells the compiler, which then leaves out Python's counting from the end.
INDEX = (1 << 30) - 1

# Offsets into the one table that kernels get.
SQUASH = 0
STRETCH = SQUASH + 2 * REACH + 1
RATE = STRETCH + 4096
COST = RATE + 512
LEVEL = COST + 4096
LEVEL5 = LEVEL + 256
LEVEL4 = LEVEL5 + 256
LEVEL12 = LEVEL4 + 256
LEVEL6 = LEVEL12 + 512
LENGTH = LEVEL6 + 256

LEVELS = (0, 1, 2, 3, 5, 9, 17)  # the sums of magnitudes at which classes begin
LEVELS5 = (0, 1, 3, 6, 12)
LEVELS6 = (0, 1, 3, 6, 12, 24)
LEVELS4 = (0, 1, 3, 7)
LEVELS12 = (0, 1, 2, 3, 4, 6, 9, 13, 20, 30, 45, 70)


@cache
def fixed_table() -> NDArray[np.int32]:
    """Return all fixed tables one after the other, int32.

    ``squash`` is 65536 / (1 + exp(-x / 256)) rounded, within 8 to 65528; ``stretch`` maps a probability's upper 12 bits
    to the inverse at the middle of the interval. The exact values lie far enough from halves that any implementation of
    the exponential rounds to the same tables.
    """
    table = np.zeros(LENGTH, np.int32)
    x = np.arange(-REACH, REACH + 1)
    squash = np.clip(np.rint(65536 / (1 + np.exp(-x / 256))), 8, 65528).astype(np.int64)
    table[SQUASH:STRETCH] = squash
    exact = 65536 / (1 + np.exp(-x / 256))
    table[STRETCH:RATE] = np.clip(np.searchsorted(exact, 16 * np.arange(4096) + 8) - REACH, -REACH, REACH)
    table[RATE:COST] = 131072 // (2 * np.arange(512) + 3)
    table[COST:LEVEL] = np.rint(-256 * np.log2((np.arange(4096) + 0.5) / 4096))
    sums = np.arange(256)
    for start, levels in ((LEVEL, LEVELS), (LEVEL5, LEVELS5), (LEVEL4, LEVELS4), (LEVEL6, LEVELS6)):
        table[start : start + 256] = np.searchsorted(levels, sums, side="right") - 1
    table[LEVEL12:LEVEL6] = np.searchsorted(LEVELS12, np.arange(512), side="right") - 1
    return table
