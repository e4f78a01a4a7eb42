"""Base quantisation steps from what the decoder was trained to tolerate.

The decoder learned under Gaussian noise of the posterior's sigma. A uniform quantiser of step
sigma · sqrt(12) adds noise of exactly that variance, so this is the base step of a channel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidtwin_codec.coding import Steps
from vidtwin_codec.model.vidtwin import LOG_VARIANCE_RANGE, Latents, VidTwin

GRID = 8
"""Steps are rounded to this many values an octave. Rounding in float32 differs a little between machines; on so
coarse a grid the steps, hence the digest of an imported file, come out the same everywhere."""
SPREAD_STEP = 0.25
"""Fallback step, in standard deviations of the means: about 4 bits a number for a Gaussian."""
NARROW = 1 / 64
"""A sigma · sqrt(12) below this share of the means' spread asks for 8 bits a number or more: the posterior has
collapsed onto its mean and no longer tells what the decoder tolerates."""
LEAST_STEP, MOST_STEP = 2.0**-10, 2.0**10


@dataclass(frozen=True)
class Calibration:
    """Steps, and what had to be done to get them.

    Attributes:
        steps: one per channel.
        notes: a line for each fallback that was taken; empty when every sigma was usable.
    """

    steps: Steps
    notes: list[str]


class _Moments:
    """Sums over clips and positions of one latent, per channel."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: NDArray[np.float64] = np.zeros(())

    def add(self, mean: Tensor, log_variance: Tensor) -> None:
        # [B, slot, h, w, channel] or [B, channel, T, position]: what remains is (slot, channel) or (channel)
        axes = (0, 2, 3)
        means, logs = mean.double().cpu().numpy(), log_variance.double().cpu().numpy()
        low, high = LOG_VARIANCE_RANGE
        parts = (means, means**2, np.exp(logs), (logs <= low) | (logs >= high))
        sums = np.stack([part.sum(axis=axes, dtype=np.float64) for part in parts])
        self.sums = self.sums + sums
        self.count += means.size // sums[0].size

    def steps(self) -> tuple[NDArray[np.float64], int]:
        """Step per channel, and in how many of them sigma was of no use."""
        mean, square, variance, at_limit = self.sums / self.count
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        noise = np.sqrt(12 * variance)
        unusable = (at_limit > 0) | ~np.isfinite(noise) | (noise < NARROW * spread) | (noise < LEAST_STEP)
        # a channel that is constant still shifts what the decoder sees, so its value must survive
        fallback = np.maximum(SPREAD_STEP * spread, np.sqrt(square) / 64)
        steps = np.where(unusable, np.where(fallback > 0, fallback, 1.0), noise)
        steps = np.clip(steps, LEAST_STEP, MOST_STEP)
        return 2.0 ** (np.round(np.log2(steps) * GRID) / GRID), int(unusable.sum())


def calibrate(model: VidTwin, clips: Iterable[Tensor]) -> Calibration:
    """Base steps for a network, from its posterior over some clips.

    Args:
        model: with its encoder; computes in the precision it is in.
        clips: ``[B, 3, T, H, W]`` in [-1, 1], of the network's size; one forward pass each.

    Raises:
        ValueError: there are no clips, or the posterior is not finite.
    """
    device = next(model.parameters()).device
    moments = {name: _Moments() for name in Latents._fields}
    with torch.inference_mode():
        for clip in clips:
            posterior = model.posterior(clip.to(device))
            for moment, mean, log_variance in zip(
                moments.values(), posterior.mean, posterior.log_variance, strict=True
            ):
                if not bool(torch.isfinite(mean).all()):
                    raise ValueError("the posterior's means are not finite")
                moment.add(mean, log_variance)
    notes = []
    arrays = []
    for name, moment in moments.items():
        if not moment.count:
            raise ValueError("no clips to calibrate on")
        steps, unusable = moment.steps()
        arrays.append(steps.astype(np.float32))
        if unusable:
            notes.append(
                f"{name}: the posterior sigma of {unusable} of {steps.size} channels says nothing; "
                f"their steps are {SPREAD_STEP:g} of the standard deviation of the means"
            )
    return Calibration(Steps(*arrays), notes)


def calibrate_steps(model: VidTwin, clips: Iterable[Tensor]) -> Steps:
    """The steps of :func:`calibrate`, without its notes."""
    return calibrate(model, clips).steps


def reconstruction_psnr(model: VidTwin, clips: Iterable[Tensor]) -> float:
    """Mean PSNR in decibels over clips, of RGB in [0, 1], in the precision the network is in."""
    device = next(model.parameters()).device
    values = []
    with torch.inference_mode():
        for clip in clips:
            source = clip.to(device)
            error = (model.decode(model.encode(source)).clamp(-1, 1) - source).square().mean() / 4
            values.append(-10 * math.log10(float(error) + 1e-8))
    return sum(values) / len(values)
