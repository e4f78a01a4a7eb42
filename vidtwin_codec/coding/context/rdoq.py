"""Rate–distortion optimised quantisation in the context coder's own walk.

Rounding each latent to the nearest symbol is best for distortion alone. Here each symbol is the one of least
``error + rate_weight · bits`` among a few candidates: the two whole numbers around the latent, the next one towards the
prediction, the prediction itself, and zero. The bits are those that the coder's adaptive tables ask for at that very
moment, since the choice is made while the coder walks. The effect of a symbol on later contexts is ignored; a second
pass starts from magnitudes that are already smaller, and so from smaller scales of the channels.

Source: rate–distortion optimised quantisation as in the encoders of H.264 and HEVC (M. Karczewicz, Y. Ye and I. Chong,
"Rate distortion optimized quantization", ITU-T VCEG-AH21, 2008), without a trellis.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.context import planes, scales
from vidtwin_codec.coding.context.model import Model
from vidtwin_codec.coding.context.tokens import TOKENS, Ints, tokenize
from vidtwin_codec.coding.layout import LatentArrays, LatentLayout

CANDIDATES = 5  # of each symbol


class Choice(NamedTuple):
    """The chosen symbols and what they cost.

    Attributes:
        symbols: int32, shapes of `LatentArrays`.
        bits: their cost by the coder's model, without the fields that precede the symbols in the body.
    """

    symbols: LatentArrays
    bits: float


def rdoq(
    ratios: LatentArrays, weights: LatentArrays, start: LatentArrays, layout: LatentLayout, *, clips: int, tiles: int
) -> Choice:
    """Choose symbols of least cost ``Σ weight · (ratio − symbol)² + bits`` for coder 3, one after the other.

    Args:
        ratios: latents divided by their steps, floats within +-`MAX_SYMBOL`, N = clips · tiles.
        weights: cost of a squared error of one symbol in bits; broadcast against ``ratios``. Infinite keeps the nearest
            symbol.
        start: symbols to measure the channels' scales on, such as the nearest ones.
        layout: shapes of one network input's latents.
        clips: number of clips in the group.
        tiles: number of tiles in each clip.
    """
    measured = scales.measure(planes.split(start, layout, clips, tiles), layout.channels)
    sizes = scales.from_bytes(scales.to_bytes(measured), layout.channels)
    wanted = planes.split(_floats(ratios), layout, clips, tiles)
    prices = planes.split(_floats(weights, ratios), layout, clips, tiles)
    chosen = planes.empty(layout, clips, tiles)
    bits = 0.0
    for plane, want, price in zip(chosen, wanted, prices, strict=True):
        bits += _choose_plane(Model(plane, sizes, priced=True), want.values, price.values)
    return Choice(planes.join(chosen, layout, clips, tiles), bits)


class _Options(NamedTuple):
    """The candidates of one step; all arrays are ``[channels, places · ways, candidates]``.

    Attributes:
        symbols: the candidate symbols, the nearest one first.
        tokens: the token of each candidate's residual.
        costs: the cost of each candidate's squared error, less the cost of the nearest symbol's.
    """

    symbols: Ints
    tokens: Ints
    costs: NDArray[np.float64]


def _choose_plane(model: Model, wanted: NDArray[Any], weights: NDArray[Any]) -> float:
    """Fill the model's plane with chosen symbols and return the bits they cost.

    The candidates depend on earlier steps alone, so they are computed for a whole step at once, for every way of
    predicting. Which way predicts, and what a token costs, is known channel by channel. All arrays have the plane's
    shape, ``[steps, channels, places]``.
    """
    tables = model.tables
    firsts = CANDIDATES * np.arange(wanted.shape[2])
    spent = []
    for (step, channel), values, _, contexts, best in model.walk():
        if channel == 0:
            symbols, tokens, costs = _options(model.guesses, wanted[step], weights[step])
        at = tokens[channel].take(best, axis=0)
        at += (contexts * TOKENS)[:, None]
        prices = tables.bits.take(at)
        choice = (costs[channel].take(best, axis=0) + prices).argmin(axis=1)
        values[:] = symbols[channel].take(best * CANDIDATES + choice)
        choice += firsts
        tables.learn_at(at.take(choice))
        spent.append(prices.take(choice))
    return float(np.concatenate(spent).sum())


def _options(guesses: Ints, wanted: NDArray[Any], weights: NDArray[Any]) -> _Options:
    """Return the candidates for guesses ``[channels, places, ways]`` and ratios ``[channels, places]``."""
    wanted, weights = (part[..., None].astype(np.float64) for part in (wanted, weights))
    nearest = np.rint(wanted).astype(np.int64)
    symbols = np.zeros((*guesses.shape, CANDIDATES), dtype=np.int64)  # the last one is zero
    symbols[..., 0] = nearest
    symbols[..., 1] = nearest - np.sign(nearest)
    symbols[..., 2] = nearest + np.sign(guesses - nearest)
    symbols[..., 3] = guesses
    tokens, _ = tokenize(symbols - guesses[..., None])
    errors = (symbols - wanted[..., None]) ** 2
    # infinity · 0 is not a number: the nearest symbol's own error is always allowed
    with np.errstate(invalid="ignore"):
        costs = (errors - errors[..., :1]) * weights[..., None]
    costs[..., 0] = 0.0
    costs[np.isnan(costs)] = np.inf
    flat = (len(guesses), -1, CANDIDATES)
    return _Options(symbols.reshape(flat), tokens.reshape(flat), costs.reshape(flat))


def _floats(arrays: LatentArrays, like: LatentArrays | None = None) -> LatentArrays:
    return arrays.map(lambda a, b: np.broadcast_to(np.asarray(a, dtype=np.float32), b.shape), like or arrays)
