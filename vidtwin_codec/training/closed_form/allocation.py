"""Deciding from footage what the slots carry: which runs of components, and where motion is worth more than detail.

Mean PSNR is a mean of logarithms, so energies count relative to what their clip loses altogether. Which slots carry
what and which positions are moving depend on each other; the two are found in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwinConfig
from vidtwin_codec.training.closed_form.channels import room
from vidtwin_codec.training.closed_form.components import Footage, Motion, PatchComponents, motion_components
from vidtwin_codec.training.closed_form.plan import Flag, SlotPlan, Switch, Term

_TURNS = 8
_SMALL = 1e-6
"""Of a clip's energy: what it loses at the least, so that still clips' weights stay finite."""


class Run(NamedTuple):
    """d_S neighbouring motion components of one temporal frequency."""

    frequency: int
    number: int


class Allocation(NamedTuple):
    """What was found.

    Attributes:
        plan: which numbers the latents are.
        motion: the motion components.
        gains: ``[B, S, groups]``: what carrying motion gains over carrying detail, as a share of what the clip loses;
            where it is positive, the switch should be on.
    """

    plan: SlotPlan
    motion: Motion
    gains: Tensor


def default_slots(config: VidTwinConfig) -> tuple[int, ...]:
    """Slots that never move, those of two switches, those that always move: 2, 8, 5, 1 of 16."""
    slots = config.qformer.num_queries
    still, moving = max(1, slots // 8), max(1, slots // 16)
    second = (slots - still - moving) * 5 // 13
    return still, slots - still - moving - second, second, moving


def allocate(footage: Footage, components: PatchComponents, config: VidTwinConfig, slots: Sequence[int]) -> Allocation:
    """Plan the latents.

    Args:
        footage: to plan for.
        components: of its patches.
        config: of the network.
        slots: how many always carry what stands still, how many switch together first, second …, how many always
            carry motion.

    Raises:
        VidtwinError: the slots do not add up, or the network is too narrow for them.
    """
    if len(slots) < 2 or min(slots) < 0 or slots[0] < 1 or sum(slots) != config.qformer.num_queries:
        raise VidtwinError(
            f"{list(slots)} does not share out {config.qformer.num_queries} slots",
            "the first is for what stands still and needs one, the last for what always moves",
        )
    slots = [slots[0], *filter(None, slots[1:-1]), slots[-1]]
    size, groups = config.structure_channels, len(slots) - 2
    still = size * (sum(slots) - slots[-1])
    space = room(config, groups) - 2 * still
    head = min(config.encoder.hidden_size // config.encoder.num_heads, len(components.vectors))
    moving = min(space, head, still) // size * size
    if moving <= 0:
        raise VidtwinError(
            f"closed-form weights of {still} components do not fit: the network is too narrow",
            f"it needs {size - space} more channels",
        )
    motion = motion_components(footage, components, still, moving)
    detail = (footage.spectrum[:, 0, :, :still] * components.deviations[:still]).square()
    moves = motion.energies(footage)
    search = _Search(detail, moves, footage.energy * detail.shape[1], size, slots)
    search.run()
    plan = _plan(search, config, still, moving)
    return Allocation(_with_dynamics(plan, search, footage, components, motion, config), motion, search.gains)


class _Search:
    """Which run each slot carries when it moves, and where it does.

    Args:
        detail: ``[B, S, C]`` energies of what stands still.
        moves: ``[B, T, S, M]`` energies of motion by frequency.
        energy: ``[B]`` of a clip.
        size: components of a run.
        slots: as :func:`allocate`.
    """

    def __init__(self, detail: Tensor, moves: Tensor, energy: Tensor, size: int, slots: Sequence[int]) -> None:
        self.detail = detail.view(*detail.shape[:2], -1, size).sum(3)
        self.moves = moves.view(*moves.shape[:3], -1, size).sum(4)
        self.energy, self.floor = energy, float(energy.mean()) * _SMALL
        self.first, *self.groups, self.always = slots
        positions = detail.shape[1]
        total = detail.sum(2) + moves.sum((1, 3))
        share = moves.sum((1, 3)) / total.clamp_min(self.floor / positions)
        marks = torch.linspace(0, 1, len(self.groups) + 2)[1:-1]
        levels = torch.stack([torch.quantile(share.flatten(), float(mark)) for mark in marks]) if len(marks) else marks
        self.on = share[..., None] > levels
        self.weights = 1 / energy.clamp_min(self.floor)
        self.constant: list[Run] = []
        self.switched: list[list[Run]] = []
        self.gains = torch.zeros(*detail.shape[:2], len(self.groups))

    def run(self) -> None:
        """Find runs for the switches at hand, then switches for the runs, and again."""
        for _ in range(_TURNS):
            self._choose_runs()
            self._set_switches()

    def still_runs(self, group: int) -> range:
        """What the group carries where it does not move: detail that the groups which move later do not need."""
        start = self.first + sum(self.groups[group + 1 :])
        return range(start, start + self.groups[group])

    def _choose_runs(self) -> None:
        taken = [0] * self.moves.shape[1]
        everywhere = torch.ones((*self.on.shape[:2], 1), dtype=torch.bool)
        chosen = []
        for count, where in zip(
            [self.always, *self.groups], torch.cat([everywhere, self.on], dim=2).unbind(2), strict=True
        ):
            energy = torch.einsum("bfsr,bs->fr", self.moves, self.weights[:, None] * where)
            runs = []
            for _ in range(count):
                open_to_it = [f for f in range(1, len(taken)) if taken[f] < energy.shape[1]]
                if not open_to_it:
                    raise VidtwinError("clips are too short to fill every slot with motion of its own")
                best = max(open_to_it, key=lambda f: float(energy[f, taken[f]]))
                runs.append(Run(best, taken[best]))
                taken[best] += 1
            chosen.append(runs)
        self.constant, *self.switched = chosen

    def _set_switches(self) -> None:
        kept = self.detail[..., : self.first].sum(2) + self._moving(self.constant)
        alternatives = []
        for group, runs in enumerate(self.switched):
            still, moving = self.detail[..., self.still_runs(group)].sum(2), self._moving(runs)
            kept = kept + torch.maximum(still, moving)
            alternatives.append(moving - still)
        self.weights = 1 / (self.energy - kept.sum(1)).clamp_min(self.floor)
        if alternatives:
            gains = torch.stack(alternatives, dim=2)
            self.on, self.gains = gains > 0, gains * self.weights[:, None, None]

    def _moving(self, runs: Sequence[Run]) -> Tensor:
        return sum((self.moves[:, f, :, r] for f, r in runs), torch.zeros_like(self.detail[..., 0]))


def _plan(search: _Search, config: VidTwinConfig, still: int, moving: int) -> SlotPlan:
    """Slots in the order of the detail they carry, and after them those that always move."""
    size = config.structure_channels
    frequencies: list[int] = []
    structure: list[list[tuple[Term, ...]]] = []
    flags = [Flag(0, 0)] * len(search.groups)
    for number in range(search.first):
        frequencies.append(0)
        structure.append([(Term(False, number * size + c),) for c in range(size)])
    for group in reversed(range(len(search.groups))):
        for detail, run in zip(search.still_runs(group), search.switched[group], strict=True):
            frequencies.append(run.frequency)
            structure.append(
                [
                    (
                        Term(False, detail * size + c, Switch(group, False)),
                        Term(True, run.number * size + c, Switch(group, True)),
                    )
                    for c in range(size)
                ]
            )
        # told in place of the least of the group's components, of both kinds
        if search.groups[group]:
            flags[group] = Flag(len(structure) - 1, size - 1)
            structure[-1][-1] = ()
    for run in search.constant:
        frequencies.append(run.frequency)
        structure.append([(Term(True, run.number * size + c),) for c in range(size)])
    return SlotPlan(tuple(frequencies), tuple(map(tuple, structure)), (), tuple(flags), still, moving)


class _Candidate(NamedTuple):
    gain: float
    frame: int
    term: Term


def _with_dynamics(
    plan: SlotPlan,
    search: _Search,
    footage: Footage,
    components: PatchComponents,
    motion: Motion,
    config: VidTwinConfig,
) -> SlotPlan:
    """Let the dynamics carry what gains most where the structure does not carry it."""
    carried: dict[tuple[int, int], Term] = {}
    for frequency, channels in zip(plan.frequencies, plan.structure, strict=True):
        for terms in channels:
            carried.update({(frequency if term.moving else 0, term.component): term for term in terms})
    spectrum = {0: footage.spectrum[:, 0, :, : plan.still] * components.deviations[: plan.still]}
    for frequency in set(plan.frequencies) - {0}:
        spectrum[frequency] = motion.coefficients(footage, frequency) * motion.deviations
    candidates = []
    for frequency, values in spectrum.items():
        for component in range(values.shape[2]):
            when = None
            if (term := carried.get((frequency, component))) is not None:
                if term.when is None:
                    continue
                when = Switch(term.when.group, not term.when.moves)
            where = torch.ones_like(values[..., 0]) if when is None else search.on[..., when.group] == when.moves
            gain = _marginal_gain(values[..., component] * where, where, search.weights, config.grid)
            frames = [i for i, f in enumerate(plan.frequencies) if frequency in (0, f)]
            candidates += [_Candidate(gain, i, Term(frequency > 0, component, when)) for i in frames]
    candidates.sort(key=lambda one: -one.gain)
    taken: set[tuple[int, int]] = set()
    dynamics: list[list[Term]] = [[] for _ in plan.frequencies]
    for _, frame, term in candidates:
        key = (plan.frequencies[frame] if term.moving else 0, term.component)
        if key not in taken and len(dynamics[frame]) < config.dynamics_channels:
            taken.add(key)
            dynamics[frame].append(term)
    return replace(plan, dynamics=tuple(map(tuple, dynamics)))


def _marginal_gain(values: Tensor, where: Tensor, weights: Tensor, grid: tuple[int, int]) -> float:
    """Weighted energy that row and column means give back."""
    image = values.view(-1, *grid)
    half = image.mean((1, 2), keepdim=True) / 2
    seen = (image.mean(1, keepdim=True) - half + image.mean(2, keepdim=True) - half).flatten(1) * where
    both, own = ((weights[:, None] * product).sum() for product in (values * seen, seen.square()))
    return float(both.square() / own.clamp_min(1e-12))
