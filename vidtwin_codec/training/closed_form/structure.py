"""The branches' encoders: tokens in, latents of about unit variance out.

Slot i of the Q-Former reads, by cross-attention, the sum over frames with weights (1 + kappa·psi_f(i))/T of what moves
and the mean over frames of what stands still. Its feed-forward, opened by the slot's own code, picks d_S components.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwinEncoder
from vidtwin_codec.model.branches import DynamicsEncoder
from vidtwin_codec.model.qformer import QFormer, QFormerLayer, QueryAttention
from vidtwin_codec.training.closed_form.channels import Channels, EncoderChannels
from vidtwin_codec.training.closed_form.encoder import wave_logarithms
from vidtwin_codec.training.closed_form.slots import SlotPlan
from vidtwin_codec.training.closed_form.wiring import (
    KAPPA,
    Units,
    alternating,
    check_code,
    one_hot_gate,
    read,
    signal_scale,
)

LOG_VARIANCE = -4.0
"""Posteriors begin narrow: sigma 0.14 of the latents' unit deviation."""
_CODE, _CONSTANT = 6.0, 3.0
"""A slot's code, and the constants that keep LayerNorm from seeing the content, before the first norm."""
_MOVING_GAIN, _STILL_GAIN = 1.2, 0.12
"""Bring both kinds of content to a tenth or so of the constants: what moves arrives as a small weighted mean."""
_PICKED = 0.25
"""The picked components' part of a slot; the norms after it are then still nearly constant."""


class SlotChannels(NamedTuple):
    """Which channels of a slot hold what; components sit in those of the head that brings them."""

    moving: Channels
    still: Channels
    code: Channels
    picked: Channels
    constants: Channels


def slot_channels(qformer: QFormer, plan: SlotPlan, picked: int) -> SlotChannels:
    """Deal the slots' channels out.

    Raises:
        VidtwinError: the Q-Former is too narrow.
    """
    width = qformer.queries.shape[1]
    attention = _cross(qformer)
    size, slots = width // attention.heads, len(plan.frequencies)
    check_code(slots, size)
    still = -(-plan.moving_structure // size) * size
    end = -(-(still + plan.still_structure) // size) * size
    code, constants = end + slots, end + slots + picked
    if width - constants < slots:
        raise VidtwinError(
            f"a Q-Former {width} wide is too narrow for {plan.still_structure} + {plan.moving_structure} components",
            f"it needs at least {constants + slots} channels",
        )
    return SlotChannels(
        list(range(plan.moving_structure)),
        list(range(still, still + plan.still_structure)),
        list(range(end, code)),
        list(range(code, constants)),
        # an even number, so that alternating signs leave a token's mean at 0
        list(range(constants, constants + (width - constants) // 2 * 2)),
    )


def write_structure_encoder(encoder: VidTwinEncoder, plan: SlotPlan, rooms: EncoderChannels, tokens: Tensor) -> None:
    """Set Q-Former and convolutions of the structure; ``tokens`` ``[B, T, S, D]`` give scales and offsets."""
    branch, number = encoder.structure, encoder.config.structure_channels
    qformer = branch.qformer
    slots = slot_channels(qformer, plan, number)
    _silence(qformer)
    qformer.queries[:, slots.code] = _CODE * torch.eye(len(slots.code))
    qformer.queries[:, slots.constants] = _CONSTANT * alternating(len(slots.constants))

    first = qformer.layers[0]
    assert isinstance(first, QFormerLayer)
    assert first.cross_attention is not None
    queries = qformer.norm(qformer.queries)[None]
    queries = first.self_attention(queries, queries)
    _read_frames(first.cross_attention, plan, rooms, slots, queries[0])
    sequences = tokens.transpose(1, 2).flatten(0, 1)
    seen = first.cross_attention(queries.expand(len(sequences), -1, -1), sequences)
    _pick_components(first, plan, slots, seen)

    picked = qformer(sequences)[..., slots.picked]
    _center_taps(branch.input, list(range(number)), slots.picked, *_unit_variance(picked))
    branch.head.weight.zero_()
    _center_taps(branch.head, list(range(number)), list(range(number)), torch.ones(number), torch.zeros(number))
    _narrow_posterior(branch.head)


def write_dynamics_encoder(
    branch: DynamicsEncoder, rooms: EncoderChannels, tokens: Tensor, grid: tuple[int, int]
) -> None:
    """Set the dynamics' convolution: the picked components' row and column means, to unit variance."""
    number = len(rooms.dynamics)
    values = tokens[..., rooms.dynamics].view(*tokens.shape[:2], *grid, number)
    means = torch.cat([values.mean(dim=2).flatten(0, 2), values.mean(dim=3).flatten(0, 2)])
    branch.head.weight.zero_()
    _center_taps(branch.head, list(range(number)), rooms.dynamics, *_unit_variance(means))
    _narrow_posterior(branch.head)


def _narrow_posterior(head: nn.Conv2d) -> None:
    assert head.bias is not None
    head.bias[head.out_channels // 2 :] = LOG_VARIANCE


def _cross(qformer: QFormer) -> QueryAttention:
    attention = qformer.layers[0].cross_attention
    assert isinstance(attention, QueryAttention)
    return attention


def _silence(qformer: QFormer) -> None:
    """Layers that pass the normalised queries on."""
    qformer.queries.zero_()
    for layer in qformer.layers:
        assert isinstance(layer, QFormerLayer)
        projections = [layer.self_attention.projection, layer.contract]
        if layer.cross_attention is not None:
            projections.append(layer.cross_attention.projection)
        for linear in projections:
            linear.weight.zero_()
            linear.bias.zero_()


def _read_frames(
    attention: QueryAttention, plan: SlotPlan, rooms: EncoderChannels, slots: SlotChannels, queries: Tensor
) -> None:
    """Cross-attention: heads that sum what moves by the slot's wave; heads that average what stands still."""
    number, size = len(slots.code), queries.shape[-1] // attention.heads
    used = slots.code[0]
    for linear in (attention.query, attention.key, attention.value):
        linear.weight[:used] = 0
        linear.bias[:used] = 0
    # LayerNorm has mixed the slots' codes a little: undone by the inverse
    table = torch.linalg.inv(queries[:, slots.code].double()).float() @ wave_logarithms(plan, KAPPA)
    for start in range(0, len(slots.moving), size):
        attention.query.weight[start : start + number, slots.code] = (table * size**0.5).T
        attention.key.weight[range(start, start + number), rooms.frame] = 1
    attention.value.weight[slots.moving, rooms.moving[: len(slots.moving)]] = _MOVING_GAIN
    attention.value.weight[slots.still, rooms.still[: len(slots.still)]] = _STILL_GAIN
    content = slots.moving + slots.still
    attention.projection.weight[content, content] = 1


def _pick_components(layer: QFormerLayer, plan: SlotPlan, slots: SlotChannels, seen: Tensor) -> None:
    """Feed-forward: each slot's components go to the picked channels."""
    width = seen.shape[-1]
    units = Units(layer.expand, layer.contract)
    code = seen[..., slots.code].unsqueeze(2)
    for number, (frequency, carried) in enumerate(zip(plan.frequencies, plan.structure, strict=True)):
        gate = one_hot_gate(code, number, slots.code[number], width)
        for target, component in zip(slots.picked, carried, strict=True):
            source = (slots.moving if frequency else slots.still)[component]
            values = seen[:, number, source]
            scale = signal_scale(values)
            units.gated(read(width, source, scale, -scale * values.mean()), gate, target, _PICKED)


def _unit_variance(values: Tensor) -> tuple[Tensor, Tensor]:
    """Factor and offset that bring the last axis's channels to mean 0 and variance 1."""
    flat = values.flatten(0, -2)
    # channels that carry nothing stay as they are
    deviations = flat.std(dim=0)
    factors = torch.where(deviations > 0, 1 / deviations, torch.ones_like(deviations))
    return factors, -flat.mean(dim=0) * factors


def _center_taps(conv: nn.Conv2d, outputs: Channels, inputs: Channels, factors: Tensor, offsets: Tensor) -> None:
    """Make a 3 × 3 convolution's ``outputs`` scaled copies of ``inputs``, position by position."""
    assert conv.bias is not None
    conv.weight[outputs] = 0
    conv.weight[outputs, inputs, 1, 1] = factors
    conv.bias[outputs] = offsets
