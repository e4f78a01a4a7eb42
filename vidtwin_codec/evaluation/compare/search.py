"""A search for the CRF that gives a wanted number of bytes, in few encodings."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable

TOLERANCE = 0.05
"""Relative difference of bytes within which no further encoding is made."""
TRIES = 4


class RateSearch:
    """A search over CRFs. Bytes are about exponential in CRF, so their logarithm is interpolated linearly.

    Args:
        encode: CRF → bytes.
        coarsest: largest CRF; the smallest is 1.
        step: distance between CRFs.
        halving: increase in CRF that about halves the bytes, until two encodings tell.

    Attributes:
        sizes: CRF → bytes of all encodings so far.
    """

    def __init__(self, encode: Callable[[float], int], *, coarsest: float, step: float, halving: float) -> None:
        self._encode, self._coarsest, self._step, self._halving = encode, coarsest, step, halving
        self.sizes: dict[float, int] = {}

    def bytes_at(self, crf: float) -> int:
        """Return the bytes of the encoding at ``crf``, making it if necessary."""
        if crf not in self.sizes:
            self.sizes[crf] = self._encode(crf)
        return self.sizes[crf]

    @property
    def fewest(self) -> int:
        """Bytes at the coarsest setting, below which no size can be reached."""
        return self.bytes_at(self._coarsest)

    def nearest(self, wanted: float) -> float:
        """Find the CRF whose bytes come nearest to ``wanted`` (as a ratio), in a few encodings."""
        for _ in range(TRIES):
            crf = self._guess(wanted)
            if crf in self.sizes or abs(math.log(self.bytes_at(crf) / wanted)) < TOLERANCE:
                break
        return min(self.sizes, key=lambda tried: (abs(math.log(self.sizes[tried] / wanted)), tried))

    def reaching(self, wanted: float, *, larger: bool) -> float:
        """Find the CRF nearest to ``wanted`` bytes on one side: at least as many if ``larger``, else at most."""
        crf = self.nearest(wanted)
        for _ in range(TRIES):
            beyond = crf + (-self._step if larger else self._step)
            reached = self.sizes[crf] >= wanted if larger else self.sizes[crf] <= wanted
            if reached or not 1 <= beyond <= self._coarsest:
                break
            crf = beyond
            self.bytes_at(crf)
        return crf

    def _guess(self, wanted: float) -> float:
        tried = sorted(self.sizes.items())
        if not tried:
            return self._round(self._coarsest - 2 * self._halving)
        slope = -math.log(2) / self._halving
        # the two neighbours of the wanted size, or the outermost two on its side
        place = bisect.bisect_left([-size for _, size in tried], -wanted)
        first = min(max(place - 1, 0), max(len(tried) - 2, 0))
        left, right = tried[first], tried[min(first + 1, len(tried) - 1)]
        base = left if abs(math.log(left[1] / wanted)) < abs(math.log(right[1] / wanted)) else right
        if left[0] < right[0] and left[1] > right[1]:
            slope = math.log(right[1] / left[1]) / (right[0] - left[0])
        return self._round(base[0] + math.log(wanted / base[1]) / slope)

    def _round(self, crf: float) -> float:
        nearest = round(crf / self._step) * self._step
        return float(min(max(nearest, 1), self._coarsest))


def log_spaced(low: float, high: float, count: int) -> list[float]:
    """List ``count`` sizes from ``low`` to ``high`` with equal ratios."""
    if count == 1 or low >= high:
        return [low]
    ratio = math.log(high / low) / (count - 1)
    return [low * math.exp(ratio * number) for number in range(count)]


def choose_rates(search: RateSearch, low: float, high: float, count: int, included: float) -> list[float]:
    """Choose at least ``count`` CRFs that cover ``low`` to ``high`` bytes, as far as the codec can.

    If its coarsest setting takes more than ``low``, the range begins there. If too little of the range is left, it
    continues above ``high``, so that there is a curve at all.

    Args:
        search: the search of this codec and clip.
        low: smallest bytes wanted.
        high: largest bytes wanted.
        count: number of encodings wanted.
        included: a CRF that is included in any case.

    Returns:
        CRFs, finest first.
    """
    begin = max(low, search.fewest)
    spaced = log_spaced(begin, max(begin, high), count)
    if len(spaced) > 2:
        # the included CRF replaces the wanted size next to it, unless that is an end of the range
        size = search.bytes_at(included)
        spaced.remove(min(spaced[1:-1], key=lambda wanted: abs(math.log(wanted / size))))
    inner = map(search.nearest, spaced[1:-1])
    # both ends must lie at or outside the range's ends, which would otherwise have no value to compare with
    ends = (search.reaching(begin, larger=False), search.reaching(max(begin, high), larger=True))
    chosen = {included, *inner, *ends}
    wanted = max(begin, high)
    # each round asks for half as much again; at the finest setting there is nothing larger
    for _ in range(4 * count):
        if len(chosen) >= count:
            break
        wanted *= 1.5
        chosen.add(search.nearest(wanted))
    return sorted(chosen)
