"""Quantisation steps from the decoder: as coarse as what it makes of an error in each channel allows.

Small independent errors of variance v in a channel change the picture by v times the mean square of the decoder's
derivatives with respect to it. Among all steps that spend the same bits, those whose errors, so weighted, are equal in
all channels change the picture least (reverse water-filling at high rate: Gersho and Gray, Vector Quantization and
Signal Compression, 1992, chapter 8): steps go with one over the root of that mean square.
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
"""Backward passes over all clips. Each gives a sample of every element, a channel has dozens of those, and 16 passes
bring the error of a step to about 3 %."""
SILENT_STEP = 2.0**15
"""Step of a channel that the decoder does not look at: all its symbols are 0, at every quality."""
PASSES_SHARE, CHECKS_SHARE = 0.55, 0.75
"""Of the time there is, where it is limited: by when backward passes, and trials of single channels, end."""
LEAST_CLIPS = 4
_SEED = 20241217
_CHECKED_CLIPS = 3
_TRUST = 4.0
"""Times the error that the derivatives foretell, from where on they are not believed."""


def measure(model: VidTwin, latents: Sequence[Latents], clock: Clock | None = None) -> Channels:
    """Mean square derivative of the decoded clip's elements, summed over them, with respect to a channel's elements.

    Args:
        model: with its decoder; computes in the precision it is in.
        latents: of one clip each, ``[B, …]`` as the network's encoder gives them; on the network's device.
        clock: ends it early where time is short.
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
    """Steps that put as much noise into the picture as ``reference`` does, spending the fewest bits on it.

    Args:
        sensitivity: what :func:`measure` gives.
        elements: of one channel of each of the three parts.
        reference: other steps.

    Returns:
        None where the derivatives say nothing: the decoder looks at no channel, or they are not finite.
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
    """``steps``, but those of ``reference`` where a channel matters more than its derivatives say.

    Derivatives hold near the latents. A channel that only tells one of two things apart has none, and must be told all
    the same. So each channel whose step is wider than its spread, and would silence it, is tried: quantised alone.

    Args:
        model: as in :func:`measure`.
        latents: as in :func:`measure`; the first few are decoded once for every channel tried.
        sensitivity: what :func:`measure` gives.
        steps: to check.
        reference: steps that are known to do.
        clock: ends it early where time is short; channels that are not tried get those of ``reference``.
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
            foretold = sensitivity[part][channel] * sum(map(_distance, few, rounded))
            real = sum(_distance((picture,), (model.decode(one),)) for picture, one in zip(plain, rounded, strict=True))
            if real <= _TRUST * foretold:
                believed.append(channel)
        for channel in set(doubtful) - set(believed):
            found[channel] = reference[part][channel]
    return kept


def _rounded(latents: Latents, part: int, channel: tuple[int, ...], step: float) -> Latents:
    """``latents`` with one channel of a part quantised."""
    values = latents[part].clone()
    # channels are [d] or [n_q, d]; their elements lie along the batch and two axes more
    place: tuple[slice | int, ...] = (slice(None), channel[0], slice(None), slice(None), *channel[1:])
    values[place] = torch.round(values[place] / step) * step
    return latents._replace(**{Latents._fields[part]: values})


def _distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Sum of squared differences."""
    return sum(float((one - other).cpu().double().square().sum()) for one, other in zip(a, b, strict=True))
