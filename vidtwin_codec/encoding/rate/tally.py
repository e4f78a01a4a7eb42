"""What wide latents will cost and lose at any quality, foretold from how many there are of each size.

Symbols that are not zero are most of the bytes, and what is not coded is most of the error; both follow from the sizes
of the latents over their steps. Neither is exact: one quality that is really packed says how far off they are, and by
how much that is changes slowly with quality.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import LatentArrays, Steps
from vidtwin_codec.coding.quantizer import broadcast_steps

Weights = NDArray[np.float32]

_PER_OCTAVE = 8
_LOW, _HIGH = -6, 16
"""Octaves of latents over the weights' own steps."""
_BINS = (_HIGH - _LOW) * _PER_OCTAVE
_FROM = 0.62
"""Of a step: from here on, most latents become symbols that are not zero."""


@dataclass(frozen=True, eq=False)
class Tally:
    """Sizes of the structure latents of some clips.

    Attributes:
        counts: latents of each size, from small to large. areas: sums of their squared steps. squares: of themselves.
        rest: sum of squares of all that are smaller.
    """

    counts: NDArray[np.float64]
    areas: NDArray[np.float64]
    squares: NDArray[np.float64]
    rest: float

    @classmethod
    def of(cls, latents: LatentArrays, base: Steps, least: float) -> Tally:
        """Of latents that are at least ``least`` of the weights' steps ``base``."""
        steps = np.broadcast_to(broadcast_steps(base)[0], latents.structure.shape)
        values = np.abs(latents.structure)
        places = np.flatnonzero(values >= least * steps)
        some, sizes = (part.reshape(-1)[places].astype(np.float64) for part in (values, steps))
        bins = np.clip((np.log2(some / sizes) - _LOW) * _PER_OCTAVE, 0, _BINS - 1).astype(np.int64)
        counts, areas, squares = (_sums(bins, weights) for weights in (np.ones_like(some), sizes**2, some**2))
        values.reshape(-1)[places] = 0
        return cls(counts, areas, squares, float(np.vdot(values, values)))

    @property
    def energy(self) -> float:
        """Sum of squares of all latents."""
        return self.rest + float(self.squares.sum())

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.counts + other.counts, self.areas + other.areas, self.squares + other.squares, self.rest + other.rest
        )

    def symbols(self, scale: float) -> float:
        """About how many are not zero at so many times the weights' steps; never 0."""
        at = (np.log2(_FROM * scale) - _LOW) * _PER_OCTAVE
        above = np.concatenate([np.cumsum(self.counts[::-1])[::-1], [0.0]])
        return 0.5 + float(np.interp(at, np.arange(len(above)), above))

    def error(self, scale: float) -> float:
        """About the sum of squared errors at so many times the weights' steps."""
        places = np.arange(_BINS)
        ratios = 2.0 ** ((places + 0.5) / _PER_OCTAVE + _LOW) / scale
        nearest = np.maximum(1, np.floor(ratios + 1 - _FROM))
        # large ones lie anywhere between two symbols; of the others the size is known well enough
        parts = np.where(nearest > 3, 1 / 12, (ratios - nearest) ** 2)
        dropped = np.clip((np.log2(_FROM * scale) - _LOW) * _PER_OCTAVE - places, 0, 1)
        coded = float((self.areas * parts * (1 - dropped)).sum()) * scale**2
        return self.rest + float((self.squares * dropped).sum()) + coded


def _sums(bins: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(bins, weights, _BINS).astype(np.float64)


def seen_energy(latents: LatentArrays, weights: Weights | None) -> float:
    """Sum of squares of structure latents ``[tiles, …]``, each patch counting as much as is seen of it.

    Args:
        weights: ``[rows, columns]``, 0 to 1; None: all of it.
    """
    squares = np.einsum("nfrcd,nfrcd->rc", latents.structure, latents.structure, dtype=np.float64)
    return float(squares.sum() if weights is None else np.vdot(squares, weights))


class ClipError:
    """Sum of squared errors of each clip's structure, as it was really coded.

    Args:
        steps: that its symbols count in.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.sums: list[float] = []

    def add(self, latents: LatentArrays, symbols: LatentArrays, energy: float, weights: Weights | None = None) -> None:
        """Take the next clip.

        Args:
            latents: those that can have become symbols. symbols: of them.
            energy: sum of squares of all latents of the clip, weighted likewise.
            weights: how much of each patch is seen; see `seen_energy`.
        """
        places = np.flatnonzero(symbols.structure)
        wide = np.broadcast_to(broadcast_steps(self._steps)[0], symbols.structure.shape)
        wanted = latents.structure.reshape(-1)[places].astype(np.float64)
        left = wanted - symbols.structure.reshape(-1)[places] * wide.reshape(-1)[places].astype(np.float64)
        change = left**2 - wanted**2
        if weights is not None:
            change *= weights.reshape(-1)[places // symbols.structure.shape[-1] % weights.size]
        self.sums.append(energy + float(change.sum()))
