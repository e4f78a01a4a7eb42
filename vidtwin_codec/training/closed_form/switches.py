"""Switches in the stream: one channel each, ``SWITCH_ON`` where a place's kind is above the switch's number, else 0."""

from __future__ import annotations

import torch
from torch import Tensor

from vidtwin_codec.training.closed_form.channels import Channels
from vidtwin_codec.training.closed_form.plan import Kinds
from vidtwin_codec.training.closed_form.wiring import GATE_SWING, Reading

SWITCH_ON = 4.0
"""High beside what LayerNorm subtracts."""
_FEWEST = 64
"""Positions to learn a term's statistics from; where fewer carry it, all do."""


class Switches:
    """The switches as a layer sees them.

    Args:
        channels: of the stream.
        seen: tokens ``[B, T, S, D]`` as the layer sees them.
    """

    def __init__(self, channels: Channels, seen: Tensor) -> None:
        self.channels = channels
        values = seen[..., channels]
        low, high = values.amin(dim=(0, 1, 2)), values.amax(dim=(0, 1, 2))
        moved = high - low > SWITCH_ON / 4
        # LayerNorm has shifted both ends; a switch that never moves is off
        self._on = moved & (values > (low + high) / 2)
        number = self._on.sum(dim=(0, 1, 2))
        on = (values * self._on).sum(dim=(0, 1, 2)) / number.clamp_min(1)
        off = (values * ~self._on).sum(dim=(0, 1, 2)) / (~self._on).sum(dim=(0, 1, 2)).clamp_min(1)
        self.off, self.on = off, torch.where(moved, on, off + SWITCH_ON)
        """``[switches]``: what they are here on average."""

    def gate(self, gate: Reading, kinds: Kinds) -> Reading:
        """``gate``, but shut where a place is not of one of ``kinds``."""
        weight, bias = gate.weight.clone(), gate.bias
        needed = [(switch, True) for switch in range(kinds.first)]
        if kinds.last < len(self.channels):
            needed.append((kinds.last, False))
        for switch, wanted in needed:
            off, on = self.off[switch], self.on[switch]
            steepness = GATE_SWING / (on - off)
            # 0 as wanted, -GATE_SWING otherwise
            weight[self.channels[switch]] += steepness if wanted else -steepness
            bias = bias + (-on if wanted else off) * steepness
        return Reading(weight, bias)

    def places(self, frame: int, kinds: Kinds) -> Tensor:
        """``[B, S]``: where frame ``frame`` sees a place of one of ``kinds``."""
        on = self._on[:, frame]
        kind = on.sum(dim=-1)
        there = (kind >= kinds.first) & (kind <= kinds.last)
        return there if int(there.sum()) >= _FEWEST else torch.ones_like(there)
