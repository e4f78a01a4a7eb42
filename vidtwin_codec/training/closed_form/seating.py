"""Which terms fit into the slots together.

A term of what stands still fits into every slot, a motion term only into slots of its frequency. The sets that fit are
the independent sets of a transversal matroid, so taking terms from the most valuable on, and moving others to make room
where that helps (augmenting paths), finds the most valuable set there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Coefficient(NamedTuple):
    """Of the 3-D transform: temporal frequency (0: of what stands still) and spatial component."""

    frequency: int
    component: int


class Seating(NamedTuple):
    """The value of all that is seated, and what sits in each slot, in the order of value."""

    value: float
    slots: list[list[Coefficient]]


class Seats:
    """Slots and what they may hold."""

    def __init__(self, tables: Sequence[Sequence[int]], components: Sequence[int], still: int) -> None:
        """``tables`` of frequencies for each slot, each for the first so many motion ``components``."""
        self.components, self.still = components, still
        self._slots = range(len(tables[0]))
        self._open: dict[tuple[int, int], list[int]] = {}
        for frequency in {f for table in tables for f in table} - {0}:
            for reach in range(1, len(tables) + 1):
                self._open[frequency, reach] = [
                    slot for slot in self._slots if frequency in (table[slot] for table in tables[:reach])
                ]

    def allowed(self, one: Coefficient) -> Sequence[int]:
        """Slots that may hold it."""
        if one.frequency == 0:
            return self._slots if one.component < self.still else ()
        return self._open.get((one.frequency, self._reach(one)), ())

    def _reach(self, one: Coefficient) -> int:
        """Tables that include the component."""
        return sum(one.component < number for number in self.components)

    def fill(
        self,
        values: NDArray[np.float64],
        capacity: Sequence[int],
        before: Mapping[Coefficient, int] | None = None,
    ) -> Seating:
        """The most valuable set of coefficients that fits.

        Args:
            values: ``[T, components]``, what each is worth; nothing at 0 or below.
            capacity: of each slot.
            before: where coefficients sit if they can.
        """
        width, before = values.shape[1], before or {}
        flat = values.ravel()
        seated: list[list[Coefficient]] = [[] for _ in capacity]
        full: set[tuple[int, int]] = set()
        total, left = 0.0, sum(capacity)
        for index in np.argsort(-flat, kind="stable"):
            if left == 0 or flat[index] <= 0:
                break
            one = Coefficient(*divmod(int(index), width))
            # where one of a sort finds no seat, no other of that sort will
            sort = (one.frequency, self._reach(one) if one.frequency else 0)
            if sort in full:
                continue
            favourite = before.get(one)
            if favourite is not None and len(seated[favourite]) < capacity[favourite]:
                seated[favourite].append(one)
            elif not self._seat(one, seated, capacity, set()):
                if self.allowed(one):
                    full.add(sort)
                continue
            total += float(flat[index])
            left -= 1
        for slot in seated:
            slot.sort(key=lambda one: -values[one])
        return Seating(total, seated)

    def _seat(self, one: Coefficient, seated: list[list[Coefficient]], capacity: Sequence[int], seen: set[int]) -> bool:
        for slot in self.allowed(one):
            if slot in seen:
                continue
            seen.add(slot)
            if len(seated[slot]) < capacity[slot]:
                seated[slot].append(one)
                return True
            for place, other in enumerate(seated[slot]):
                if self._seat(other, seated, capacity, seen):
                    seated[slot][place] = one
                    return True
        return False
