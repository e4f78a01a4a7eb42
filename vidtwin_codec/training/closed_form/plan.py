"""What each query slot and each frame of the dynamics carries, and where.

Places of the picture are of a few kinds, from those where nothing moves to those where everything does: where nothing
moves, detail is worth more than motion. Slot i holds d_S numbers of a place: principal components of what stands still
(the mean over frames), or DCT coefficients of what moves, of two temporal frequencies that belong to the slot. Which
of them is chosen for every kind anew; what kind a place is, is told to the decoder in one more number for each step
from a kind to the next.

Frame i of the dynamics holds d_D further components, as means over rows and over columns, of what slot i could carry
and does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Kinds(NamedTuple):
    """Kinds of places from the ``first`` to the ``last``; 0 is the stillest."""

    first: int
    last: int


class Table(NamedTuple):
    """One temporal frequency for each slot, 0 for none, of the first ``components`` motion components."""

    frequencies: tuple[int, ...]
    components: int


class Term(NamedTuple):
    """One coefficient.

    Attributes:
        component: its number.
        table: of a motion component, which table gives its frequency; None: of a patch component that stands still.
        kinds: of places that carry it.
    """

    component: int
    table: int | None
    kinds: Kinds


class Flag(NamedTuple):
    """Where a switch is told: a slot and a channel of it."""

    slot: int
    channel: int


@dataclass(frozen=True)
class SlotPlan:
    """Which numbers of the 3-D transform the latents are.

    Attributes:
        tables: of frequencies; later ones are of fewer components.
        structure: for each slot and channel the terms, of which a place carries one at most.
        dynamics: for each frame the terms of its first channels; the rest carry nothing.
        flags: of each switch; switch k is on where a place's kind is above k.
        still: patch components in use.
    """

    tables: tuple[Table, ...]
    structure: tuple[tuple[tuple[Term, ...], ...], ...]
    dynamics: tuple[tuple[Term, ...], ...]
    flags: tuple[Flag, ...]
    still: int

    @property
    def kinds(self) -> int:
        """How many kinds of places there are."""
        return len(self.flags) + 1

    @property
    def moving(self) -> int:
        """Channels that the motion components of all tables take."""
        return sum(table.components for table in self.tables)

    def channel(self, table: int, component: int) -> int:
        """Which of those channels is ``component``'s."""
        return sum(one.components for one in self.tables[:table]) + component

    def frequency(self, term: Term, slot: int) -> int:
        """Of a term in a slot, or in the frame of the same number; 0 where it stands still."""
        return 0 if term.table is None else self.tables[term.table].frequencies[slot]
