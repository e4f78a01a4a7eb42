"""Frequency tables, one for each context, that learn from the tokens coded so far. Whole numbers only.

A table starts as the tail ``(b / (b + z)) ** POWER`` of a Pareto (Lomax) distribution over folded residuals *z*, *b*
growing with the context's expected magnitude: everything can be coded from the first symbol on, and a short group
does not pay for learning.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.context.tokens import TABLE, TOKENS, Ints

PRECISION = 15  # bits of a probability
TOTAL = 1 << PRECISION
POWER = 4
PRIOR = 4096  # weight of the starting table ...
INCREMENT = 32  # ... against one token
LIMIT = 1 << 17  # a table whose weight exceeds this is halved: old symbols count less


@cache
def starting_counts(magnitudes: tuple[int, ...]) -> NDArray[np.int64]:
    """``[contexts, TOKENS]``, rows of weight about `PRIOR`, for residuals of these mean magnitudes.

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


class Tables:
    """Adaptive tables of ``contexts`` contexts.

    Both ends feed `learn` with the same tokens and call `rebuild` at the same moments, so they hold the same tables.
    """

    def __init__(self, start: NDArray[np.int64]) -> None:
        self._counts = start.copy()
        self._seen: list[Ints] = []
        self._offsets = np.arange(len(start), dtype=np.int64)[:, None] * TOTAL
        self._starts = np.zeros(start.size + 1, dtype=np.int64)
        self._frequencies = np.empty(start.size, dtype=np.int64)
        self._divide(np.arange(len(start)))

    def learn(self, contexts: Ints, tokens: Ints) -> None:
        """Note tokens; they count from the next `rebuild` on."""
        self._seen.append(contexts * TOKENS + tokens)

    def rebuild(self) -> None:
        """Bring the tables up to date."""
        if not self._seen:
            return
        seen = np.concatenate(self._seen)
        self._seen.clear()
        # a few of the tables are in use at a time, and the others do not change
        touched = np.flatnonzero(np.bincount(seen // TOKENS, minlength=len(self._counts)))
        np.add.at(self._counts.reshape(-1), seen, INCREMENT)
        counts = self._counts[touched]
        heavy = counts.sum(axis=1) > LIMIT
        while heavy.any():
            counts[heavy] >>= 1
            heavy = counts.sum(axis=1) > LIMIT
        self._counts[touched] = counts
        self._divide(touched)

    def _divide(self, tables: Ints) -> None:
        """Give each token of these tables its interval."""
        ends = self._counts[tables].cumsum(axis=1)
        # every token keeps a frequency of at least 1, and the last one ends exactly at TOTAL
        bounds = ends * (TOTAL - TOKENS) // ends[:, -1:] + np.arange(1, TOKENS + 1)
        self._starts[1:].reshape(-1, TOKENS)[tables] = bounds + self._offsets[tables]
        self._frequencies.reshape(-1, TOKENS)[tables] = np.diff(bounds, axis=1, prepend=0)

    def intervals(self, contexts: Ints, tokens: Ints) -> tuple[Ints, Ints]:
        """Start (0 to `TOTAL` - 1) and frequency of tokens."""
        at = contexts * TOKENS + tokens
        return self._starts[at] - contexts * TOTAL, self._frequencies[at]

    def find(self, contexts: Ints, slots: Ints) -> tuple[Ints, Ints, Ints]:
        """Token whose interval holds each of ``slots`` (0 to `TOTAL` - 1), the place in it, the token's frequency."""
        numbers = contexts * TOTAL + slots
        at = self._starts.searchsorted(numbers, side="right") - 1
        return at - contexts * TOKENS, numbers - self._starts[at], self._frequencies[at]
