"""Coder 4, the sparse coder: it codes groups of wide latents, nearly all zero, clip by clip."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.allowance import UNLIMITED, Allowance, Cost
from vidtwin_codec.coding.layout import LatentArrays, LatentLayout
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.coding.quantizer import quantize
from vidtwin_codec.coding.sparse.state import Walk
from vidtwin_codec.coding.steps import Steps
from vidtwin_codec.errors import VidtwinError

if TYPE_CHECKING:
    from vidtwin_codec.coding.sparse.prior import Prior

DEFAULT_PRICE = 1.0
DEFAULT_BONUS = 0.25
DEFAULT_LEAST = 0.55
_MOST_BYTES = 160  # the most bytes that one symbol can take: 14 + 25 decisions of 2 bytes, some flags, 25 raw bits
BUFFER = 32 << 20
# Cost of decoding, in nanoseconds.
_PER_GROUP = 3_000_000
_PER_CLIP = 500_000
_PER_PLACE = 600
_PER_CHANNEL = 1
_PER_RECORD_BYTE = 0.25
_PER_BIT = 200
_NO_LIMIT = 1 << 62


class SparseGroupEncoder:
    """Chooses and codes the symbols of one group, clip by clip.

    Args:
        layout: a layout with patterns.
        tiles: number of network inputs of each clip.
        steps: one step per channel; their medians decide where the models start.
        rdo: whether `add` weighs bits against error; otherwise it rounds to the nearest symbol.
        price: price of a bit in squared error, as a multiple of what a fine uniform quantiser pays.
        bonus: bits added to the cost of each symbol that is not zero, for its effect on later contexts.
        least: latents below this many steps become zero without a trial.
        start: start of the models in place of the format's, to train a prior.

    Attributes:
        clip_bits: bits spent on each clip so far.
    """

    def __init__(
        self, layout: LatentLayout, tiles: int, steps: Steps, *, rdo: bool = True,
        price: float = DEFAULT_PRICE, bonus: float = DEFAULT_BONUS, least: float = DEFAULT_LEAST,
        start: Prior | None = None,
    ) -> None:  # fmt: skip
        from vidtwin_codec.coding.sparse import prior
        from vidtwin_codec.coding.sparse.rdoq import BIT, SCALE, UNIT

        steps.check(layout)
        self._levels = step_levels(steps)
        self._walk = Walk(layout, tiles, self._levels, start or prior.load())
        self._steps, self._rdo = steps, rdo
        self._start = start or prior.load()
        # the slope of a fine uniform quantiser: 2 ln 2 / 12 of a squared step for one bit
        slope = 2 * math.log(2) / 12 * UNIT**2 * SCALE / BIT
        self._tuning = (round(price * slope), round(bonus * BIT), round(least * UNIT))
        self._unit = UNIT
        self._done: list[bytes] = []
        self._bytes = 0
        self._last = 0.0
        self._finished = False
        self._buffer = np.empty(BUFFER, np.uint8)
        self.clip_bits: list[float] = []

    def add(
        self, latents: LatentArrays, placement: Placement | None = None, weights: NDArray[np.float32] | None = None
    ) -> LatentArrays:
        """Choose symbols for one clip, code them, and return them.

        Args:
            latents: floats, N = tiles; with a placement, of its grid.
            placement: the clip's own canvas, only where there is one tile; None is the layout's grid at the origin.
            weights: the share of each patch that is seen, ``[rows, columns]``, 0 to 1, which weights its distortion.
                Nothing is spent where it is 0. Without ``rdo`` weights have no effect.

        Returns:
            The symbols, int32.

        Raises:
            VidtwinError: a latent is NaN or infinite.
            ValueError: a placement or weights that do not fit; see `Placement.check`.
        """
        walk = self._walk
        layout = self._grid(placement)
        layout.check(latents, walk.tiles)
        scales = self._scales(weights, layout)
        if not self._rdo:
            symbols = quantize(latents, self._steps)
            self.add_symbols(symbols, placement)
            return symbols
        lines = quantize(latents._replace(structure=np.zeros((0, *layout.structure), np.float32)), self._steps)
        result = lines._replace(structure=np.zeros((walk.tiles, *layout.structure), np.int32))
        self._code(result, latents.structure, placement, scales)
        return result

    def add_symbols(self, symbols: LatentArrays, placement: Placement | None = None) -> None:
        """Code one clip's symbols as they are.

        Args:
            symbols: int32 within +-`MAX_SYMBOL`, N = tiles; with a placement, of its grid.
            placement: the clip's own canvas; None is the layout's grid at the origin.
        """
        layout = self._grid(placement)
        layout.check(symbols, self._walk.tiles)
        self._code(symbols, None, placement, self._scales(None, layout))

    def finish(self) -> bytes:
        """Return the body. Nothing can be added afterwards."""
        from vidtwin_codec.coding.sparse.binary import HIGH, LOW

        self._finished = True
        low, high = int(self._walk.register[LOW]), int(self._walk.register[HIGH])
        return b"".join((bytes(self._levels), *self._done, ending(low, high)))

    def set_learning(self, pace: int, slowest: int | None = None) -> None:
        """Set how fast weights learn and how many decisions a probability remembers, to train a prior."""
        from vidtwin_codec.coding.sparse.binary import LIMIT, MOST, PACE

        self._walk.work[PACE], self._walk.work[MOST] = pace, slowest or LIMIT

    def models(self) -> Prior:
        """Return the models as they are now, to train a prior."""
        return replace(self._start, states=self._walk.states.copy(), weights=self._walk.weights.copy())

    def _grid(self, placement: Placement | None) -> LatentLayout:
        walk = self._walk
        if placement is None:
            return walk.layout
        if walk.tiles != 1:
            raise ValueError("only a group of one tile has placements")
        placement.check(walk.layout)
        return placement.grid(walk.layout)

    def _scales(self, weights: NDArray[np.float32] | None, layout: LatentLayout) -> NDArray[np.int32]:
        """Return the factor on distortion in each place; a place of which anything is seen has at least 1."""
        from vidtwin_codec.coding.sparse.rdoq import SCALE

        shape = layout.structure[1:3]
        if weights is None:
            return np.full(shape, SCALE, np.int32).reshape(-1)
        if weights.shape != shape or not bool(((weights >= 0) & (weights <= 1)).all()):
            raise ValueError(f"weights must be {shape} numbers from 0 to 1")
        return np.ceil(weights.reshape(-1).astype(np.float64) * SCALE).astype(np.int32)

    def _code(
        self, symbols: LatentArrays, latents: NDArray[Any] | None, placement: Placement | None,
        scales: NDArray[np.int32],
    ) -> None:  # fmt: skip
        from vidtwin_codec.coding.sparse.jit import view
        from vidtwin_codec.coding.sparse.places import CHOOSE, GIVEN

        if self._finished:
            raise ValueError("the group is finished")
        walk = self._walk
        buffer = view(self._buffer)
        walk.next_clip(not self.clip_bits, buffer, placement)
        self._flush()
        slots, height, width, channels = walk.grid.structure
        chunk = max(1, BUFFER // (_MOST_BYTES * slots * channels))
        for tile in range(walk.tiles):
            out = symbols.structure[tile].reshape(-1)
            if latents is None:
                out = np.ascontiguousarray(out, dtype=np.int32)
                source, out = out, np.zeros_like(out)
            else:
                source = self._targets(latents[tile])
            for first in range(0, height * width, chunk):
                span = (first, min(first + chunk, height * width))
                task = GIVEN if latents is None else CHOOSE
                walk.structure(tile, buffer, view(scales), view(source), view(out), span, task, self._tuning)
                self._flush()
            for part, array in enumerate(symbols[1:]):
                walk.dynamics(tile, part, buffer, np.ascontiguousarray(array[tile], dtype=np.int32))
                self._flush()
        low, high = int(walk.register[0]), int(walk.register[1])
        now = 8 * self._bytes + 40 - math.log2(high - low + 1)
        self.clip_bits.append(now - self._last)
        self._last = now

    def _targets(self, latents: NDArray[Any]) -> NDArray[np.int32]:
        if not bool(np.isfinite(latents).all()):
            raise VidtwinError(
                "the network produced latents that are not finite numbers",
                "check the weights with `vidtwin weights verify`, or try `--device cpu`",
            )
        factors = (self._unit / self._steps.structure)[:, None, :].astype(np.float32)
        targets = np.empty(latents.shape, np.int32)
        for target, of_slot, factor in zip(targets, latents, factors, strict=True):  # a slot at a time stays in caches
            values = np.asarray(of_slot, np.float32) * factor
            np.rint(values, out=values)
            target[:] = np.clip(values, -(1 << 28), 1 << 28, out=values)
        return targets.reshape(-1)

    def _flush(self) -> None:
        from vidtwin_codec.coding.sparse.binary import AT

        count = int(self._walk.register[AT])
        self._done.append(self._buffer[:count].tobytes())
        self._bytes += count
        self._walk.register[AT] = 0


class SparseGroupDecoder:
    """Reads a group's symbols, clip by clip.

    Attributes:
        placement: the canvas of the clip that was read last, whose grid its symbols have; None is the layout's grid.

    Args:
        body: the body of the group.
        layout: a layout with patterns.
        clips: number of clips in the group.
        tiles: number of tiles in each clip.
        allowance: the work that may be spent on the bits that are read, beyond `SparseCoder.cost`.

    Raises:
        ValueError: the body is not what the encoder writes; raised on construction or while iterating.
        TooMuchWorkError: the allowance does not suffice; raised on construction or while iterating.
    """

    def __init__(
        self, body: memoryview | bytes, layout: LatentLayout, clips: int, tiles: int, allowance: Allowance = UNLIMITED
    ) -> None:
        from vidtwin_codec.coding.sparse import prior
        from vidtwin_codec.coding.sparse.binary import AT, BYTES, DECODING, END, VALUE

        if len(body) < 2:
            raise ValueError("holds not even two bytes")
        self._allowance = allowance
        data = np.frombuffer(body, np.uint8)
        self.placement: Placement | None = None
        self._clips = clips
        self._coded = 0  # counted so far
        self._buffer = np.concatenate([data[2:], np.zeros(BYTES, np.uint8)])
        self._length = len(data) - 2
        self._walk = Walk(layout, tiles, (int(data[0]), int(data[1])), prior.load())
        register = self._walk.register
        register[DECODING], register[AT], register[END] = 1, BYTES, self._length
        register[VALUE] = int.from_bytes(self._buffer[:BYTES].tobytes(), "big")

    def __iter__(self) -> Iterator[LatentArrays]:
        """Yield the symbols of one clip after the other, int32, N = tiles."""
        from vidtwin_codec.coding.sparse.jit import view
        from vidtwin_codec.coding.sparse.places import DECODE

        walk, buffer = self._walk, view(self._buffer)
        nothing = view(np.zeros(1, np.int32))
        for clip in range(self._clips):
            before = walk.grid
            walk.next_clip(clip == 0, buffer, None)
            layout = walk.grid
            again = 0 if layout is before else _PER_RECORD_BYTE * _memory(layout, walk.tiles)
            self._allowance.spend(again, _memory(layout, walk.tiles))
            self._count()
            arrays = layout.shapes().zeros(walk.tiles)
            wrong = 0
            for tile in range(walk.tiles):
                out, span = view(arrays.structure[tile].reshape(-1)), (0, layout.structure[1] * layout.structure[2])
                wrong += walk.structure(tile, buffer, nothing, nothing, out, span, DECODE, (0, 0, 0))
                wrong += sum(walk.dynamics(tile, part, buffer, arrays[1 + part][tile]) for part in (0, 1))
                if wrong:
                    break
            self._count()
            if wrong:
                raise ValueError("a symbol is out of range, or the body ends early")
            if clip == self._clips - 1:
                self._check_end()
            self.placement = walk.placement
            yield arrays

    def _count(self) -> None:
        """Spend what was coded since the last call, and limit what may be coded up to the next."""
        from vidtwin_codec.coding.sparse.binary import ALLOWED, CODED

        register = self._walk.register
        coded = int(register[CODED])
        self._allowance.spend((coded - self._coded) * _PER_BIT)
        self._coded = coded
        register[ALLOWED] = min(coded + self._allowance.left / _PER_BIT, _NO_LIMIT)

    def _check_end(self) -> None:
        from vidtwin_codec.coding.sparse.binary import AT, BYTES, HIGH, LOW

        register = self._walk.register
        at = int(register[AT]) - BYTES
        end = ending(int(register[LOW]), int(register[HIGH]))
        if self._length != at + len(end) or self._buffer[at : self._length].tobytes() != end:
            raise ValueError("does not end where its last symbol does")


@dataclass(frozen=True)
class SparseCoder:
    """Codes whole groups of symbols, as a `Coder`."""

    id: int
    name: str

    def max_body(self, elements: int) -> int:
        """Return the most bytes for ``elements`` symbols: raw bits, and what models that learn can be wrong by."""
        return 8 * elements + 4096

    def fits(self, layout: LatentLayout, clips: int) -> bool:
        """Return whether the layout has patterns."""
        return layout.patterns is not None

    def cost(self, layout: LatentLayout, clips: int, tiles: int, size: int) -> Cost:
        """Return the cost of a group of zeros; the decoder adds the cost of the bits that it finds."""
        _, height, width, channels = layout.structure
        places = tiles * height * width
        memory = _memory(layout, tiles)
        work = clips * (_PER_CLIP + places * (_PER_PLACE + _PER_CHANNEL * channels))
        return Cost(_PER_GROUP + _PER_RECORD_BYTE * memory + work, memory + size)

    def encode(self, symbols: LatentArrays, layout: LatentLayout, clips: int, tiles: int) -> bytes:
        """Return the body for symbols of N = clips * tiles inputs within +-`MAX_SYMBOL`."""
        encoder = SparseGroupEncoder(layout, tiles, guess_steps(symbols, layout))
        for clip in range(clips):
            encoder.add_symbols(symbols.map(itemgetter(slice(clip * tiles, (clip + 1) * tiles))))
        return encoder.finish()

    def decode(self, body: memoryview, layout: LatentLayout, clips: int, tiles: int) -> LatentArrays:
        """Return the symbols of a body.

        Raises:
            ValueError: the body is not what `encode` writes, or its clips have canvases of their own, which only
                `SparseGroupDecoder` reads.
        """
        decoder, parts = SparseGroupDecoder(body, layout, clips, tiles), []
        for part in decoder:
            if decoder.placement is not None:
                raise ValueError("holds clips on canvases of their own")
            parts.append(part)
        return LatentArrays.concatenate(parts)


def _memory(layout: LatentLayout, tiles: int) -> int:
    """Return the bytes of a clip's symbols, and of the records that the walk keeps of it and of the clip before."""
    from vidtwin_codec.coding.sparse import bands

    assert layout.patterns is not None
    slots, height, width, channels = layout.structure
    record = slots * (channels + len(bands.bands_of(layout.patterns).bands))
    return tiles * (4 * layout.elements + height * width * (2 * record + 8 * channels))


def step_levels(steps: Steps) -> tuple[int, int]:
    """Return the median step of slot 0 and that of the other slots, in eighths of an octave above 2**-15.

    Such a level is a float16 without its 7 lowest bits. Where slot 0 is the only one, both levels are its own.
    """
    first, others = steps.structure[:1], steps.structure[1:] if len(steps.structure) > 1 else steps.structure
    first, others = (np.sort(each.astype("<f2").view("<u2"), axis=None)[each.size // 2] for each in (first, others))
    return int(first) >> 7, int(others) >> 7


def guess_steps(symbols: LatentArrays, layout: LatentLayout) -> Steps:
    """Guess steps with which a typical video would have about as many symbols that are not zero.

    Only the size of the body depends on the guess.
    """
    from vidtwin_codec.coding.sparse import bands, prior

    assert layout.patterns is not None
    slots, _, _, channels = layout.structure
    table = bands.bands_of(layout.patterns).bands
    of_slot = np.minimum(np.arange(slots), 15)
    sizes = 2.0 ** (prior.load().sizes[of_slot][:, table[:, 5]] / 8.0 - 15)
    weight = (table[:, 1] - table[:, 0]) / channels / slots
    share = np.count_nonzero(symbols.structure) / symbols.structure.size
    steps = 2.0 ** (np.arange(8, 248) / 8.0 - 15)
    expected = [float((np.exp(-step / sizes) * weight).sum()) for step in steps]
    step = steps[int(np.argmin(np.abs(np.log((np.array(expected) + 1e-6) / (share + 1e-6)))))]
    return Steps(np.full((slots, channels), step, np.float32), *np.ones((2, layout.dynamics_x[0]), np.float32))


def ending(low: int, high: int) -> bytes:
    """Return the fewest bytes that, followed by zeros, lie within the arithmetic coder's last interval."""
    for count in range(6):
        rest = (1 << (40 - 8 * count)) - 1
        value = (low + rest) & ~rest
        if value <= high:
            return value.to_bytes(6, "big")[1 : 1 + count]
    raise AssertionError("an interval holds at least one number")
