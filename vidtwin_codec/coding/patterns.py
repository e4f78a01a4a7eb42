"""Structure channels as two-dimensional cosines of a colour, where the weights say so."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.errors import VidtwinError

COLOURS = 3
MAX_SIZE = 64


@dataclass(frozen=True)
class Patterns:
    """Structure channels that are cosines of a square patch, in zonal order.

    Each colour has its cosines of least ``4 (row + column) + min(row, column)``; among equals, those of lower row
    frequency come first. Channels are the first colour's patterns, then the second's, then the third's.

    Attributes:
        size: side of a patch in pixels, so that frequencies go from 0 to ``size - 1``.
        counts: number of patterns of each of the three colours.

    Raises:
        VidtwinError: a number is out of range.
    """

    size: int
    counts: tuple[int, int, int]

    def __post_init__(self) -> None:
        numbers = (self.size, *self.counts)
        if len(self.counts) != COLOURS or not all(type(number) is int for number in numbers):
            raise VidtwinError(f"patterns: expected a size and {COLOURS} counts, got {numbers!r}")
        if not 2 <= self.size <= MAX_SIZE or not all(0 <= count <= self.size**2 for count in self.counts):
            raise VidtwinError(f"patterns: {numbers} are out of range")

    @property
    def channels(self) -> int:
        """Number of patterns of all colours together."""
        return sum(self.counts)

    @cached_property
    def frequencies(self) -> NDArray[np.int64]:
        """Colour, row frequency and column frequency of each channel, ``[channels, 3]``."""
        rows, columns = np.divmod(np.arange(self.size**2), self.size)
        zonal = np.lexsort((rows, 4 * (rows + columns) + np.minimum(rows, columns)))
        parts = []
        for colour, count in enumerate(self.counts):
            chosen = zonal[:count]
            parts.append(np.stack([np.full(count, colour), rows[chosen], columns[chosen]], axis=1))
        return np.concatenate(parts).astype(np.int64)

    def to_json(self) -> list[int]:
        """Return size and counts, as `from_json` reads them."""
        return [self.size, *self.counts]

    @classmethod
    def from_json(cls, value: object) -> Patterns:
        """Read what `to_json` returned.

        Raises:
            VidtwinError: the value is not a list of four whole numbers in range.
        """
        if not isinstance(value, list) or len(value) != 1 + COLOURS:
            raise VidtwinError("patterns: expected a list of a size and three counts")
        numbers: list[Any] = value
        return cls(numbers[0], (numbers[1], numbers[2], numbers[3]))
