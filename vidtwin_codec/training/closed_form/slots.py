"""What each query slot and each frame of the dynamics carries.

Slot i holds d_S principal components of one temporal DCT frequency. Frame i of the dynamics has no time of its own
either: it holds d_D further components of the frequency of slot i, as means over rows and over columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwinConfig
from vidtwin_codec.training.closed_form.channels import decoder_room, encoder_room
from vidtwin_codec.training.closed_form.components import Footage, PatchComponents


@dataclass(frozen=True)
class SlotPlan:
    """Which numbers of the 3-D transform the latents are.

    Attributes:
        frequencies: of each slot (and of the frame of the dynamics with its number), ascending.
        structure: the components of each slot.
        dynamics: the components of each frame of the dynamics; empty where the network has no room for more.
        still: components carried of frequency 0, in structure and dynamics together.
        still_structure: of those, the ones in the structure.
        moving: the most components carried of any other frequency.
        moving_structure: of those, the ones in the structure.
    """

    frequencies: tuple[int, ...]
    structure: tuple[range, ...]
    dynamics: tuple[range, ...]
    still: int
    still_structure: int
    moving: int
    moving_structure: int


def slots_by_energy(footage: Footage, components: PatchComponents, config: VidTwinConfig) -> tuple[int, ...]:
    """How many slots each temporal frequency gets, ascending, without trailing zeros.

    Greedy: the next slot goes where it raises the mean PSNR of the clips most. PSNR is a mean of logarithms, so still
    clips, whose energy is all at frequency 0, count as much as lively ones.
    """
    size, frames, slots = config.structure_channels, config.frames, config.qformer.num_queries
    energy = (footage.spectrum * components.deviations).square().mean(dim=2)
    lost = footage.energy
    groups = energy.shape[2] // size
    energy = energy[..., : groups * size].reshape(*energy.shape[:2], groups, size).sum(dim=3)
    counts = [0] * frames
    floor = lost.mean() * 1e-6
    for _ in range(slots):
        # at least one slot is needed for what stands still; no frequency has more components than patches have
        open_to_it = [0] if not counts[0] else [f for f in range(frames) if counts[f] < groups]
        if not open_to_it:
            raise VidtwinError("patches are too small to fill every slot with components of its own")
        gains = [float((lost / (lost - energy[:, f, counts[f]]).clamp_min(floor)).log().mean()) for f in open_to_it]
        best = open_to_it[gains.index(max(gains))]
        lost = (lost - energy[:, best, counts[best]]).clamp_min(floor)
        counts[best] += 1
    while not counts[-1]:
        counts.pop()
    return tuple(counts)


def plan_slots(counts: Sequence[int], config: VidTwinConfig) -> SlotPlan:
    """Give every slot its components, and the dynamics the next ones as far as the network's channels reach.

    Args:
        counts: slots of each frequency, ascending; they add up to the number of slots.
        config: of the network.

    Raises:
        VidtwinError: the counts do not fit, or the network is too narrow for them.
    """
    if sum(counts) != config.qformer.num_queries or min(counts) < 0 or not counts[0] or len(counts) > config.frames:
        raise VidtwinError(
            f"{list(counts)} does not share {config.qformer.num_queries} slots among {config.frames} frequencies",
            "frequency 0 needs a slot",
        )
    structure_size, dynamics_size = config.structure_channels, config.dynamics_channels
    still, moving = (most * structure_size for most in (counts[0], max([0, *counts[1:]])))
    limit = 3 * config.patch_size**2
    room = min(encoder_room(config), decoder_room(config)) - 2 * still - moving
    if room < 0 or max(still, moving) > limit:
        raise VidtwinError(
            f"closed-form weights of {still} + {moving} components do not fit: the network is too narrow",
            f"it needs {-room} more channels" if room < 0 else f"patches have only {limit} components",
        )
    # each group of channels for moving components takes one room, of still ones two (sum over frames, and output)
    more_moving = min(max([0, *counts[1:]]), room // dynamics_size, (limit - moving) // dynamics_size)
    room -= more_moving * dynamics_size
    more_still = min(counts[0], room // (2 * dynamics_size), (limit - still) // dynamics_size)
    whole_still, whole_moving = still + more_still * dynamics_size, moving + more_moving * dynamics_size

    frequencies, structure, dynamics = [], [], []
    for frequency, count in enumerate(counts):
        end = whole_moving if frequency else whole_still
        for number in range(count):
            first, further = number * structure_size, count * structure_size + number * dynamics_size
            frequencies.append(frequency)
            structure.append(range(first, first + structure_size))
            dynamics.append(range(further, further + dynamics_size if further + dynamics_size <= end else further))
    return SlotPlan(tuple(frequencies), tuple(structure), tuple(dynamics), whole_still, still, whole_moving, moving)


def unit_waves(basis: Tensor) -> tuple[Tensor, Tensor]:
    """DCT rows scaled to reach 1, and what they were divided by ``[T]``."""
    peaks = torch.amax(basis.abs(), dim=1)
    return basis / peaks[:, None], peaks
