"""Quantisation steps from the decoder's sensitivity to errors in each channel.

Small independent errors of variance v in a channel change the picture by v times the mean square of the decoder's
derivatives with respect to it. Among all steps that take the same bits, those whose errors, so weighted, are equal in
all channels change the picture least (reverse water-filling at high rate: Gersho and Gray, Vector Quantization and
Signal Compression, 1992, chapter 8). So steps are proportional to one over the root of that mean square.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidtwin_codec.calibration.clock import Clock
from vidtwin_codec.model.sensitivity import squared_derivatives
from vidtwin_codec.model.vidtwin import Latents, VidTwin

Channels = tuple[NDArray[np.float64], ...]
"""A number for each channel: structure ``[n_q, d_S]``, dynamics x ``[d_D]``, dynamics y ``[d_D]``."""
LEAST_PASSES = 16
"""Least number of backward passes over all clips together. Each pass samples every element, a channel has dozens of
elements, and 16 passes reduce the error of a step to about 3 %."""
SILENT_STEP = 2.0**15
"""Step of a channel that the decoder ignores; all its symbols are 0 at every quality."""
PASSES_SHARE, CHECKS_SHARE = 0.55, 0.75
"""Shares of the time limit by which backward passes, and trials of single channels, end."""
LEAST_CLIPS = 4
_SEED = 20241217
_CHECKED_CLIPS = 3
_TRUST = 4.0
"""Ratio of real error to that forecast by the derivatives above which a channel's derivatives are not trusted."""


def measure(model: VidTwin, latents: Sequence[Latents], clock: Clock | None = None) -> Channels:
    """Measure the mean square derivative, summed over a decoded clip, with respect to the elements of each channel.

    Args:
        model: the network with its decoder, which computes in its own precision.
        latents: latents of one clip each, ``[B, …]`` as the network's encoder gives them, on the network's device.
        clock: limits the time.
    """
    clock = clock or Clock()
    generator = torch.Generator().manual_seed(_SEED)
    passes = math.ceil(LEAST_PASSES / len(latents))
    found = [
        squared_derivatives(model, means, generator, passes)
        for means in clock.within(latents, PASSES_SHARE, "differentiating the decoder", LEAST_CLIPS)
    ]
    return tuple(np.mean(column, axis=0).squeeze((0, 2, 3)) for column in zip(*found, strict=True))


def steps(sensitivity: Channels, elements: Sequence[int], reference: Channels) -> Channels | None:
    """Compute steps that add as much noise to the picture as ``reference`` does, in the fewest bits.

    Args:
        sensitivity: result of :func:`measure`.
        elements: number of elements of a channel, for each of the three parts.
        reference: other steps.

    Returns:
        The steps; None if the decoder ignores all channels, or derivatives are not finite.
    """
    noise = sum(
        count * float((square * step**2).sum())
        for count, square, step in zip(elements, sensitivity, reference, strict=True)
    )
    heard = sum(count * int((square > 0).sum()) for count, square in zip(elements, sensitivity, strict=True))
    if not 0 < noise < math.inf:
        return None
    level = noise / heard
    with np.errstate(divide="ignore"):
        return tuple(np.minimum(np.sqrt(level / square), SILENT_STEP) for square in sensitivity)


@torch.inference_mode()
def checked(
    model: VidTwin,
    latents: Sequence[Latents],
    sensitivity: Channels,
    steps: Channels,
    reference: Channels,
    clock: Clock | None = None,
) -> Channels:
    """Replace steps by those of ``reference`` where a channel matters more than its derivatives say.

    Derivatives are valid near the latents only. A channel that acts as a switch has none, but matters all the same. So
    each channel whose step is wider than its spread, and would make it all zeros, is quantised alone as a trial.

    Args:
        model: the network, as in :func:`measure`.
        latents: latents as in :func:`measure`; the first few are decoded for every channel that is tried.
        sensitivity: result of :func:`measure`.
        steps: steps to check.
        reference: steps that are known to work.
        clock: limits the time; channels that are not tried get the steps of ``reference``.
    """
    clock = clock or Clock()
    kept = tuple(part.copy() for part in steps)
    few = latents[:_CHECKED_CLIPS]
    plain = [model.decode(one) for one in few]
    for part, found in enumerate(kept):
        spread = torch.cat([one[part].cpu() for one in latents]).double().square().mean(dim=(0, 2, 3)).sqrt().numpy()
        doubtful = list(zip(*np.nonzero((found > spread) & (found < SILENT_STEP)), strict=True))
        believed = []
        for channel in clock.within(doubtful, CHECKS_SHARE, "trying channels without a say"):
            rounded = [_rounded(one, part, channel, float(found[channel])) for one in few]
            forecast = sensitivity[part][channel] * sum(map(_distance, few, rounded))
            real = sum(_distance((picture,), (model.decode(one),)) for picture, one in zip(plain, rounded, strict=True))
            if real <= _TRUST * forecast:
                believed.append(channel)
        for channel in set(doubtful) - set(believed):
            found[channel] = reference[part][channel]
    return kept


def _rounded(latents: Latents, part: int, channel: tuple[int, ...], step: float) -> Latents:
    """Quantise one channel of a part of the latents."""
    values = latents[part].clone()
    # channels are [d] or [n_q, d]; their elements lie along the batch and two further axes
    place: tuple[slice | int, ...] = (slice(None), channel[0], slice(None), slice(None), *channel[1:])
    values[place] = torch.round(values[place] / step) * step
    return latents._replace(**{Latents._fields[part]: values})


def _distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Compute the sum of squared differences."""
    return sum(float((one - other).cpu().double().square().sum()) for one, other in zip(a, b, strict=True))
