"""A forecast of the bytes of wide latents at any quality, from sizes of latents and corrected by real packing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from vidtwin_codec.coding.effort import step_factor
from vidtwin_codec.encoding.rate.tally import Tally

BITS_PER_SYMBOL = 2.3
"""Bits per nonzero symbol at quality :data:`_USUAL`, about: a third of it where little moves, 1.5 times where all
moves."""
_USUAL = 50.0
_GROWTH = 0.012
"""Growth of the logarithm of bits per symbol with a point of quality, because nonzero symbols become larger."""


class Forecast:
    """A forecast of the bytes of the groups of a stretch of video.

    Args:
        tally: sizes of its latents.
        effort: effort that it is packed with.
    """

    def __init__(self, tally: Tally, effort: int) -> None:
        self._tally, self._effort = tally, effort
        self._known: dict[float, float] = {}  # quality → logarithm of real over forecast bytes

    def learn(self, quality: float, size: float) -> None:
        """Learn the real number of bytes at a quality."""
        self._known[quality] = math.log(max(size, 1.0)) - self._plain(quality)

    def bytes(self, quality: float) -> float:
        """Forecast the bytes at a quality: exact where they are known, with interpolated corrections elsewhere."""
        qualities = sorted(self._known)
        error = float(np.interp(quality, qualities, [self._known[each] for each in qualities])) if qualities else 0.0
        return math.exp(self._plain(quality) + error)

    def quality_for(self, size: float) -> float:
        """Find the quality that takes about ``size`` bytes."""
        return solve(self.bytes, size)

    def _plain(self, quality: float) -> float:
        symbols = self._tally.symbols(step_factor(quality, self._effort))
        return math.log(symbols * BITS_PER_SYMBOL / 8) + _GROWTH * (quality - _USUAL)


def solve(rising: Callable[[float], float], wanted: float) -> float:
    """Find the quality, 0 to 100 in steps of 0.01, at which an increasing function comes nearest to ``wanted``."""
    low, high = 0, 10_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if rising(middle / 100) < wanted else (low, middle)
    return min((low / 100, high / 100), key=lambda quality: abs(rising(quality) - wanted))
