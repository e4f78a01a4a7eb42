"""The trained start of the models, which is part of the format: sizes, probabilities, counts, weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.sparse.contexts import STATES, WEIGHTS

FILE = Path(__file__).with_name("prior.npz")
MOST_KNOWN = 14  # the most decisions that a trained probability counts as
_COUNT_BITS = 9
_DROPPED_BITS = 6  # of a probability, when it is saved


@dataclass(frozen=True, eq=False)
class Prior:
    """The start of the models.

    Attributes:
        sizes: expected sizes of a slot's bands, uint8 ``[16, 3 * BANDS]``, in eighths of an octave above 2**-15.
        states: the state of each context, int32: 22 bits of probability, 9 of its count of decisions.
        weights: the weights of the mixers, int32, in 65536ths.
    """

    sizes: NDArray[np.uint8]
    states: NDArray[np.int32]
    weights: NDArray[np.int32]

    def limited(self) -> Prior:
        """Return a copy with counts of at most `MOST_KNOWN` and probabilities of 16 bits, as they are saved."""
        counts = np.minimum(self.states & ((1 << _COUNT_BITS) - 1), MOST_KNOWN)
        chances = self.states >> (_COUNT_BITS + _DROPPED_BITS)
        return replace(self, states=(chances << (_COUNT_BITS + _DROPPED_BITS)) | counts)

    def save(self, path: Path) -> None:
        """Write what `limited` keeps to a file that `load` reads."""
        np.savez_compressed(
            path,
            sizes=self.sizes,
            chances=(self.states >> (_COUNT_BITS + _DROPPED_BITS)).astype(np.uint16),
            counts=(self.states & ((1 << _COUNT_BITS) - 1)).astype(np.uint8),
            weights=self.weights,
        )


@cache
def load() -> Prior:
    """Return the prior of the format."""
    with np.load(FILE) as data:
        states = (data["chances"].astype(np.int32) << (_COUNT_BITS + _DROPPED_BITS)) | data["counts"]
        return Prior(data["sizes"], states.astype(np.int32), data["weights"].astype(np.int32))


def untrained(sizes: NDArray[np.uint8]) -> Prior:
    """Return a prior of even chances, counts of 0, and weights that add up to less than two."""
    return Prior(sizes, np.full(STATES, 1 << 30, np.int32), np.full(WEIGHTS, (1 << 16) // 13, np.int32))
