"""Histograms of the sizes of wide latents, from which bytes and errors at any quality are forecast.

Nonzero symbols take most of the bytes, and latents that become zero make most of the error; both follow from the sizes
of the latents over their steps. Neither forecast is exact, but packing at one quality tells how far off they are, and
that changes slowly with quality.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import LatentArrays, Steps
from vidtwin_codec.coding.effort import step_factor
from vidtwin_codec.coding.quantizer import broadcast_steps

Weights = NDArray[np.float32]

_PER_OCTAVE = 8
_LOW, _HIGH = -6, 16
"""Range of the histogram, in octaves of latents over the weights' own steps."""
_BINS = (_HIGH - _LOW) * _PER_OCTAVE
_FROM = 0.62
"""Share of a step from which most latents become nonzero symbols."""


@dataclass(frozen=True, eq=False)
class Tally:
    """A histogram of the sizes of the structure latents of some clips.

    Attributes:
        counts: number of latents in each bin, from small to large.
        areas: sum of their squared steps in each bin.
        squares: sum of their squares in each bin.
        rest: sum of squares of all latents that are too small for the histogram.
    """

    counts: NDArray[np.float64]
    areas: NDArray[np.float64]
    squares: NDArray[np.float64]
    rest: float

    @classmethod
    def of(cls, latents: LatentArrays, base: Steps, least: float) -> Tally:
        """Make the histogram of latents that are at least ``least`` times the weights' steps ``base``."""
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
        """Estimate the number of nonzero symbols at ``scale`` times the weights' steps; never 0."""
        at = (np.log2(_FROM * scale) - _LOW) * _PER_OCTAVE
        above = np.concatenate([np.cumsum(self.counts[::-1])[::-1], [0.0]])
        return 0.5 + float(np.interp(at, np.arange(len(above)), above))

    def error(self, scale: float) -> float:
        """Estimate the sum of squared errors at ``scale`` times the weights' steps."""
        places = np.arange(_BINS)
        ratios = 2.0 ** ((places + 0.5) / _PER_OCTAVE + _LOW) / scale
        nearest = np.maximum(1, np.floor(ratios + 1 - _FROM))
        # large latents lie anywhere between two symbols; for small ones the bin gives the error well enough
        parts = np.where(nearest > 3, 1 / 12, (ratios - nearest) ** 2)
        dropped = np.clip((np.log2(_FROM * scale) - _LOW) * _PER_OCTAVE - places, 0, 1)
        coded = float((self.areas * parts * (1 - dropped)).sum()) * scale**2
        return self.rest + float((self.squares * dropped).sum()) + coded


def _sums(bins: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(bins, weights, _BINS).astype(np.float64)


def seen_energy(latents: LatentArrays, weights: Weights | None) -> float:
    """Sum the squares of structure latents, each patch counted by the share of it that is seen.

    Args:
        latents: latents of a clip, ``[tiles, …]``.
        weights: the shares, ``[rows, columns]``, 0 to 1; None if all of every patch is seen.
    """
    squares = np.einsum("nfrcd,nfrcd->rc", latents.structure, latents.structure, dtype=np.float64)
    return float(squares.sum() if weights is None else np.vdot(squares, weights))


class ClipError:
    """The sum of squared errors of the structure latents of each clip, as they were coded.

    Args:
        steps: quantisation steps of the symbols.

    Attributes:
        sums: a sum for each clip.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.sums: list[float] = []

    def add(self, latents: LatentArrays, symbols: LatentArrays, energy: float, weights: Weights | None = None) -> None:
        """Take the next clip.

        Args:
            latents: latents of the clip; those that cannot become nonzero symbols may be 0.
            symbols: symbols that were chosen for them.
            energy: sum of squares of all latents of the clip, from :func:`seen_energy` with the same weights.
            weights: share of each patch that is seen; None if all of it is.
        """
        places = np.flatnonzero(symbols.structure)
        wide = np.broadcast_to(broadcast_steps(self._steps)[0], symbols.structure.shape)
        wanted = latents.structure.reshape(-1)[places].astype(np.float64)
        left = wanted - symbols.structure.reshape(-1)[places] * wide.reshape(-1)[places].astype(np.float64)
        change = left**2 - wanted**2
        if weights is not None:
            change *= weights.reshape(-1)[places // symbols.structure.shape[-1] % weights.size]
        self.sums.append(energy + float(change.sum()))


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
