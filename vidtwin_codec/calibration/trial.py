"""Steps tried out: bytes and PSNR of quantised clips, which of two sets of steps is better, and how coarse to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
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

OCTAVES = (-1.5, -0.75, 0.0, 0.75, 1.5)
"""Where curves are measured, from the scale of the default quality: quality 96 to 54."""
DEFAULT_LOSS = 0.07
"""Decibels that the default quality costs: not visible, and half of what it may cost with all else."""
LEAST_OVERLAP = 0.01
"""Decibels that two curves must share to be compared."""


class Point(NamedTuple):
    """Bytes of all clips as one group, and their mean PSNR in decibels."""

    bytes: int
    psnr: float


class Trial:
    """Clips, their latents and what the network makes of them unquantised.

    Args:
        model: both halves.
        clips: each ``[1, 3, T, H, W]`` in [-1, 1], on the network's device.
        latents: posterior means of each clip.

    Raises:
        ValueError: the decoder's output is not finite.
    """

    def __init__(self, model: VidTwin, clips: Sequence[Tensor], latents: Sequence[Latents]) -> None:
        self._model, self._clips = model, clips
        config = model.config
        self._layout = LatentLayout(config.structure_shape, config.dynamics_x_shape, config.dynamics_y_shape)
        self._arrays = LatentArrays(*(torch.cat(part).float().cpu().numpy() for part in zip(*latents, strict=True)))
        self.unquantized = self._psnr(self._arrays)
        if not math.isfinite(self.unquantized):
            raise ValueError("what the decoder gives is not finite")

    def __len__(self) -> int:
        return len(self._clips)

    def curve(self, steps: Steps) -> list[Point]:
        """A point for each of `OCTAVES`, from fine to coarse."""
        middle = quality_scale(DEFAULT_QUALITY)
        return [self._point(steps.scaled(middle * 2.0**octave)) for octave in OCTAVES]

    def _point(self, steps: Steps) -> Point:
        symbols = quantize(self._arrays, steps)
        clips = len(self._arrays.structure)
        group = Group(0, clips * self._model.config.frames, 0, clips, 1, symbols)
        return Point(len(pack_group(group, self._layout)), self._psnr(dequantize(symbols, steps)))

    @torch.inference_mode()
    def _psnr(self, arrays: LatentArrays) -> float:
        tensors = [torch.from_numpy(np.ascontiguousarray(part)) for part in arrays]
        values = []
        for number, clip in enumerate(self._clips):
            piece = Latents(*(tensor[number : number + 1].to(clip.device) for tensor in tensors))
            error = (self._model.decode(piece).clamp(-1, 1) - clip).square().mean() / 4
            values.append(float(psnr_of_error(float(error))))
        return sum(values) / len(values)


def change(anchor: Sequence[Point], test: Sequence[Point]) -> float | None:
    """Bytes of ``test`` over those of ``anchor`` at equal PSNR, less 1: a Bjøntegaard delta of straight pieces.

    None where the curves have no PSNR in common.
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


def factor_for_default(curve: Sequence[Point], unquantized: float) -> float:
    """Factor on the steps that makes the default quality cost `DEFAULT_LOSS`, as far as the curve tells.

    Args:
        curve: of these steps, as :meth:`Trial.curve` gives it.
        unquantized: PSNR without quantisation, in decibels.
    """
    losses = np.maximum.accumulate([unquantized - point.psnr for point in curve])
    # the loss grows as the square of the step, so both are straight in logarithms
    octave = np.interp(math.log(DEFAULT_LOSS), np.log(np.maximum(losses, 1e-6)), OCTAVES)
    return float(2.0**octave)
