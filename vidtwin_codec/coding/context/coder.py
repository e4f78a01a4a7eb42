"""The body that the context coder writes: scales, states and words of the rANS coder, raw bits."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.allowance import Cost
from vidtwin_codec.coding.context import planes, scales
from vidtwin_codec.coding.context.model import Model
from vidtwin_codec.coding.context.rans import MAX_STATES_BITS, TOO_SLOW, RansDecoder, RansEncoder
from vidtwin_codec.coding.context.tokens import DIRECT, EXTRA_BITS, MOST_EXTRA_BITS, Ints, detokenize, tokenize
from vidtwin_codec.coding.layout import LatentArrays, LatentLayout
from vidtwin_codec.coding.quantizer import MAX_SYMBOL

MAX_WIDTH = 24
_READ_BYTES = 4  # hold MAX_WIDTH bits wherever in a byte they begin


class BitWriter:
    """Collects numbers of any width in bits; `finish` packs them."""

    def __init__(self) -> None:
        self._bits: list[NDArray[np.uint8]] = []

    def put(self, values: Ints, widths: Ints) -> None:
        """Append the low bits of each value, ``widths`` (0 to `MAX_WIDTH`) of them, lowest bit first."""
        starts = widths.cumsum() - widths
        places = np.arange(int(widths.sum())) - np.repeat(starts, widths)
        self._bits.append((np.repeat(values, widths) >> places & 1).astype(np.uint8))

    def finish(self) -> bytes:
        """Return all bits as bytes, the last byte padded with zeros."""
        return np.packbits(np.concatenate(self._bits), bitorder="little").tobytes() if self._bits else b""


class BitReader:
    """Reads what a `BitWriter` wrote."""

    def __init__(self, data: bytes) -> None:
        self._data: NDArray[np.uint8] = np.frombuffer(data + bytes(_READ_BYTES), dtype=np.uint8)
        self._size = 8 * len(data)
        self._at = 0

    def take(self, widths: Ints) -> Ints:
        """Return the next values, one for each width.

        Raises:
            ValueError: the data end first.
        """
        ends = self._at + widths.cumsum()
        starts = ends - widths
        if ends.size:
            self._at = int(ends[-1])
        if self._at > self._size:
            raise ValueError("the plain bits end too early")
        found: Ints = self._words(starts >> 3) >> (starts & 7) & (1 << widths) - 1
        return found

    def finish(self) -> None:
        """Check that only the padding of the last byte is left.

        Raises:
            ValueError: more than padding is left, or the padding is not zero.
        """
        rest = self._size - self._at
        if rest >= 8 or (rest and int(self._data[self._at >> 3]) >> (self._at & 7)):
            raise ValueError("plain bits are left over")

    def _words(self, places: Ints) -> Ints:
        """Return the 64-bit number that begins at each of these bytes."""
        words = self._data[places].astype(np.int64)
        for place in range(1, _READ_BYTES):
            words |= self._data[places + place].astype(np.int64) << 8 * place
        return words


_SIZES = struct.Struct("<BI")  # states as a power of two, words
# A row of the walk costs some 0.1 ms however few symbols it has. Ten seconds of video have some 5000 rows; a file that
# asks for fifty times as many only wants to keep the reader busy.
MAX_ROWS = 1 << 18


@dataclass(frozen=True)
class ContextCoder:
    """Codes symbols to bytes that zstd cannot make smaller, and decodes them."""

    id: int
    name: str

    def max_body(self, elements: int) -> int:
        """Return the most bytes for ``elements`` symbols: 15 bits for the rarest token, 23 raw bits, and all fields."""
        return 6 * elements + 64

    def fits(self, layout: LatentLayout, clips: int) -> bool:
        """Return whether a group of ``clips`` clips has at most `MAX_ROWS` rows."""
        return _rows(layout, clips) <= MAX_ROWS

    def cost(self, layout: LatentLayout, clips: int, tiles: int, size: int) -> Cost:
        """Return 0.1 ms a row and 0.2 µs a symbol; 8 bytes a symbol, and 64 more for each symbol of one step."""
        step = tiles * layout.elements
        return Cost(100_000 * _rows(layout, clips) + 200 * clips * step, (8 * clips + 64) * step + 8 * size)

    def encode(self, symbols: LatentArrays, layout: LatentLayout, clips: int, tiles: int) -> bytes:
        """Return the body for symbols of N = clips * tiles inputs within +-`MAX_SYMBOL`."""
        parts = planes.split(symbols, layout, clips, tiles)
        head = scales.to_bytes(scales.measure(parts, layout.channels))
        sizes = scales.from_bytes(head, layout.channels)
        coder, bits = RansEncoder(), BitWriter()
        for plane in parts:
            model = Model(plane, sizes)
            for residuals, contexts in model.walk_known():
                tokens, extra = tokenize(residuals)
                coder.put(*model.tables.intervals(contexts, tokens))
                model.tables.learn(contexts, tokens)
                large = tokens >= DIRECT
                if large.any():
                    bits.put(extra[large], EXTRA_BITS[tokens[large]])
        states, words = coder.finish()
        start = head + _SIZES.pack(len(states).bit_length() - 1, len(words))
        return b"".join((start, states.astype("<u4").tobytes(), words.astype("<u2").tobytes(), bits.finish()))

    def decode(self, body: memoryview, layout: LatentLayout, clips: int, tiles: int) -> LatentArrays:
        """Return the symbols of a body.

        Raises:
            ValueError: the body is not what `encode` writes.
        """
        if not self.fits(layout, clips):
            raise ValueError(f"claims {_rows(layout, clips)} rows, at most {MAX_ROWS} are allowed")
        states_at = scales.byte_count(layout.channels) + _SIZES.size
        if len(body) < states_at:
            raise ValueError(f"holds {len(body)} bytes, fewer than its {states_at} bytes of sizes")
        states_bits, words = _SIZES.unpack_from(body, states_at - _SIZES.size)
        symbols = clips * tiles * layout.elements
        if states_bits > MAX_STATES_BITS or symbols > TOO_SLOW << states_bits:
            raise ValueError(f"has 2 ** {states_bits} states for {symbols} symbols")
        words_at = states_at + (4 << states_bits)
        bits_at = words_at + 2 * words
        if len(body) < bits_at:
            raise ValueError(f"holds {len(body)} bytes, expected {bits_at} or more")
        # a token takes one word at most, and has at most this many raw bits
        if words > symbols or len(body) - bits_at > (MOST_EXTRA_BITS * symbols + 7) // 8:
            raise ValueError(f"holds {len(body)} bytes for {symbols} symbols")
        sizes = scales.from_bytes(bytes(body[: states_at - _SIZES.size]), layout.channels)
        coder = RansDecoder(
            np.frombuffer(body[states_at:words_at], dtype="<u4"), np.frombuffer(body[words_at:bits_at], dtype="<u2")
        )
        bits = BitReader(bytes(body[bits_at:]))
        parts = planes.empty(layout, clips, tiles)
        for plane in parts:
            _fill(plane, Model(plane, sizes), coder, bits)
        coder.finish()
        bits.finish()
        return planes.join(parts, layout, clips, tiles)


def _fill(plane: planes.Plane, model: Model, coder: RansDecoder, bits: BitReader) -> None:
    for _, values, guesses, contexts, _ in model.walk():
        tokens = coder.take(model.tables, contexts)
        model.tables.learn(contexts, tokens)
        extra = np.zeros_like(tokens)
        large = tokens >= DIRECT
        if large.any():
            extra[large] = bits.take(EXTRA_BITS[tokens[large]])
        found = guesses + detokenize(tokens, extra)
        if int(np.abs(found).max()) > MAX_SYMBOL:
            raise ValueError("a symbol is out of range")
        values[:] = found


def _rows(layout: LatentLayout, clips: int) -> int:
    slots, _, _, channels = layout.structure
    return clips * (slots * channels + layout.dynamics_x[0] * layout.dynamics_x[1])
