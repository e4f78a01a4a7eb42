"""Bytes of wide latents at any quality, from sizes of latents and from what packing has shown."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from vidtwin_codec.coding.effort import step_factor
from vidtwin_codec.encoding.rate.tally import Tally

BITS_PER_SYMBOL = 2.3
"""At :data:`_USUAL`, about; a third of it where little moves, half as much again where all does."""
_USUAL = 50.0
_GROWTH = 0.012
"""Of the logarithm of bits per symbol, with a point of quality: symbols that are not zero become larger."""


class Forecast:
    """What a stretch of video takes, groups alone.

    Args:
        tally: of its latents. effort: they are packed with.
    """

    def __init__(self, tally: Tally, effort: int) -> None:
        self._tally, self._effort = tally, effort
        self._known: dict[float, float] = {}  # quality → logarithm of what it took over what was foretold

    def learn(self, quality: float, size: float) -> None:
        """Take note of what a quality really takes, in bytes."""
        self._known[quality] = math.log(max(size, 1.0)) - self._plain(quality)

    def bytes(self, quality: float) -> float:
        """Foretold; right at what is known, and between two such qualities off by what lies between their errors."""
        qualities = sorted(self._known)
        error = float(np.interp(quality, qualities, [self._known[each] for each in qualities])) if qualities else 0.0
        return math.exp(self._plain(quality) + error)

    def quality_for(self, size: float) -> float:
        """The quality that takes about so many bytes."""
        return solve(self.bytes, size)

    def _plain(self, quality: float) -> float:
        symbols = self._tally.symbols(step_factor(quality, self._effort))
        return math.log(symbols * BITS_PER_SYMBOL / 8) + _GROWTH * (quality - _USUAL)


def solve(rising: Callable[[float], float], wanted: float) -> float:
    """The quality, 0 to 100 in steps of 0.01, at which a function that rises with it comes nearest to a value."""
    low, high = 0, 10_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if rising(middle / 100) < wanted else (low, middle)
    return min((low / 100, high / 100), key=lambda quality: abs(rising(quality) - wanted))
