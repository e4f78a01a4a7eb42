"""Rate–distortion optimised quantisation: fewer bits for errors that hardly show."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vidtwin_codec.coding import LatentArrays, LatentLayout, Steps, quality_scale, quantize
from vidtwin_codec.coding.context.choosing import Choice, Chooser
from vidtwin_codec.coding.quantizer import MAX_SYMBOL, broadcast_steps

STRENGTH = 0.5
"""Of the trade of distortion for rate. 1 is the slope of a uniform quantiser's curve at high rate, where a bit quarters
the error: 2 ln 2 · step² / 12. More than this gains bytes at fine steps and loses them at coarse ones."""
EXCHANGE = 3.0
"""Bits that a bit counts when refined latents are weighed against what they were. Along the quality scale a bit buys
about three times the error that the choice of single symbols trades for it, so a refinement that costs bits must do
better than those choices."""
STEP_SHARE = 0.9
"""Of a quality's steps, where symbols are chosen: choosing adds error, finer steps take some of it away again, so that
a quality looks about the same at every effort."""


class Alternative(NamedTuple):
    """Other latents to code a group with.

    Attributes:
        latents: shapes of `LatentArrays`.
        error: how much larger the pixels' squared error is with them than with the latents they are an alternative to,
            neither quantised; summed over tiles, in [-1, 1].
    """

    latents: LatentArrays
    error: float


def quality_steps(base: Steps, quality: float, passes: int) -> Steps:
    """Steps of a quality, for :func:`choose_symbols` with so many passes."""
    return base.scaled(quality_scale(quality) * (STEP_SHARE if passes else 1.0))


def choose_symbols(
    latents: LatentArrays,
    steps: Steps,
    layout: LatentLayout,
    *,
    clips: int,
    tiles: int,
    passes: int,
    sensitivity: LatentArrays | None = None,
    alternative: Alternative | None = None,
) -> LatentArrays:
    """Symbols of a group, int32, as :func:`~vidtwin_codec.coding.quantize` gives them but cheaper to code.

    Args:
        latents: of N = clips · tiles inputs.
        steps: one per channel.
        layout: shapes of one input's latents.
        clips: of the group. tiles: of each clip.
        passes: over the symbols, each with the scales of the one before; 0 rounds to the nearest.
        sensitivity: what a squared error of a latent does to the picture, shaped to broadcast; None: an error of one
            step counts the same in all channels.
        alternative: coded instead where that costs less, error and bits together. Only beside ``sensitivity``.

    Raises:
        VidtwinError: a latent is NaN or infinite.
    """
    nearest = quantize(latents, steps)
    if passes == 0:
        return nearest
    prices = _prices(steps, sensitivity, layout)

    def choose(ratios: LatentArrays, start: LatentArrays) -> tuple[LatentArrays, float]:
        chooser, choice = Chooser(layout, clips, tiles), Choice(start, 0.0)
        for _ in range(passes):
            choice = chooser.choose(ratios, prices.symbols, choice.symbols)
        parts = zip(ratios, choice.symbols, prices.symbols, strict=True)
        error = sum(float((price * (want - symbol) ** 2).sum()) for want, symbol, price in parts)
        return choice.symbols, error + EXCHANGE * choice.bits

    symbols, cost = choose(_ratios(latents, steps), nearest)
    if alternative is None:
        return symbols
    others, other_cost = choose(_ratios(alternative.latents, steps), quantize(alternative.latents, steps))
    return others if other_cost + prices.pixels * alternative.error < cost else symbols


class _Prices(NamedTuple):
    """What squared errors cost in bits: of one symbol, shaped to broadcast against latents, and of the pixels."""

    symbols: LatentArrays
    pixels: float


def _prices(steps: Steps, sensitivity: LatentArrays | None, layout: LatentLayout) -> _Prices:
    rate = 12 / (2 * math.log(2) * STRENGTH)
    wide = broadcast_steps(steps)
    if sensitivity is None:
        return _Prices(LatentArrays(*(np.full_like(step[None], rate, dtype=np.float64) for step in wide)), 0.0)
    errors = [np.float64(part) * step.astype(np.float64) ** 2 for part, step in zip(sensitivity, wide, strict=True)]
    # the usual channel sets the rate; one that the decoder does not look at costs nothing and says nothing
    logs, count = 0.0, 0.0
    for shape, part in zip(layout.shapes(), errors, strict=True):
        heard, places = part[part > 0], math.prod(shape) / part.size
        logs += places * float(np.log(heard).sum())
        count += places * heard.size
    price = rate / math.exp(logs / count) if count else 0.0
    return _Prices(LatentArrays(*(price * part for part in errors)), price)


def _ratios(latents: LatentArrays, steps: Steps) -> LatentArrays:
    pairs = zip(latents, broadcast_steps(steps), strict=True)
    return LatentArrays(*(np.clip(part / step, -MAX_SYMBOL, MAX_SYMBOL) for part, step in pairs))
