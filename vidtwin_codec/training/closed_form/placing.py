"""The decoder's placing MLP: at frame i, slot i's and dynamics i's numbers go to the components they stand for."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vidtwin_codec.model import Latents
from vidtwin_codec.model.transformer import Block
from vidtwin_codec.training.closed_form.allocation import Allocation
from vidtwin_codec.training.closed_form.channels import DecoderChannels
from vidtwin_codec.training.closed_form.components import Footage, temporal_dct, unit_waves
from vidtwin_codec.training.closed_form.switches import Switches
from vidtwin_codec.training.closed_form.wiring import Units, mlp_input, one_hot_gate, read, signal_scale

BOOST = 2.0
"""Of components between the blocks, over what the inverse DCT needs: it divides by the number of frames later."""
_NOTHING = 1e-12
"""Variance of latents of footage without motion, which have no slope."""


class PlacedLatents(NamedTuple):
    """Both branches' latents by frame and position, ``[B, T, S, d]``."""

    structure: Tensor
    dynamics: Tensor

    @classmethod
    def of(cls, latents: Latents) -> PlacedLatents:
        """Rows and columns are added up, less half of either's mean over the frame."""
        across = latents.dynamics_x.permute(0, 2, 3, 1)[:, :, None]
        down = latents.dynamics_y.permute(0, 2, 3, 1)[:, :, :, None]
        both = across - across.mean(3, keepdim=True) / 2 + down - down.mean(2, keepdim=True) / 2
        return cls(latents.structure.flatten(2, 3), both.flatten(2, 3))


def place_terms(
    block: Block,
    allocation: Allocation,
    rooms: DecoderChannels,
    x: Tensor,
    footage: Footage,
    latents: PlacedLatents,
    signs: list[list[float]],
) -> None:
    """Set the MLP.

    Args:
        block: whose MLP it is.
        allocation: which terms come from where.
        rooms: of the stream.
        x: the stream ``[B, T, S, D]``.
        footage: what the latents stand for.
        latents: of the same clips.
        signs: of every table the signs of the slots' waves in the inverse transform.
    """
    plan, motion, _ = allocation
    seen, width = mlp_input(block, x), x.shape[3]
    _, peaks = unit_waves(temporal_dct(x.shape[1]))
    units, switches = Units(block.mlp.expand, block.mlp.contract), Switches(rooms.switches, seen)
    dynamics = [[(term,) for term in terms] for terms in plan.dynamics]
    branches = (
        (latents.structure, plan.structure, rooms.positive, rooms.negative),
        (latents.dynamics, dynamics, rooms.dynamics_positive, rooms.dynamics_negative),
    )
    for i in range(x.shape[1]):
        code = one_hot_gate(seen[..., rooms.frame], i, rooms.frame, width)
        moves = [motion.coefficients(footage, frequencies[i]) for frequencies, _ in plan.tables]
        for numbers, planned, positive, negative in branches:
            for channel, terms in enumerate(planned[i]):
                pair = [positive[channel], negative[channel]]
                value = numbers[:, i, :, channel]
                slope, offset = line(seen[:, i, :, pair[0]] - seen[:, i, :, pair[1]], value)
                reading = read(width, pair, torch.tensor([1.0, -1.0]) * slope, offset)
                for term in terms:
                    there = switches.places(i, term.kinds)
                    if term.table is None:
                        target = rooms.still[term.component]
                        stands_for, height = footage.spectrum[:, 0, :, term.component], peaks[0]
                    else:
                        target = rooms.moving[plan.channel(term.table, term.component)]
                        stands_for = moves[term.table][..., term.component]
                        height = peaks[plan.frequency(term, i)] * signs[term.table][i]
                    scale = signal_scale(value[there], value, numbers[..., channel])
                    # what the latent stands for; for dynamics, which are only a mean of it, less
                    meaning = line(value[there], stands_for[there])[0] * height
                    gate = switches.gate(code, term.kinds)
                    units.gated(reading.scaled(scale), gate, target, meaning * BOOST / (2 * scale))


def line(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and offset of the regression of y on x."""
    centred = x - x.mean()
    slope = (centred * (y - y.mean())).mean() / centred.square().mean().clamp_min(_NOTHING)
    return slope, y.mean() - slope * x.mean()
