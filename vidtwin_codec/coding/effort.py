"""``--effort`` for dense latents: symbols rounded, or chosen by rate and distortion in the coder's own walk."""

from __future__ import annotations

import math

import numpy as np

from vidtwin_codec.coding.context.rdoq import rdoq
from vidtwin_codec.coding.layout import LatentArrays, LatentLayout
from vidtwin_codec.coding.quantizer import MAX_SYMBOL, broadcast_steps, quantize
from vidtwin_codec.coding.steps import Steps, quality_scale

DEFAULT_EFFORT = MAX_EFFORT = 1
"""0 rounds every latent to the nearest symbol, 1 chooses symbols by rate and distortion."""
STRENGTH = 0.5
"""Factor on the price of a bit in squared error. 1 is the slope of a uniform quantiser's curve at high rate, where a
bit quarters the error: 2 ln 2 · step² / 12. More than this gains bytes at fine steps and loses them at coarse ones."""
STEP_SHARE = 0.9
"""Factor on a quality's steps where symbols are chosen: choosing adds error, finer steps take some of it away, so that
a quality looks about the same at both efforts."""
_PRICE = 12 / (2 * math.log(2) * STRENGTH)  # bits for a squared error of one step


def quality_steps(base: Steps, quality: float, effort: int) -> Steps:
    """Return the steps of a quality at an effort."""
    return base.scaled(step_factor(quality, effort))


def step_factor(quality: float, effort: int) -> float:
    """Return the factor on the weights' own steps."""
    return quality_scale(quality) * (STEP_SHARE if effort else 1.0)


def choose_symbols(
    latents: LatentArrays, steps: Steps, layout: LatentLayout, *, clips: int, tiles: int, effort: int
) -> LatentArrays:
    """Choose the symbols of a group, int32: those of :func:`~vidtwin_codec.coding.quantize`, or cheaper ones.

    Args:
        latents: latents of N = clips · tiles inputs.
        steps: one step per channel.
        layout: shapes of one input's latents.
        clips: number of clips in the group.
        tiles: number of tiles in each clip.
        effort: 0 rounds to the nearest symbol, 1 chooses by rate and distortion.

    Raises:
        VidtwinError: a latent is NaN or infinite.
    """
    nearest = quantize(latents, steps)
    if not effort:
        return nearest
    wide = broadcast_steps(steps)
    ratios = latents.map(lambda part, step: np.clip(part / step, -MAX_SYMBOL, MAX_SYMBOL), wide)
    prices = LatentArrays(*(np.full_like(step[None], _PRICE) for step in wide))
    return rdoq(ratios, prices, nearest, layout, clips=clips, tiles=tiles).symbols
