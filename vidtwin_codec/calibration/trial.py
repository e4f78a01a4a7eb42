"""Trials of steps: bytes and PSNR of quantised clips, the better of two sets of steps, and the right coarseness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vidtwin_codec.coding import (
    DEFAULT_QUALITY,
    Group,
    LatentArrays,
    LatentLayout,
    Steps,
    dequantize,
    pack_group,
    quality_scale,
    quantize,
)
from vidtwin_codec.metrics import psnr_of_error
from vidtwin_codec.model.vidtwin import Latents, VidTwin
from vidtwin_codec.reporter import Reporter

OCTAVES = (-1.5, -0.75, 0.0, 0.75, 1.5)
"""Scales of the points of a curve, in octaves from that of the default quality, from fine to coarse."""
FEW_OCTAVES = (-1.5, 0.0, 1.5)
"""The same for networks whose every call is expensive."""
DEFAULT_LOSS = 0.07
"""Loss in dB at the default quality: not visible, and half of what it may lose with everything else."""
LEAST_OVERLAP = 0.01
"""Smallest overlap in dB for which two curves are compared."""


class RatePoint(NamedTuple):
    """A point of a curve: bytes of all clips as one group, and their mean PSNR in dB."""

    bytes: int
    psnr: float


class Trial:
    """A trial of steps on some clips.

    Args:
        model: both halves of the network.
        clips: clips ``[1, 3, T, H, W]`` in [-1, 1], on the network's device.
        latents: posterior means of each clip.
        octaves: scales of the points of a curve, as :data:`OCTAVES`.
        reporter: receives progress.

    Attributes:
        unquantized: PSNR without quantisation in dB.

    Raises:
        ValueError: the decoder's output is not finite.
    """

    def __init__(
        self,
        model: VidTwin,
        clips: Sequence[Tensor],
        latents: Sequence[Latents],
        octaves: Sequence[float] = OCTAVES,
        reporter: Reporter | None = None,
    ) -> None:
        self._model, self._clips, self._octaves = model, clips, octaves
        self._reporter = reporter or Reporter()
        config = model.config
        self._layout = LatentLayout(config.structure_shape, config.dynamics_x_shape, config.dynamics_y_shape)
        self._arrays = LatentArrays(*Latents.concatenate(latents).map(lambda part: part.float().cpu()).numpy())
        self.unquantized = self._psnr(self._arrays)
        if not math.isfinite(self.unquantized):
            raise ValueError("what the decoder gives is not finite")

    def __len__(self) -> int:
        return len(self._clips)

    def curve(self, steps: Steps) -> list[RatePoint]:
        """Compute a point for each of the octaves, from fine to coarse."""
        self._reporter.stage("trying steps", "clip").started(len(self._octaves) * len(self._clips), "")
        middle = quality_scale(DEFAULT_QUALITY)
        points = []
        for octave in self._octaves:
            points.append(self._point(steps.scaled(middle * 2.0**octave)))
            self._reporter.advanced(len(self._clips))
        return points

    def _point(self, steps: Steps) -> RatePoint:
        symbols = quantize(self._arrays, steps)
        clips = len(self._arrays.structure)
        group = Group(0, clips * self._model.config.frames, 0, clips, 1, symbols)
        return RatePoint(len(pack_group(group, self._layout)), self._psnr(dequantize(symbols, steps)))

    @torch.inference_mode()
    def _psnr(self, arrays: LatentArrays) -> float:
        tensors = Latents.from_numpy(arrays).map(lambda part: part.to(self._clips[0].device))
        values = []
        for number, clip in enumerate(self._clips):
            piece = tensors.map(itemgetter(slice(number, number + 1)))
            error = (self._model.decode(piece).clamp(-1, 1) - clip).square().mean() / 4
            values.append(float(psnr_of_error(float(error))))
        return sum(values) / len(values)


def change(anchor: Sequence[RatePoint], test: Sequence[RatePoint]) -> float | None:
    """Compute the Bjøntegaard delta by linear interpolation: bytes of ``test`` over ``anchor`` at equal PSNR, less 1.

    Returns:
        The delta; None if the curves have no PSNR in common.
    """
    curves = []
    for points in (anchor, test):
        ordered = sorted((point.psnr, math.log(point.bytes)) for point in points)
        curves.append(np.array(ordered).T)
    low, high = max(curve[0][0] for curve in curves), min(curve[0][-1] for curve in curves)
    if not high - low >= LEAST_OVERLAP:
        return None
    levels = np.linspace(low, high, 256)
    one, other = (np.interp(levels, *curve) for curve in curves)
    return float(np.exp((other - one).mean()) - 1)


def factor_for_default(curve: Sequence[RatePoint], unquantized: float, octaves: Sequence[float] = OCTAVES) -> float:
    """Compute the factor on the steps with which the default quality loses :data:`DEFAULT_LOSS`, within the curve.

    Args:
        curve: curve of these steps, from :meth:`Trial.curve`.
        unquantized: PSNR without quantisation in dB.
        octaves: scales of the curve's points.
    """
    losses = np.maximum.accumulate([unquantized - point.psnr for point in curve])
    # the loss grows as the square of the step, so interpolation is linear in logarithms
    octave = np.interp(math.log(DEFAULT_LOSS), np.log(np.maximum(losses, 1e-6)), octaves)
    return float(2.0**octave)
