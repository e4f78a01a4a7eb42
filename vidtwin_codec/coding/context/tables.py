"""Frequency tables, one for each context, that learn from the tokens coded so far, in whole numbers.

A table starts as the tail ``(b / (b + z)) ** POWER`` of a Pareto (Lomax) distribution over folded residuals *z*, *b*
growing with the context's expected magnitude: everything can be coded from the first symbol on, and a short group
does not pay for learning.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.context.tokens import EXTRA_BITS, TABLE, TOKENS, Ints

PRECISION = 15  # bits of a probability
TOTAL = 1 << PRECISION
POWER = 4
PRIOR = 4096  # weight of the starting table
INCREMENT = 32  # weight of one token
LIMIT = 1 << 17  # a table whose weight exceeds this is halved: old symbols count less


@cache
def starting_counts(magnitudes: tuple[int, ...]) -> NDArray[np.int64]:
    """Return counts ``[contexts, TOKENS]`` to start with; each row sums to about `PRIOR`.

    Args:
        magnitudes: expected magnitude of each context's residuals, in 1024ths.
    """
    rows = []
    for magnitude in magnitudes:
        # the mean of the Lomax tail is b / (POWER - 1), and a folded residual is twice its magnitude
        b = max(2 * (POWER - 1) * magnitude, 1)
        tails = [_tail(b, token.first) for token in TABLE]
        rows.append([PRIOR * (a - b) >> 40 for a, b in zip(tails, [*tails[1:], 0], strict=True)])
    counts = np.array(rows, dtype=np.int64)
    counts.flags.writeable = False
    return counts


def _tail(b: int, number: int) -> int:
    tail: int = (b**POWER << 40) // (b + (number << 10)) ** POWER
    return tail


_LEAST: Ints = np.arange(1, TOKENS + 1)
# of each frequency; there is none of 0
_BITS: NDArray[np.float64] = PRECISION - np.log2(np.maximum(np.arange(TOTAL + 1), 1))


class Tables:
    """Adaptive tables, one for each row of ``start``.

    Encoder and decoder pass the same tokens to `learn` and call `rebuild` at the same moments, so their tables agree.

    Args:
        start: counts before anything is learned, ``[contexts, TOKENS]``.
        priced: whether to keep `bits` up to date.

    Attributes:
        bits: cost of each token with its extra bits, flat from ``[contexts, TOKENS]``; empty unless ``priced``.
    """

    def __init__(self, start: NDArray[np.int64], *, priced: bool = False) -> None:
        self._counts = start.copy()
        self._size = start.size
        self._seen: list[Ints] = []
        self._starts = np.zeros(self._size + 1, dtype=np.int64)
        self._ends = self._starts[1:].reshape(start.shape)  # the same memory: a token begins where the last one ends
        self._frequencies = np.empty(self._size, dtype=np.int64)
        self.bits = np.empty(self._size if priced else 0)
        self._bound(np.arange(len(start)), self._counts)

    def learn(self, contexts: Ints, tokens: Ints) -> None:
        """Count tokens; they take effect at the next `rebuild`."""
        self.learn_at((contexts * TOKENS + tokens).reshape(-1))

    def learn_at(self, places: Ints) -> None:
        """Count tokens that are given as flat indices into ``[contexts, TOKENS]``."""
        self._seen.append(places)

    def rebuild(self) -> None:
        """Recompute the tables of all contexts that have learned."""
        if not self._seen:
            return
        places = np.concatenate(self._seen)
        self._seen.clear()
        np.add.at(self._counts.reshape(-1), places, INCREMENT)
        seen = np.zeros(len(self._counts), dtype=bool)
        seen[places // TOKENS] = True
        changed = np.flatnonzero(seen)
        counts = self._counts[changed]
        heavy = counts.sum(axis=1) > LIMIT
        while heavy.any():
            counts[heavy] >>= 1
            heavy = counts.sum(axis=1) > LIMIT
        self._counts[changed] = counts
        self._bound(changed, counts)

    def _bound(self, contexts: Ints, counts: Ints) -> None:
        """Return the intervals of some contexts' tokens from their counts."""
        ends = counts.cumsum(axis=1)
        # every token keeps a frequency of at least 1, and the last one ends exactly at TOTAL
        bounds = ends * (TOTAL - TOKENS) // ends[:, -1:] + _LEAST
        self._ends[contexts] = bounds + contexts[:, None] * TOTAL
        frequencies = bounds.copy()
        frequencies[:, 1:] -= bounds[:, :-1]
        self._frequencies.reshape(self._counts.shape)[contexts] = frequencies
        if self.bits.size:
            self.bits.reshape(self._counts.shape)[contexts] = _BITS[frequencies] + EXTRA_BITS

    def intervals(self, contexts: Ints, tokens: Ints) -> tuple[Ints, Ints]:
        """Return the start (0 to `TOTAL` - 1) and the frequency of each token's interval."""
        at = contexts * TOKENS + tokens
        return self._starts[at] - contexts * TOTAL, self._frequencies[at]

    def find(self, contexts: Ints, slots: Ints) -> tuple[Ints, Ints, Ints]:
        """Find the token whose interval holds each of ``slots`` (0 to `TOTAL` - 1).

        Returns:
            The tokens, the offsets of the slots in their intervals, and the tokens' frequencies.
        """
        numbers = contexts * TOTAL + slots
        at = self._starts.searchsorted(numbers, side="right") - 1
        return at - contexts * TOKENS, numbers - self._starts[at], self._frequencies[at]
