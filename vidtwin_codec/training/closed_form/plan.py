"""What each query slot and each frame of the dynamics carries, and when.

Slot i holds d_S numbers of a patch position. In some slots they are principal components of what stands still (the
mean over frames), in some DCT coefficients of one temporal frequency f(i) of what moves; but most slots can hold
either, and switch position by position: where nothing moves, detail is worth more than motion. The switching slots
form groups, each with one switch, told to the decoder as one more number.

Frame i of the dynamics has no time of its own: it holds d_D further components, as means over rows and over columns,
of what slot i's neighbours leave out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Switch(NamedTuple):
    """A condition on a position: whether group ``group`` carries motion there."""

    group: int
    moves: bool


class Term(NamedTuple):
    """One coefficient.

    Attributes:
        moving: a motion component at the slot's frequency, not a patch component of the mean over frames.
        component: its number.
        when: where it is carried; None everywhere.
    """

    moving: bool
    component: int
    when: Switch | None = None


class Flag(NamedTuple):
    """Where a group's switch is told: a slot and a channel of it."""

    slot: int
    channel: int


@dataclass(frozen=True)
class SlotPlan:
    """Which numbers of the 3-D transform the latents are.

    Attributes:
        frequencies: of the motion that each slot (and the frame of that number) may carry; 0 for none.
        structure: for each slot and channel the terms, of which at most one is carried at a time.
        dynamics: for each frame the terms of its first channels; the rest carry nothing.
        flags: of each group.
        still: patch components in use.
        moving: motion components in use.
    """

    frequencies: tuple[int, ...]
    structure: tuple[tuple[tuple[Term, ...], ...], ...]
    dynamics: tuple[tuple[Term, ...], ...]
    flags: tuple[Flag, ...]
    still: int
    moving: int
