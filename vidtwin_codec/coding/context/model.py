"""The prediction and the context of each symbol, from symbols that encoder and decoder both know.

At each place there are several ways of predicting: 0, or the value a number of steps back (its lag). For each of them
the model keeps a running mean of its errors in the channels coded before, and the way with the least error predicts.
That error, times the channel's scale, is the magnitude expected of the residual. The expected magnitude, the way, and
the size of the first lag's guess relative to it choose the table. So prediction is off where it does not pay, place by
place and without a bit of side information: a still background is predicted while what moves before it is not.

Sources: M. Weinberger, G. Seroussi and G. Sapiro, "The LOCO-I lossless image compression algorithm", IEEE Transactions
on Image Processing 9 (2000), for contexts from the errors around; X. Wu and N. Memon, "Context-based, adaptive,
lossless image coding", IEEE Transactions on Communications 45 (1997), for the error's magnitude as context.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.context.planes import Plane
from vidtwin_codec.coding.context.tables import Tables, starting_counts
from vidtwin_codec.coding.context.tokens import Ints

ERROR_BITS = 8  # running errors are in 256ths of the channel's scale
MEMORY = 3  # a new error weighs 1/8
SCALE_BITS = 2  # scales are in quarters of a symbol
# Expected magnitudes at which the next level begins, in 1024ths of a symbol: half octaves from 1/32 to 3 * 2**10.
LEVELS = tuple((2 + half) << exponent for exponent in range(4, 21) for half in (0, 1))
TRUST = 2  # where a way can first look back, its running errors are divided by 4: most of a picture stands still
SURPRISES = 3  # the foremost guess is under half of the expected error, about it, or over twice it
REBUILD_EVERY = 8  # channels


class Row(NamedTuple):
    """One channel of one step; all arrays are ``[places]``.

    Attributes:
        at: step and channel.
        values: int32, a view of the plane that the caller of the walk fills.
        guesses: the predicted values.
        contexts: the table that codes each residual.
        best: the index of each guess among those of all ways, flat from ``[places, ways]``.
    """

    at: tuple[int, int]
    values: NDArray[np.int32]
    guesses: Ints
    contexts: Ints
    best: Ints


class Rows(NamedTuple):
    """Several channels of one step; all arrays are ``[rows, places]``.

    Attributes:
        residuals: the values minus their guesses.
        contexts: the table that codes each residual.
    """

    residuals: Ints
    contexts: Ints


class Model:
    """The predictions, contexts and tables of one plane, walked in coding order.

    Args:
        plane: the symbols; the walk reads only those before its position.
        scales: the scale of each class, in quarters of a symbol.
        priced: whether the tables also keep the cost of each token.

    Attributes:
        tables: the frequency tables of all contexts.
        guesses: the prediction of each way in the step that :meth:`walk` has reached, ``[channels, places, ways]``.
    """

    def __init__(self, plane: Plane, scales: Ints, *, priced: bool = False) -> None:
        self._plane = plane
        self._scales = scales[plane.classes]
        self._ways = 1 + len(plane.lags)
        middles = (LEVELS[0] // 2, *(low + low // 5 for low in LEVELS))
        self.tables = Tables(np.repeat(starting_counts(middles), self._ways * SURPRISES, axis=0), priced=priced)
        _, channels, places = plane.values.shape
        self.guesses = np.zeros((channels, places, self._ways), dtype=np.int64)

    def walk(self) -> Iterator[Row]:
        """Yield the rows in coding order.

        Before it asks for the next row, the caller fills in the row's values and passes their tokens to `Tables.learn`.
        """
        values, _, lags = self._plane
        steps, channels, places = values.shape
        firsts = self._ways * np.arange(places)
        guesses = self.guesses
        # numpy divides by a number several times faster than by an array of one
        alike = self._scales.shape[1] == 1
        scales = list(self._scales[:, 0] if alike else self._scales[..., None])
        errors = np.full((places, self._ways), _NEVER, dtype=np.int64)
        errors[:, -1] = 1 << ERROR_BITS
        turn = 0
        for step in range(steps):
            for way, lag in enumerate(lags):
                if step >= lag:
                    guesses[..., way] = values[step - lag]
                if step == lag:
                    errors[:, way] = errors[:, -1] >> TRUST
            idle = [way for way, lag in enumerate(lags) if step < lag]
            foremost = _relative(np.abs(guesses[..., 0]), self._scales)
            for channel in range(channels):
                ways = errors.argmin(axis=1)
                best = firsts + ways
                contexts = self._contexts(ways, errors.take(best), foremost[channel], self._scales[channel])
                row = values[step, channel]
                yield Row((step, channel), row, guesses[channel].take(best), contexts, best)
                found = guesses[channel] - row[:, None]
                np.abs(found, out=found)
                found = _relative(found, scales[channel])
                found -= errors
                found >>= MEMORY
                errors += found
                if idle:
                    errors[:, idle] = _NEVER
                turn += 1
                if turn % REBUILD_EVERY == 0:
                    self.tables.rebuild()

    def walk_known(self) -> Iterator[Rows]:
        """Yield the rows of :meth:`walk`, several at a time, for an encoder, which has all values from the start.

        Only the running errors go row by row. Before it asks for more, the caller passes the tokens to `Tables.learn`.
        """
        values, _, lags = self._plane
        steps, channels, places = values.shape
        guesses = np.zeros((self._ways, channels, places), dtype=np.int64)
        errors = np.full((self._ways, places), _NEVER, dtype=np.int64)
        errors[-1] = 1 << ERROR_BITS
        before = np.empty((channels, self._ways, places), dtype=np.int64)  # the errors at each row
        difference = np.empty_like(errors)
        turn = 0
        for step in range(steps):
            for way, lag in enumerate(lags):
                if step >= lag:
                    guesses[way] = values[step - lag]
                if step == lag:
                    errors[way] = errors[-1] >> TRUST
            idle = [way for way, lag in enumerate(lags) if step < lag]
            found = _relative(np.abs(guesses - values[step]), self._scales).swapaxes(0, 1)
            for channel in range(channels):
                before[channel] = errors
                np.subtract(found[channel], errors, out=difference)
                difference >>= MEMORY
                errors += difference
                errors[idle] = _NEVER
            best = before.argmin(axis=1)
            least = np.take_along_axis(before, best[:, None], axis=1)[:, 0]
            foremost = _relative(np.abs(guesses[0]), self._scales)
            contexts = self._contexts(best, least, foremost, self._scales)
            residuals = values[step] - np.take_along_axis(guesses, best[None], axis=0)[0]
            row = 0
            while row < channels:
                end = min(channels, row + REBUILD_EVERY - turn % REBUILD_EVERY)
                yield Rows(residuals[row:end], contexts[row:end])
                turn += end - row
                row = end
                if turn % REBUILD_EVERY == 0:
                    self.tables.rebuild()

    def _contexts(self, ways: Ints, errors: Ints, foremost: Ints, scale: Ints) -> Ints:
        levels = _LEVELS.searchsorted(errors * scale, side="right")
        surprises = (2 * foremost > errors).astype(np.int64) + (foremost > 2 * errors)
        return (levels * self._ways + ways) * SURPRISES + surprises


_NEVER = 1 << 62  # the error of a way that cannot look back yet
_LEVELS: Ints = np.array(LEVELS, dtype=np.int64)


def _relative(magnitudes: Ints, scale: Ints) -> Ints:
    """Return magnitudes divided by the scale."""
    return (magnitudes << ERROR_BITS + SCALE_BITS) // scale
