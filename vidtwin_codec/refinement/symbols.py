"""Rate–distortion optimised quantisation: fewer bits for errors that hardly show."""

from __future__ import annotations

import math

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
    unrefined: LatentArrays | None = None,
) -> LatentArrays:
    """Symbols of a group, int32, as :func:`~vidtwin_codec.coding.quantize` gives them but cheaper to code.

    Args:
        latents: of N = clips · tiles inputs: where there is no error.
        steps: one per channel.
        layout: shapes of one input's latents.
        clips: of the group. tiles: of each clip.
        passes: over the symbols, each with the scales of the one before; 0 rounds to the nearest.
        sensitivity: what a squared error of a latent does to the picture, shaped to broadcast; None: an error of one
            step counts the same in all channels.
        unrefined: other latents to begin from: their symbols are taken if they cost less, error and bits together.

    Raises:
        VidtwinError: a latent is NaN or infinite.
    """
    nearest = quantize(latents, steps)
    if passes == 0:
        return nearest
    chooser = Chooser(layout, clips, tiles)
    prices = _prices(steps, sensitivity, layout)
    ideal = _ratios(latents, steps)
    found = _repeated(chooser, ideal, prices, nearest, passes)
    if unrefined is not None:
        other = _repeated(chooser, _ratios(unrefined, steps), prices, quantize(unrefined, steps), passes)
        found = min(found, other, key=lambda choice: _cost(choice, ideal, prices))
    return found.symbols


def _repeated(chooser: Chooser, ratios: LatentArrays, prices: LatentArrays, start: LatentArrays, passes: int) -> Choice:
    choice = chooser.choose(ratios, prices, start)
    for _ in range(passes - 1):
        choice = chooser.choose(ratios, prices, choice.symbols)
    return choice


def _cost(choice: Choice, ideal: LatentArrays, prices: LatentArrays) -> float:
    parts = zip(ideal, choice.symbols, prices, strict=True)
    return sum(float((price * (want - symbol) ** 2).sum()) for want, symbol, price in parts) + EXCHANGE * choice.bits


def _ratios(latents: LatentArrays, steps: Steps) -> LatentArrays:
    pairs = zip(latents, broadcast_steps(steps), strict=True)
    return LatentArrays(*(np.clip(part / step, -MAX_SYMBOL, MAX_SYMBOL) for part, step in pairs))


def _prices(steps: Steps, sensitivity: LatentArrays | None, layout: LatentLayout) -> LatentArrays:
    """What a squared error of one symbol costs in bits, shaped to broadcast against latents."""
    rate = 12 / (2 * math.log(2) * STRENGTH)
    wide = broadcast_steps(steps)
    if sensitivity is None:
        return LatentArrays(*(np.full_like(step[None], rate, dtype=np.float64) for step in wide))
    errors = [np.float64(part) * step.astype(np.float64) ** 2 for part, step in zip(sensitivity, wide, strict=True)]
    counts = [math.prod(shape) / part[0].size for shape, part in zip(layout.shapes(), errors, strict=True)]
    # the usual channel sets the rate; one that the decoder does not look at costs nothing and says nothing
    logs = [
        (count * np.log(part[part > 0]).sum(), count * (part > 0).sum())
        for count, part in zip(counts, errors, strict=True)
    ]
    weight = sum(number for _, number in logs)
    usual = math.exp(sum(total for total, _ in logs) / weight) if weight else 1.0
    return LatentArrays(*(rate / usual * part for part in errors))
