"""Switches in the stream: one channel a group, ``SWITCH_ON`` where the group carries motion, else 0."""

from __future__ import annotations

import torch
from torch import Tensor

from vidtwin_codec.training.closed_form.channels import Channels
from vidtwin_codec.training.closed_form.plan import Switch
from vidtwin_codec.training.closed_form.wiring import GATE_SWING, Reading

SWITCH_ON = 4.0
"""High beside what LayerNorm subtracts."""
_FEWEST = 64
"""Positions to learn a term's statistics from; where fewer carry it, all do."""


def switched_gate(gate: Reading, switches: Channels, when: Switch | None) -> Reading:
    """``gate``, but shut where ``when`` does not hold."""
    if when is None:
        return gate
    steepness = GATE_SWING / SWITCH_ON
    weight = gate.weight.clone()
    weight[switches[when.group]] += steepness if when.moves else -steepness
    return Reading(weight, gate.bias - GATE_SWING if when.moves else gate.bias)


def carried(seen: Tensor, switches: Channels, when: Switch | None) -> Tensor:
    """``[B, S]``: the positions of tokens ``[B, S, D]`` where ``when`` holds."""
    everywhere = torch.ones(seen.shape[:-1], dtype=torch.bool)
    if when is None:
        return everywhere
    there = (seen[..., switches[when.group]] > SWITCH_ON / 2) == when.moves
    return there if int(there.sum()) >= _FEWEST else everywhere
