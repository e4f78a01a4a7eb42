"""Finding kinds of places, what each is to carry, and the slots' frequencies, in turn: each decides the others.

Mean PSNR is a mean of logarithms, so energies count relative to what their clip loses altogether.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidtwin_codec.training.closed_form.seating import Coefficient, Seating, Seats

_TURNS = 8
_SWEEPS = 3
"""Turns that also look for better frequencies; after them only kinds and choices change."""
_SMALL = 1e-6
"""Of a clip's energy: what it loses at the least, so that still clips' weights stay finite."""
_FREE = 2
"""Slots without a frequency in every table: they balance the attention weights of the inverse transform."""

Tables = list[list[int]]


class Choice(NamedTuple):
    """What was found.

    Attributes:
        tables: a frequency for each slot, 0 for none.
        seats: where coefficients fit with these tables.
        seatings: of each kind, what its places carry.
        kept: ``[B, S, kinds]``: the energy a place keeps if it is taken for that kind.
        weights: ``[B]``, what a unit of a clip's energy is worth.
    """

    tables: Tables
    seats: Seats
    seatings: list[Seating]
    kept: Tensor
    weights: Tensor

    @property
    def gains(self) -> Tensor:
        """``[B, S, kinds − 1]``: what taking a place for a kind above k gains over one up to k."""
        above = self.kept.flip(2).cummax(dim=2).values.flip(2)[..., 1:]
        below = self.kept.cummax(dim=2).values[..., :-1]
        return (above - below) * self.weights[:, None, None]


class KindSearch:
    """Alternates between kinds of places and what they carry.

    Args:
        energies: ``[B, S, T, C]`` of all coefficients that may be carried.
        energy: ``[B]`` of a clip, also of what may not.
        capacity: of each slot.
        components: of each table.
        still: patch components that may be carried.
        kinds: how many to find.
    """

    def __init__(
        self, energies: Tensor, energy: Tensor, capacity: list[int], components: list[int], still: int, kinds: int
    ) -> None:
        self.energies, self.energy, self.kinds = energies, energy, kinds
        self.capacity, self.components, self.still = capacity, components, still
        self.floor = float(energy.mean()) * _SMALL
        total = energies.sum((2, 3))
        share = energies[:, :, 1:].sum((2, 3)) / total.clamp_min(self.floor / energies.shape[1])
        marks = torch.linspace(0, 1, kinds + 1)[1:-1].tolist()
        levels = torch.stack([torch.quantile(share.flatten(), mark) for mark in marks]) if marks else torch.zeros(0)
        self.kind = torch.bucketize(share, levels)
        self.weights = 1 / energy.clamp_min(self.floor)
        self.tables: Tables = [[0] * len(capacity) for _ in components]

    def run(self) -> Choice:
        """What the turns come to. Kinds that no place belongs to are still among them; see :meth:`used`."""
        for turn in range(_TURNS):
            values = self._values()
            if turn < _SWEEPS:
                self._choose_frequencies(values)
            seats = self._seats(self.tables)
            seatings = self._seatings(seats, values)
            kept = torch.stack([self._kept(seating) for seating in seatings], dim=2)
            self.kind = kept.argmax(dim=2)
            self.weights = 1 / (self.energy - kept.amax(dim=2).sum(1)).clamp_min(self.floor)
        return Choice(self.tables, seats, seatings, kept, self.weights)

    @property
    def used(self) -> int:
        """Kinds that places belong to."""
        return len(set(self.kind.flatten().tolist()))

    def _values(self) -> list[NDArray[np.float64]]:
        """``[T, C]`` of each kind."""
        found = []
        for kind in range(self.kinds):
            share = self.weights[:, None] * (self.kind == kind)
            found.append(torch.einsum("bs,bstc->tc", share, self.energies).double().numpy())
        return found

    def _seats(self, tables: Tables) -> Seats:
        return Seats(tables, self.components, self.still)

    def _seatings(self, seats: Seats, values: list[NDArray[np.float64]]) -> list[Seating]:
        """Of each kind; what the kind before carries too stays where it was."""
        seatings: list[Seating] = []
        before: dict[Coefficient, int] = {}
        for worth in values:
            seatings.append(seats.fill(worth, self.capacity, before))
            before = {one: slot for slot, held in enumerate(seatings[-1].slots) for one in held}
        return seatings

    def _choose_frequencies(self, values: list[NDArray[np.float64]]) -> None:
        """Change one slot's frequency in one table at a time, as long as it helps."""

        def worth(tables: Tables) -> float:
            seats = self._seats(tables)
            return sum(seats.fill(one, self.capacity).value for one in values)

        best, slots = worth(self.tables), len(self.capacity)
        for slot in range(slots):
            for number in range(len(self.tables)):
                for frequency in range(values[0].shape[0]):
                    tried = [list(table) for table in self.tables]
                    tried[number][slot] = frequency
                    if tried[number].count(0) < min(_FREE, slots - 1):
                        continue
                    if (value := worth(tried)) > best:
                        best, self.tables = value, tried

    def _kept(self, seating: Seating) -> Tensor:
        held = [one for slot in seating.slots for one in slot]
        if not held:
            return torch.zeros(self.energies.shape[:2])
        frequencies, components = zip(*held, strict=True)
        return self.energies[:, :, list(frequencies), list(components)].sum(2)
