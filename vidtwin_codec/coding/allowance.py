"""Limits on the work and memory that a reader spends on a file that it does not trust.

Compressed bytes may claim any amount of work: a group of black pictures takes a hundred bytes and decodes to a hundred
clips, and so may every hundred bytes of a hostile file. So work is counted, by what a file claims and holds and not by
the clock: a file is judged the same way on every machine.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from vidtwin_codec.errors import VidtwinError

SECOND = 1_000_000_000  # work is in nanoseconds of an ordinary machine, roughly
SMALL_FILE = 1 << 20
SMALL_FILE_WORK = 5 * SECOND
WORK_PER_BYTE = 60_000  # beyond SMALL_FILE; several times what real videos take
SMALL_FILE_MEMORY = 640 << 20
MEMORY_PER_BYTE = 64  # beyond SMALL_FILE
SEARCH_WORK = SECOND
SEARCH_PER_BYTE = 1_000

PER_BYTE = 1  # to unpack or to checksum
PER_READ = 2_000  # a look into the file


class TooMuchWorkError(VidtwinError):
    """A file would take more work or memory to decode than it is allowed."""


class Cost(NamedTuple):
    """The estimated cost of an operation: work in nanoseconds, memory in bytes."""

    work: float
    memory: float = 0


class Allowance:
    """A budget: the work that may still be done, and the memory that may be taken at any time.

    Args:
        work: estimated nanoseconds that may still be spent; None sets no limit.
        memory: estimated bytes that may be taken at once; None sets no limit.
        whole: the larger allowance that this one is a part of, and also spends from.
    """

    def __init__(self, work: float = math.inf, memory: float = math.inf, whole: Allowance | None = None) -> None:
        self._left, self._memory, self._whole = work, memory, whole

    @property
    def left(self) -> float:
        """The estimated nanoseconds that may still be spent."""
        return self._left if self._whole is None else min(self._left, self._whole.left)

    def spend(self, work: float, memory: float = 0) -> None:
        """Count work that is about to be done.

        Args:
            work: estimated nanoseconds.
            memory: estimated bytes.

        Raises:
            TooMuchWorkError: the work or memory exceeds what is left.
        """
        if self._whole is not None:
            self._whole.spend(work, memory)
        self._left -= work
        if self._left < 0 or memory > self._memory:
            kind = "work" if self._left < 0 else "memory"
            raise TooMuchWorkError(f"takes more {kind} than a file of this size is allowed")


UNLIMITED = Allowance()


def for_file(size: int) -> Allowance:
    """Return the allowance for decoding a file of ``size`` bytes."""
    more = max(0, size - SMALL_FILE)
    return Allowance(SMALL_FILE_WORK + WORK_PER_BYTE * more, SMALL_FILE_MEMORY + MEMORY_PER_BYTE * more)


def for_search(size: int, whole: Allowance) -> Allowance:
    """Return the part of ``whole`` for finding undamaged frames in a damaged file of ``size`` bytes."""
    return Allowance(SEARCH_WORK + SEARCH_PER_BYTE * size, whole=whole)
