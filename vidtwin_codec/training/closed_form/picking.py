"""The encoder's last MLP: at frame i, the terms that slot i and the dynamics of frame i carry.

A term's size among the latents is its size in pixels. A channel's quantisation step serves places of every kind, which
carry different terms in it: where an error of a latent shows alike in all, one step is right for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vidtwin_codec.model.transformer import Block
from vidtwin_codec.training.closed_form.channels import EncoderChannels
from vidtwin_codec.training.closed_form.plan import SlotPlan, Term
from vidtwin_codec.training.closed_form.switches import SWITCH_ON, Switches
from vidtwin_codec.training.closed_form.wiring import (
    Reading,
    Units,
    mlp_input,
    one_hot_gate,
    read,
    signal_scale,
)

FLAG = 12.0
"""Of a switch told as a latent, plus or minus: it is to outlive the coarsest quantisation, and costs a bit at most."""


class _Pick(NamedTuple):
    signal: Reading
    gate: Reading
    target: int
    gain: Tensor
    """From the signal to standard deviations of the term."""
    size: float
    """Of the term in pixels."""


def pick_terms(
    block: Block, plan: SlotPlan, rooms: EncoderChannels, x: Tensor, pixels: Callable[[Term, int], float]
) -> None:
    """Set the MLP.

    Args:
        block: whose MLP it is.
        plan: which terms go where.
        rooms: of the stream.
        x: the stream ``[B, T, S, D]``.
        pixels: of a term and a slot: the size in pixels that a unit in the stream stands for.
    """
    seen, width = mlp_input(block, x), x.shape[3]
    slots = range(len(plan.structure))
    switches = Switches(rooms.switches, seen)
    codes = [one_hot_gate(seen[..., rooms.frame], i, rooms.frame, width) for i in slots]
    placed = [
        *(
            (i, target, term)
            for i in slots
            for target, terms in zip(rooms.picked, plan.structure[i], strict=True)
            for term in terms
        ),
        *((i, target, term) for i in slots for target, term in zip(rooms.dynamics, plan.dynamics[i], strict=False)),
    ]
    picks = []
    for i, target, term in placed:
        source = (
            rooms.still[term.component]
            if term.table is None
            else rooms.collected[plan.channel(term.table, term.component)]
        )
        gate = switches.gate(codes[i], term.kinds)
        places = switches.places(i, term.kinds)
        picks.append(_pick(source, seen, i, places, rooms, gate, target, pixels(term, i)))
    typical = sum(pick.size for pick in picks) / len(picks)
    units = Units(block.mlp.expand, block.mlp.contract)
    for signal, gate, target, gain, size in picks:
        units.gated(signal, gate, target, gain * size / typical / 2)
    for (slot, channel), switch in zip(plan.flags, rooms.switches, strict=True):
        units.gated(read(width, switch, 2 / SWITCH_ON, -1.0), codes[slot], rooms.picked[channel], FLAG / 2)


def _pick(
    source: int,
    seen: Tensor,
    frame: int,
    places: Tensor,
    rooms: EncoderChannels,
    gate: Reading,
    target: int,
    pixels: float,
) -> _Pick:
    """``source`` of tokens ``seen`` ``[B, T, S, D]``, of which those of ``frame`` at ``places`` ``[B, S]`` carry it."""
    plain = torch.tensor([1.0, *[-1 / len(rooms.references)] * len(rooms.references)])
    everywhere = seen[..., [source, *rooms.references]] @ plain
    values = everywhere[:, frame][places]
    scale, deviation = signal_scale(values, everywhere[:, frame], everywhere), values.std()
    signal = read(seen.shape[-1], [source, *rooms.references], scale * plain, -scale * values.mean())
    # what footage never shows stays as it is
    gain = torch.where(deviation > 0, 1 / (scale * deviation), torch.zeros(()))
    return _Pick(signal, gate, target, gain, float(deviation) * pixels)
