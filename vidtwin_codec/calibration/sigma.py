"""Quantisation steps from the posterior, which add the noise that the decoder was trained with.

A uniform quantiser of step sigma · sqrt(12) adds noise of exactly the posterior's variance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vidtwin_codec.model.vidtwin import LOG_VARIANCE_RANGE

SPREAD_STEP = 0.25
"""Fallback step in standard deviations of the means, which takes about 4 bits a number for a Gaussian."""
NARROW = 1 / 64
"""Share of the means' spread below which sigma · sqrt(12) is not used. It would take 8 bits a number or more, because
the posterior has collapsed onto its mean and no longer tells what the decoder tolerates."""
LEAST_STEP, MOST_STEP = 2.0**-10, 2.0**10


class Moments:
    """Sums over clips and positions of one of the three latents, by channel."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: NDArray[np.float64] = np.zeros(())

    def add(self, mean: Tensor, log_variance: Tensor) -> None:
        """Add one posterior, ``[B, slot, h, w, channel]`` or ``[B, channel, T, position]``."""
        # what remains is (slot, channel) or (channel)
        axes = (0, 2, 3)
        means, logs = mean.cpu().double().numpy(), log_variance.cpu().double().numpy()
        low, high = LOG_VARIANCE_RANGE
        parts = (means, means**2, np.exp(logs), (logs <= low) | (logs >= high))
        sums = np.stack([part.sum(axis=axes, dtype=np.float64) for part in parts])
        self.sums = self.sums + sums
        self.count += means.size // sums[0].size

    def steps(self) -> tuple[NDArray[np.float64], int]:
        """Compute the step of each channel, and the number of channels whose sigma is of no use."""
        mean, square, variance, at_limit = self.sums / self.count
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        noise = np.sqrt(12 * variance)
        unusable = (at_limit > 0) | ~np.isfinite(noise) | (noise < NARROW * spread) | (noise < LEAST_STEP)
        # the value of a constant channel must survive, because it shifts what the decoder gets
        fallback = np.maximum(SPREAD_STEP * spread, np.sqrt(square) / 64)
        steps = np.where(unusable, np.where(fallback > 0, fallback, 1.0), noise)
        return np.clip(steps, LEAST_STEP, MOST_STEP), int(unusable.sum())
