"""Rate–distortion optimised quantisation in the context coder's own walk.

Rounding each latent to the nearest symbol is best for distortion alone. Here each symbol is the one of least
``error + rate_weight · bits`` among a few candidates: the two whole numbers around the latent, the next one towards the
prediction, the prediction itself, and zero. The bits are those that the coder's adaptive tables ask for at that very
moment, since the choice is made where the coder stands. What a symbol does to later contexts is not looked at; a
repetition starts from magnitudes that are already smaller, as are then the scales of the channels.

Source: rate–distortion optimised quantisation as in the encoders of H.264 and HEVC (M. Karczewicz, Y. Ye and I. Chong,
"Rate distortion optimized quantization", ITU-T VCEG-AH21, 2008), without a trellis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.context import planes, scales
from vidtwin_codec.coding.context.model import Model
from vidtwin_codec.coding.context.tables import PRECISION
from vidtwin_codec.coding.context.tokens import EXTRA_BITS, Ints, tokenize
from vidtwin_codec.coding.layout import LatentArrays, LatentLayout
from vidtwin_codec.coding.quantizer import MAX_SYMBOL

Floats = NDArray[np.floating]


class Choice(NamedTuple):
    """What was chosen.

    Attributes:
        symbols: int32, shapes of `LatentArrays`.
        bits: that the coder's model asks for, without what stands before the symbols.
    """

    symbols: LatentArrays
    bits: float


@dataclass(frozen=True, eq=False)
class Chooser:
    """Chooses symbols for coder 3.

    Args:
        layout: shapes of one network input's latents.
        clips: of the group.
        tiles: of each clip.
    """

    layout: LatentLayout
    clips: int
    tiles: int

    def choose(self, ratios: LatentArrays, weights: LatentArrays, start: LatentArrays) -> Choice:
        """Symbols of least cost ``Σ weight · (ratio − symbol)² + bits``, decided one after the other.

        Args:
            ratios: latents over their steps, floats within +-`MAX_SYMBOL`, N = clips · tiles.
            weights: what a squared error of one symbol costs, in bits; broadcast against ``ratios``. Infinite keeps the
                nearest symbol.
            start: symbols to measure the channels' scales on, such as the nearest ones.
        """
        sizes = self._sizes(start)
        wanted = planes.split(_floats(ratios), self.layout, self.clips, self.tiles)
        prices = planes.split(_floats(weights, ratios), self.layout, self.clips, self.tiles)
        chosen = planes.empty(self.layout, self.clips, self.tiles)
        bits = 0.0
        for plane, want, price in zip(chosen, wanted, prices, strict=True):
            flat = zip(_rows(want.values), _rows(price.values), strict=True)
            model = Model(plane, sizes)
            for (values, guesses, contexts), (row, weight) in zip(model.walk(), flat, strict=True):
                bits += _choose_row(model, values, guesses, contexts, row, weight)
        return Choice(planes.join(chosen, self.layout, self.clips, self.tiles), bits)

    def _sizes(self, symbols: LatentArrays) -> Ints:
        parts = planes.split(symbols, self.layout, self.clips, self.tiles)
        return scales.from_bytes(scales.to_bytes(scales.measure(parts, self.layout.channels)), self.layout.channels)


def _choose_row(
    model: Model, values: NDArray[np.int32], guesses: Ints, contexts: Ints, wanted: Floats, weights: Floats
) -> float:
    wanted, weights = wanted.astype(np.float64), weights.astype(np.float64)
    nearest = np.rint(wanted).astype(np.int64)
    inward = nearest - np.sign(nearest)
    towards = nearest + np.sign(guesses - nearest)
    candidates = np.stack([nearest, inward, towards, guesses, np.zeros_like(nearest)])
    np.clip(candidates, -MAX_SYMBOL, MAX_SYMBOL, out=candidates)
    tokens, _ = tokenize(candidates - guesses)
    _, frequencies = model.tables.intervals(contexts, tokens)
    bits = PRECISION - np.log2(frequencies) + EXTRA_BITS[tokens]
    # infinity · 0 is not a number: the nearest symbol's own error is always allowed
    errors = (candidates - wanted) ** 2
    with np.errstate(invalid="ignore"):
        costs = (errors - errors[0]) * weights + bits
    costs[0] = bits[0]
    costs[np.isnan(costs)] = np.inf
    best = costs.argmin(axis=0)
    everywhere = np.arange(len(best))
    values[:] = candidates[best, everywhere]
    model.tables.learn(contexts, tokens[best, everywhere])
    return float(bits[best, everywhere].sum())


def _rows(values: NDArray[Any]) -> Floats:
    return values.reshape(-1, values.shape[2])


def _floats(arrays: LatentArrays, like: LatentArrays | None = None) -> LatentArrays:
    shapes = like or arrays
    return LatentArrays(
        *(np.broadcast_to(np.asarray(a, dtype=np.float32), b.shape) for a, b in zip(arrays, shapes, strict=True))
    )
