"""Residuals as tokens and extra bits: small values get a token each, large ones share one with their neighbours.

A residual is folded to a whole number (0, -1, 1, -2, ... become 0, 1, 2, 3, ...). Below `DIRECT` the token is the
number. From there on each power of two is cut in `1 << SPLIT` equal parts, one token a part, and the place within the
part is written as raw bits, since it is as good as random. Source: the hybrid integers of JPEG XL
(ISO/IEC 18181-1, Annex C).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.quantizer import MAX_SYMBOL

Ints = NDArray[np.int64]

DIRECT_BITS = 4
DIRECT = 1 << DIRECT_BITS
SPLIT = 1  # bits of the number after its highest one that go into the token
# A difference of two symbols is folded to less than 2 ** 26.
MAX_RESIDUAL = 2 * MAX_SYMBOL
_BITS = (2 * MAX_RESIDUAL).bit_length()
TOKENS = DIRECT + (_BITS - DIRECT_BITS << SPLIT)


class Token(NamedTuple):
    """One token, which stands for the folded numbers ``first`` to ``first + (1 << extra_bits) - 1``."""

    first: int
    extra_bits: int


def _describe(token: int) -> Token:
    if token < DIRECT:
        return Token(token, 0)
    octave, part = divmod(token - DIRECT, 1 << SPLIT)
    extra_bits = octave + DIRECT_BITS - SPLIT
    return Token((1 << SPLIT | part) << extra_bits, extra_bits)


TABLE = tuple(_describe(token) for token in range(TOKENS))
FIRST: Ints = np.array([token.first for token in TABLE], dtype=np.int64)
_SMALL: Ints = np.searchsorted(FIRST, np.arange(1 << 10), side="right") - 1  # a look-up takes a tenth of a search
EXTRA_BITS: Ints = np.array([token.extra_bits for token in TABLE], dtype=np.int64)

MOST_EXTRA_BITS = int(EXTRA_BITS.max())


def fold(residuals: Ints) -> Ints:
    """Map 0, -1, 1, -2, 2 and so on to 0, 1, 2, 3, 4 and so on."""
    return residuals << 1 ^ residuals >> 63


def unfold(numbers: Ints) -> Ints:
    """Map folded numbers to residuals: the inverse of `fold`."""
    return numbers >> 1 ^ -(numbers & 1)


def tokenize(residuals: Ints) -> tuple[Ints, Ints]:
    """Return the token of each residual (within +-`MAX_RESIDUAL`), and its index in the token (`EXTRA_BITS` bits)."""
    numbers = fold(residuals)
    small = numbers.size and int(numbers.max()) < len(_SMALL)
    tokens = _SMALL[numbers] if small else np.searchsorted(FIRST, numbers, side="right") - 1
    return tokens, numbers - FIRST[tokens]


def detokenize(tokens: Ints, extra: Ints) -> Ints:
    """Return the residuals of tokens and extra bits: the inverse of `tokenize`."""
    return unfold(FIRST[tokens] + extra)
