"""Interleaved rANS coder: many states side by side, so that numpy codes a whole row of tokens at once.

rANS is the range variant of asymmetric numeral systems. Each state is a whole number from 2**16 to 2**32 - 1 and gives
or takes 16 bits at a time from one common stream. Sources: J. Duda, "Asymmetric numeral systems", arXiv:1311.2540; F.
Giesen, "Interleaved entropy coders", arXiv:1402.3392.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.context.tables import PRECISION, TOTAL, Tables
from vidtwin_codec.coding.context.tokens import Ints

LOWEST = 1 << 16
_WORD_BITS = 16
_LIMIT_BITS = 2 * _WORD_BITS - PRECISION  # a state this far above a token's frequency gives a word first
MAX_STATES_BITS = 16
# Numpy takes some 30 microseconds for a row of states however short, so a long group has more of them. Each costs about
# two bytes, so there is at most one for so many bytes of the group unless that would be too slow.
BYTES_PER_STATE = 768
FEW = 16  # states for which Python's own numbers are faster than numpy's
SLOW = 1 << 14  # symbols of one state
TOO_SLOW = 1 << 16  # a reader refuses what no writer writes


def rows(count: int, states: int) -> list[slice]:
    """Yield slices that cut ``count`` tokens into rows of at most ``states``."""
    return [slice(at, min(at + states, count)) for at in range(0, count, states)]


class RansEncoder:
    """Collects the tokens' intervals in decoding order; `finish` codes them, last one first."""

    def __init__(self) -> None:
        self._blocks: list[tuple[NDArray[np.uint16], NDArray[np.uint16]]] = []

    def put(self, starts: Ints, frequencies: Ints) -> None:
        """Append the intervals of one step's tokens or, as ``[steps, tokens]``, of several steps'."""
        self._blocks.append((np.atleast_2d(starts.astype(np.uint16)), np.atleast_2d(frequencies.astype(np.uint16))))

    def finish(self) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        """Return the states that the decoder begins with (a power of two of them), and the words that it will read."""
        count = 1 << self._choose_states_bits()
        states, words = self._finish_few(count) if count <= FEW else self._finish_many(count)
        return states.astype(np.uint32), words.astype(np.uint16)

    def _finish_many(self, count: int) -> tuple[Ints, Ints]:
        states = np.full(count, LOWEST, dtype=np.int64)
        words: list[Ints] = []
        for starts, narrow in reversed(self._blocks):
            frequencies = narrow.astype(np.int64)
            limits, lacking = frequencies << _LIMIT_BITS, TOTAL - frequencies
            parts = rows(starts.shape[1], count)[::-1]
            for step in range(len(starts) - 1, -1, -1):
                for part in parts:
                    at = step, part
                    words.append(
                        _push(states[: part.stop - part.start], limits[at], frequencies[at], lacking[at], starts[at])
                    )
        # the decoder reads rows in their order, and states of a row in theirs
        return states, np.concatenate(words[::-1])

    def _finish_few(self, count: int) -> tuple[Ints, Ints]:
        """Code token by token in plain Python, with the same result."""
        states = [LOWEST] * count
        words = []
        for starts, frequencies in reversed(self._blocks):
            owners = [place % count for place in range(starts.shape[1])] * len(starts)
            tokens = zip(owners, starts.ravel().tolist(), frequencies.ravel().tolist(), strict=True)
            for owner, start, frequency in reversed(list(tokens)):
                state = states[owner]
                if state >= frequency << _LIMIT_BITS:
                    words.append(state)
                    state >>= _WORD_BITS
                states[owner] = state + state // frequency * (TOTAL - frequency) + start
        return np.array(states), np.array(words[::-1], dtype=np.int64)

    def _choose_states_bits(self) -> int:
        symbols = sum(starts.size for starts, _ in self._blocks)
        bits = sum(PRECISION * part.size - float(np.log2(part).sum()) for _, part in self._blocks)
        wanted = max(symbols / SLOW, bits / 8 / BYTES_PER_STATE, 1)
        return min(math.floor(math.log2(wanted)), MAX_STATES_BITS)


def _push(states: Ints, limits: Ints, frequencies: Ints, lacking: Ints, starts: NDArray[np.uint16]) -> Ints:
    """Code one row into ``states``, in place, and return the words that overflow, in their low bits.

    The new state, ``(state // frequency << PRECISION) + state % frequency + start``, is computed without the
    remainder: ``lacking`` is `TOTAL` minus the frequency.
    """
    full = (states >= limits).nonzero()[0]
    words = states[full]
    states[full] = words >> _WORD_BITS
    states += states // frequencies * lacking
    states += starts
    return words


class RansDecoder:
    """Decodes what an `RansEncoder` wrote.

    Args:
        states: the uint32 states that `RansEncoder.finish` returned.
        words: the uint16 words that it returned.

    Raises:
        ValueError: a state is out of range.
    """

    def __init__(self, states: NDArray[np.uint32], words: NDArray[np.uint16]) -> None:
        self._states = states.astype(np.int64)
        self._words = words.astype(np.int64)
        self._at = 0
        if self._states.size and int(self._states.min()) < LOWEST:
            raise ValueError("a state of the rANS coder is out of range")

    def take(self, tables: Tables, contexts: Ints) -> Ints:
        """Decode the tokens of one step.

        Raises:
            ValueError: the words end too early.
        """
        count = len(self._states)
        if len(contexts) <= count:
            return self._take_row(tables, contexts)
        return np.concatenate([self._take_row(tables, contexts[row]) for row in rows(len(contexts), count)])

    def finish(self) -> None:
        """Check that everything was read and nothing more.

        Raises:
            ValueError: words are left over, or the states do not end where they began.
        """
        if self._at != len(self._words) or bool((self._states != LOWEST).any()):
            raise ValueError("the rANS coder does not end where it should")

    def _take_row(self, tables: Tables, contexts: Ints) -> Ints:
        states = self._states[: len(contexts)]
        slots = states & (TOTAL - 1)
        tokens, rests, frequencies = tables.find(contexts, slots)
        states = frequencies * (states >> PRECISION) + rests
        empty = (states < LOWEST).nonzero()[0]
        if empty.size:
            words = self._words[self._at : self._at + empty.size]
            if len(words) < empty.size:
                raise ValueError("the rANS coder's words end too early")
            self._at += empty.size
            states[empty] = states[empty] << _WORD_BITS | words
        self._states[: len(contexts)] = states
        return tokens
