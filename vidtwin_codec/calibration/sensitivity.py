"""Quantisation steps from the decoder's sensitivity to errors in each channel.

Small independent errors of variance v in a channel change the picture by v times the mean square of the decoder's
derivatives with respect to it. Among all steps that take the same bits, those whose errors, so weighted, are equal in
all channels change the picture least (reverse water-filling at high rate: Gersho and Gray, Vector Quantization and
Signal Compression, 1992, chapter 8). So steps are proportional to one over the root of that mean square.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidtwin_codec.calibration.clock import Clock
from vidtwin_codec.calibration.scope import FULL, Scope
from vidtwin_codec.model.vidtwin import Latents, VidTwin


class Squares(NamedTuple):
    """A float64 number for each channel, shaped to broadcast against `Latents` of any batch."""

    structure: NDArray[np.float64]
    """``[1, n_q, 1, 1, d_S]``"""
    dynamics_x: NDArray[np.float64]
    """``[1, d_D, 1, 1]``"""
    dynamics_y: NDArray[np.float64]
    """``[1, d_D, 1, 1]``"""


def squared_derivatives(model: VidTwin, latents: Latents, generator: torch.Generator, passes: int = 1) -> Squares:
    """Estimate the squared change of the decoded clip, summed over elements in [-1, 1], by a unit change of a latent.

    The diagonal of JᵀJ, J the decoder's Jacobian, is the mean of (Jᵀv)² over vectors v of random signs (M. Hutchinson,
    1989): one backward pass probes every latent at once, where a perturbation would probe one. The mean over a
    channel's elements and over the passes does the rest. Source: C. Bekas, E. Kokiopoulou and Y. Saad, "An estimator
    for the diagonal of a matrix", Applied Numerical Mathematics 57 (2007).

    Args:
        model: a VidTwin with its decoder, which computes in its own precision.
        latents: latents of B clips, on the decoder's device; the result depends on them, as a decoder is not linear.
        generator: generator of the signs, on the CPU, so that all devices take the same ones.
        passes: number of backward passes.

    Returns:
        Means over each channel's elements; not finite where the decoder's derivatives are not.
    """
    inputs = latents.map(lambda part: part.detach().clone().requires_grad_(True))
    with torch.enable_grad():
        decoded = model.decode(inputs)
    total: list[NDArray[np.float64]] = []
    for number in range(passes):
        signs = torch.randint(0, 2, decoded.shape, generator=generator, dtype=torch.float32) * 2 - 1
        gradients = torch.autograd.grad(
            decoded, inputs, signs.to(decoded), retain_graph=number < passes - 1, materialize_grads=True
        )
        squares = [part.cpu().double().square().mean(dim=(0, 2, 3), keepdim=True).numpy() for part in gradients]
        total = [a + b for a, b in zip(total, squares, strict=True)] if total else squares
    return Squares(*(part / passes for part in total))


Channels = tuple[NDArray[np.float64], ...]
"""A number for each channel: structure ``[n_q, d_S]``, dynamics x ``[d_D]``, dynamics y ``[d_D]``."""
Channel = tuple[int, tuple[int, ...]]
"""A part of the latents by its number, and the place of a channel in it."""
SILENT_STEP = 2.0**15
"""Step of a channel that the decoder ignores; all its symbols are 0 at every quality."""
PASSES_SHARE, CHECKS_SHARE = 0.55, 0.75
"""Shares of the time limit by which backward passes, and trials of single channels, end."""
LEAST_CLIPS = 4
_SEED = 20241217
_TRUST = 4.0
"""Ratio of real error to that forecast by the derivatives above which a channel's derivatives are not trusted."""


def measure(model: VidTwin, latents: Sequence[Latents], clock: Clock | None = None, scope: Scope = FULL) -> Channels:
    """Measure the mean square derivative, summed over a decoded clip, with respect to the elements of each channel.

    Args:
        model: the network with its decoder, which computes in its own precision.
        latents: latents of one clip each, ``[B, …]`` as the network's encoder gives them, on the network's device.
        clock: limits the time.
        scope: says how many backward passes there are at least.
    """
    clock = clock or Clock()
    generator = torch.Generator().manual_seed(_SEED)
    passes = math.ceil(scope.passes / len(latents))
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
    scope: Scope = FULL,
    most: int | None = None,
) -> Channels:
    """Replace steps by those of ``reference`` where a channel matters more than its derivatives say.

    Derivatives are valid near the latents only. A channel that acts as a switch has none, but matters all the same. So
    each channel whose step is wider than its spread, and would make it all zeros, is quantised as a trial: alone, or
    where trials are few, together with others, and apart from them if these channels together matter too much.

    Args:
        model: the network, as in :func:`measure`.
        latents: latents as in :func:`measure`; the first few are decoded for every trial.
        sensitivity: result of :func:`measure`.
        steps: steps to check.
        reference: steps that are known to work.
        clock: limits the time; channels that are not tried get the steps of ``reference``.
        scope: limits the trials, likewise.
        most: most channels that are tried; None tries all that the scope allows.
    """
    clock = clock or Clock()
    few = latents[: scope.checked_clips]
    plain = [model.decode(one) for one in few]
    doubtful = [channel for part, found in enumerate(steps) for channel in _doubtful(part, found, latents)]

    def borne(channels: Sequence[Channel]) -> bool:
        forecast, rounded = 0.0, list(few)
        for part, place in channels:
            step = float(steps[part][place])
            alone = [_rounded(one, part, place, step) for one in few]
            forecast += sensitivity[part][place] * sum(map(_distance, few, alone))
            rounded = [_rounded(one, part, place, step) for one in rounded]
        real = sum(_distance((picture,), (model.decode(one),)) for picture, one in zip(plain, rounded, strict=True))
        # of several channels, what the forecasts miss goes both ways, and a single one is not to hide among the others
        return bool(real <= (1 + (_TRUST - 1) / math.sqrt(len(channels))) * forecast)

    if scope.checks is None:
        tried = clock.within(doubtful[:most], CHECKS_SHARE, "trying channels without a say", unit="channel")
        believed = {channel for channel in tried if borne([channel])}
    else:
        believed = _bisected(doubtful, borne, scope.checks if most is None else min(most, scope.checks))
    kept = tuple(part.copy() for part in steps)
    for part, place in set(doubtful) - believed:
        kept[part][place] = reference[part][place]
    return kept


def _doubtful(part: int, found: NDArray[np.float64], latents: Sequence[Latents]) -> list[Channel]:
    """List the channels of a part whose steps are wider than their spread."""
    spread = torch.cat([one[part].cpu() for one in latents]).double().square().mean(dim=(0, 2, 3)).sqrt().numpy()
    return [(part, place) for place in zip(*np.nonzero((found > spread) & (found < SILENT_STEP)), strict=True)]


def _bisected(channels: list[Channel], borne: Callable[[Sequence[Channel]], bool], most: int) -> set[Channel]:
    """Find channels that are borne together, by halving what is not, in at most so many trials."""
    believed: set[Channel] = set()
    groups = deque([channels] if channels else [])
    for _ in range(most):
        if not groups:
            break
        group = groups.popleft()
        if borne(group):
            believed.update(group)
        elif len(group) > 1:
            groups += (group[: len(group) // 2], group[len(group) // 2 :])
    return believed


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
