"""Raw bits of different widths, packed one after another, starting with the lowest bit of each byte."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.context.tokens import Ints

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
