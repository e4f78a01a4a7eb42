"""Deciding from footage what the slots and the dynamics carry."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from torch import Tensor

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwinConfig
from vidtwin_codec.training.closed_form.channels import room
from vidtwin_codec.training.closed_form.components import Footage, Motion, PatchComponents, motion_components
from vidtwin_codec.training.closed_form.kinds import Choice, KindSearch
from vidtwin_codec.training.closed_form.plan import Flag, Kinds, SlotPlan, Table, Term
from vidtwin_codec.training.closed_form.seating import Coefficient, Seating

KINDS = 4
"""Of places, unless told otherwise: five gain nothing on what the embedded weights were fitted on."""
_SECOND_TABLE = 5
"""One in so many of the channels for motion is the second table's: only places where much moves need it, for high
frequencies of few components."""
_NOTHING = 1e-12


class Allocation(NamedTuple):
    """What was found.

    Attributes:
        plan: which numbers the latents are.
        motion: the motion components.
        gains: ``[B, S, switches]``: what a switch that is on gains; where it is positive, it should be.
    """

    plan: SlotPlan
    motion: Motion
    gains: Tensor


def allocate(footage: Footage, components: PatchComponents, config: VidTwinConfig, kinds: int = KINDS) -> Allocation:
    """Plan the latents.

    Args:
        footage: to plan for.
        components: of its patches.
        config: of the network.
        kinds: of places; with one, all places carry the same.

    Raises:
        VidtwinError: that many kinds cannot be told, or the network is too narrow.
    """
    slots, size = config.qformer.num_queries, config.structure_channels
    if not 1 <= kinds <= slots:
        raise VidtwinError(f"{slots} slots cannot tell {kinds} kinds of places", f"between 1 and {slots} will do")
    still = size * slots
    space = room(config, kinds - 1) - 2 * still
    second = space // _SECOND_TABLE
    first = min(space - second, still, len(components.vectors))
    if first <= 0:
        raise VidtwinError(
            f"closed-form weights of {still} components do not fit: the network is too narrow",
            f"it needs {1 - space} more channels",
        )
    motion = motion_components(footage, components, still, first)
    values = _coefficients(footage, components, motion, still)
    # each switch is told in place of a number of one of the last slots
    flags = tuple(Flag(slots - 1 - switch, size - 1) for switch in range(kinds - 1))
    told = {flag.slot for flag in flags}
    capacity = [size - (slot in told) for slot in range(slots)]
    sizes = [first, second] if second else [first]
    search = KindSearch(values.square(), footage.energy * values.shape[1], capacity, sizes, still, kinds)
    choice = search.run()
    if search.used < kinds:
        # footage without so many: what would tell them apart is better spent
        return allocate(footage, components, config, search.used)
    tables = tuple(Table(tuple(table), number) for table, number in zip(choice.tables, sizes, strict=True))
    plan = SlotPlan(tables, (), (), flags, still)
    structure = tuple(_channels(plan, choice.seatings, slot, size) for slot in range(slots))
    dynamics = _dynamics(plan, choice, values, config)
    return Allocation(replace(plan, structure=structure, dynamics=dynamics), motion, choice.gains)


def _coefficients(footage: Footage, components: PatchComponents, motion: Motion, still: int) -> Tensor:
    """``[B, S, T, C]`` in pixels: of what stands still at frequency 0, of what moves at the others."""
    spectrum = footage.spectrum
    values = spectrum.new_zeros(*spectrum.shape[:3], still)
    values[:, 0] = spectrum[:, 0, :, :still] * components.deviations[:still]
    for frequency in range(1, spectrum.shape[1]):
        moving = motion.coefficients(footage, frequency) * motion.deviations
        values[:, frequency, :, : moving.shape[2]] = moving
    return values.transpose(1, 2)


def _term(plan: SlotPlan, one: Coefficient, slot: int, kinds: Kinds) -> Term:
    if one.frequency == 0:
        return Term(one.component, None, kinds)
    for number, table in enumerate(plan.tables):
        if table.frequencies[slot] == one.frequency and one.component < table.components:
            return Term(one.component, number, kinds)
    raise AssertionError(f"{one} does not belong into slot {slot}")


def _channels(plan: SlotPlan, seatings: list[Seating], slot: int, size: int) -> tuple[tuple[Term, ...], ...]:
    """A slot's channels. What neighbouring kinds both carry stays in its channel; the rest by value."""
    usable = size - (slot in {flag.slot for flag in plan.flags})
    channels: list[list[Term]] = [[] for _ in range(size)]
    held: list[Coefficient | None] = [None] * usable
    for kind, seating in enumerate(seatings):
        now = seating.slots[slot]
        new = iter([one for one in now if one not in held])
        for channel in range(usable):
            if held[channel] in now and channels[channel]:
                last = channels[channel].pop()
                channels[channel].append(last._replace(kinds=Kinds(last.kinds.first, kind)))
            elif (one := next(new, None)) is not None:
                held[channel] = one
                channels[channel].append(_term(plan, one, slot, Kinds(kind, kind)))
            else:
                held[channel] = None
    return tuple(map(tuple, channels))


def _dynamics(plan: SlotPlan, choice: Choice, values: Tensor, config: VidTwinConfig) -> tuple[tuple[Term, ...], ...]:
    """For every frame, what gains most at places whose structure does not carry it."""
    carried: dict[Coefficient, set[int]] = defaultdict(set)
    for kind, seating in enumerate(choice.seatings):
        for slot in seating.slots:
            for one in slot:
                carried[one].add(kind)
    kind_of = choice.kept.argmax(dim=2)
    gains = np.zeros(values.shape[2:])
    where: dict[Coefficient, Kinds] = {}
    for frequency in range(values.shape[2]):
        for component in range(values.shape[3]):
            one = Coefficient(frequency, component)
            if not choice.seats.allowed(one):
                continue
            for kinds in _runs(plan.kinds, carried[one]):
                there = ((kind_of >= kinds.first) & (kind_of <= kinds.last)).float()
                gain = _marginal_gain(values[..., frequency, component] * there, there, choice.weights, config.grid)
                if gain > gains[one]:
                    gains[one], where[one] = gain, kinds
    seating = choice.seats.fill(gains, [config.dynamics_channels] * len(choice.tables[0]))
    return tuple(tuple(_term(plan, one, slot, where[one]) for one in held) for slot, held in enumerate(seating.slots))


def _runs(kinds: int, without: set[int]) -> list[Kinds]:
    """Runs of kinds, as long as they go, that are not in ``without``."""
    runs: list[Kinds] = []
    for kind in range(kinds):
        if kind in without:
            continue
        if runs and runs[-1].last == kind - 1:
            runs[-1] = Kinds(runs[-1].first, kind)
        else:
            runs.append(Kinds(kind, kind))
    return runs


def _marginal_gain(values: Tensor, where: Tensor, weights: Tensor, grid: tuple[int, int]) -> float:
    """Weighted energy that row and column means give back."""
    image = values.view(-1, *grid)
    half = image.mean((1, 2), keepdim=True) / 2
    seen = (image.mean(1, keepdim=True) - half + image.mean(2, keepdim=True) - half).flatten(1) * where
    both, own = ((weights[:, None] * product).sum() for product in (values * seen, seen.square()))
    return float(both.square() / own.clamp_min(_NOTHING))
