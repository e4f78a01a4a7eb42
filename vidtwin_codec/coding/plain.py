"""Plain coders: int8 symbols in one order or another, large ones as escapes. zstd then packs them.

Body: one int8 for each symbol, -128 standing for "escaped"; then three byte planes (low, middle, high) with one
24-bit number for each escape, in the order of the escapes: ``2 * (|symbol| - 128)``, plus 1 for a negative symbol.
Planes keep the nearly constant high bytes together, where they pack to almost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.allowance import Cost
from vidtwin_codec.coding.layout import LatentArrays, LatentLayout
from vidtwin_codec.coding.order import Order, from_sequence, to_sequence
from vidtwin_codec.coding.quantizer import MAX_SYMBOL

ESCAPE = -128
MAX_INLINE = 127
_PLANES = 3


@dataclass(frozen=True)
class PlainCoder:
    """Codes symbols as bytes that zstd packs well, and decodes them."""

    id: int
    name: str
    order: Order

    def max_body(self, elements: int) -> int:
        """Return the most bytes that ``elements`` symbols can take: every one of them escaped."""
        return elements * (1 + _PLANES)

    def fits(self, layout: LatentLayout, clips: int) -> bool:
        """Return True: plain coders code any group."""
        del layout, clips
        return True

    def cost(self, layout: LatentLayout, clips: int, tiles: int, size: int) -> Cost:
        """Return 40 ns a byte; two int32 a symbol, and four more for each escape."""
        symbols = clips * tiles * layout.elements
        return Cost(40 * max(symbols, size), 9 * symbols + 16 * max(0, size - symbols) + size)

    def encode(self, symbols: LatentArrays, layout: LatentLayout, clips: int, tiles: int) -> bytes:
        """Return the body for symbols of N = clips * tiles inputs within +-`MAX_SYMBOL`."""
        del layout  # the arrays carry their shapes
        sequence = to_sequence(symbols, self.order, clips, tiles)
        large = np.abs(sequence) > MAX_INLINE
        inline = np.where(large, ESCAPE, sequence).astype(np.int8)
        return inline.tobytes() + _pack_escapes(sequence[large])

    def decode(self, body: memoryview, layout: LatentLayout, clips: int, tiles: int) -> LatentArrays:
        """Return the symbols of a body.

        Raises:
            ValueError: the length does not fit, or an escape is not one that `encode` writes.
        """
        elements = clips * tiles * layout.elements
        if len(body) < elements:
            raise ValueError(f"holds {len(body)} bytes for {elements} symbols")
        inline = np.frombuffer(body, dtype=np.int8, count=elements)
        places = np.flatnonzero(inline == ESCAPE)
        if len(body) != elements + _PLANES * places.size:
            raise ValueError(f"holds {len(body)} bytes, expected {elements + _PLANES * places.size}")
        sequence = inline.astype(np.int32)
        sequence[places] = _unpack_escapes(body[elements:])
        return from_sequence(sequence, layout, self.order, clips, tiles)


def _pack_escapes(values: NDArray[np.int32]) -> bytes:
    numbers = (2 * (np.abs(values) - (MAX_INLINE + 1)) + (values < 0)).astype(np.uint32)
    return b"".join((numbers >> shift & 0xFF).astype(np.uint8).tobytes() for shift in (0, 8, 16))


def _unpack_escapes(data: memoryview) -> NDArray[np.int32]:
    planes = np.frombuffer(data, dtype=np.uint8).reshape(_PLANES, -1).astype(np.int32)
    numbers = planes[0] | planes[1] << 8 | planes[2] << 16
    magnitudes = (numbers >> 1) + (MAX_INLINE + 1)
    if magnitudes.size and int(magnitudes.max()) > MAX_SYMBOL:
        raise ValueError("an escaped symbol is out of range")
    values: NDArray[np.int32] = np.where(numbers & 1, -magnitudes, magnitudes).astype(np.int32)
    return values
