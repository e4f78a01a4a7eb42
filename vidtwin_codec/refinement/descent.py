"""Latents moved through the frozen decoder, towards the pixels.

An encoder is one function for all clips; what it gives is not the best the decoder can do for this one. Steps down the
gradient of the pixels' squared error make up for that. Each is scaled by what the channel does to the picture, and its
length is Barzilai and Borwein's, for each tile by itself.

Sources: J. Campos, S. Meierhans, A. Djelouah and C. Schroers, "Content adaptive optimization for neural image
compression", CVPR workshops 2019; J. Barzilai and J. Borwein, "Two-point step size gradient methods", IMA Journal of
Numerical Analysis 8 (1988).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vidtwin_codec.model import Latents, VidTwin

FIRST_LENGTH = 0.5
"""Of a step that would reach the optimum of a channel if there were no other."""
LENGTHS = (0.05, 4.0)
RETREAT = 0.25
"""Of the length, after a step that made a tile worse than it may become."""
TOLERANCE = 1.02
"""Barzilai and Borwein's steps are not monotone: so much more error than the best so far is let pass."""


class Descended(NamedTuple):
    """Latents that are nowhere worse than what they began as.

    Attributes:
        latents: on the device.
        errors: squared error of each tile, summed over its elements in [-1, 1]; float64 ``[B]``.
        before: the same of the latents that it began with.
    """

    latents: Latents
    errors: Tensor
    before: Tensor


def descend(model: VidTwin, start: Latents, pixels: Tensor, sensitivity: Latents, steps: int) -> Descended:
    """At most ``steps`` steps, each a forward and a backward pass through the decoder.

    Args:
        model: with its decoder, its parameters frozen; computes in float32.
        start: of B tiles.
        pixels: ``[B, 3, T, H, W]`` in [-1, 1].
        sensitivity: of :func:`measure_sensitivity`, positive where a channel may move.
        steps: one or more.
    """
    scales = [torch.where(part > 0, 0.5 / part, 0.0).float() for part in sensitivity]
    best = here = list(start)
    best_errors, best_slopes = _errors(model, here, pixels)
    before, slopes = best_errors, best_slopes
    lengths = torch.full_like(best_errors, FIRST_LENGTH)
    for _ in range(steps):
        there = [a - _wide(lengths, a) * s * g for a, s, g in zip(here, scales, slopes, strict=True)]
        errors, new_slopes = _errors(model, there, pixels)
        fine = errors <= TOLERANCE * best_errors  # not so where an error is not a number
        # the secant's length: in the metric of the scales, change of place over change of slope
        moved = [a - b for a, b in zip(there, here, strict=True)]
        bent = [a - b for a, b in zip(new_slopes, slopes, strict=True)]
        length = _products(moved, moved, scales) / _products(moved, bent)
        length = torch.where(torch.isfinite(length) & (length > 0), length, FIRST_LENGTH).clamp(*LENGTHS)
        lengths = torch.where(fine, length, (RETREAT * lengths).clamp(min=LENGTHS[0] * RETREAT))
        better = errors < best_errors
        best = [_where(better, a, b) for a, b in zip(there, best, strict=True)]
        best_slopes = [_where(better, a, b) for a, b in zip(new_slopes, best_slopes, strict=True)]
        best_errors = torch.where(better, errors, best_errors)
        # a tile that went astray goes on from its best place
        here = [_where(fine, a, b) for a, b in zip(there, best, strict=True)]
        slopes = [_where(fine, a, b) for a, b in zip(new_slopes, best_slopes, strict=True)]
    return Descended(Latents(*best), best_errors, before)


def _errors(model: VidTwin, latents: list[Tensor], pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Squared errors of the tiles, and their slopes."""
    inputs = Latents(*(part.detach().requires_grad_(True) for part in latents))
    with torch.enable_grad():
        squares = (model.decode(inputs).clamp(-1, 1) - pixels).square()
        errors = _sums(squares)
        slopes = torch.autograd.grad(errors.sum(), inputs, materialize_grads=True)
    # where a step of the decoder is too steep for float32, the latent stays where it is
    return errors.detach().double(), [torch.nan_to_num(part, nan=0.0, posinf=0.0, neginf=0.0) for part in slopes]


def _products(a: list[Tensor], b: list[Tensor], over: list[Tensor] | None = None) -> Tensor:
    """Inner product of each tile; with ``over``, of what the scales divide (channels that do not move left out)."""
    total = torch.zeros(len(a[0]), dtype=torch.float64, device=a[0].device)
    for number, (left, right) in enumerate(zip(a, b, strict=True)):
        product = left.double() * right.double()
        if over is not None:
            product = torch.where(over[number] > 0, product / over[number], 0.0)
        total += _sums(product)
    return total


def _sums(values: Tensor) -> Tensor:
    """Of each tile, one axis after the other: the sum of a whole tile at once depends on the number of threads."""
    while values.ndim > 1:
        values = values.sum(dim=-1)
    return values


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).view(-1, *(1,) * (like.ndim - 1))


def _where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition.view(-1, *(1,) * (a.ndim - 1)), a, b)
