"""The branches' encoders: tokens in, latents of about unit variance out.

Slot i of the Q-Former looks at frame i, by cross-attention, and takes over what was picked there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwinEncoder
from vidtwin_codec.model.branches import DynamicsEncoder
from vidtwin_codec.model.qformer import QFormer, QFormerLayer, QueryAttention
from vidtwin_codec.training.closed_form.channels import Channels, EncoderChannels
from vidtwin_codec.training.closed_form.wiring import alternating, check_code

LOG_VARIANCE = -4.0
"""Posteriors begin narrow: sigma 0.14 of the latents' unit deviation."""
_CODE, _CONSTANT = 6.0, 3.0
"""A slot's code, and the constants that keep LayerNorm from seeing the content, before the first norm."""
_PICKED = 0.05
"""Brings the content of a slot down to where the norms are nearly constant."""
_SHARPNESS = 14.0
"""Of attention: other frames get e^−14 of a frame's weight."""


def write_structure_encoder(encoder: VidTwinEncoder, rooms: EncoderChannels, tokens: Tensor) -> None:
    """Set Q-Former and convolutions of the structure; ``tokens`` ``[B, T, S, D]`` give scales and offsets.

    Raises:
        VidtwinError: the Q-Former is too narrow.
    """
    branch, number, slots = encoder.structure, encoder.config.structure_channels, len(rooms.frame)
    qformer = branch.qformer
    width = qformer.queries.shape[1]
    first = qformer.layers[0]
    assert isinstance(first, QFormerLayer)
    attention = first.cross_attention
    assert isinstance(attention, QueryAttention)
    size = width // attention.heads
    check_code(slots, size)
    if number > size or width < number + 2 * slots:
        raise VidtwinError(
            f"a Q-Former {width} wide is too narrow for {slots} slots of {number} numbers",
            f"it needs {number + 2 * slots} channels, and heads of {number}",
        )
    # the picked numbers sit in those of the head that brings them
    picked, code = list(range(number)), list(range(number, number + slots))
    end = number + slots
    constants = list(range(end, end + (width - end) // 2 * 2))
    _silence(qformer)
    qformer.queries[:, code] = _CODE * torch.eye(slots)
    qformer.queries[:, constants] = _CONSTANT * alternating(len(constants))

    queries = qformer.norm(qformer.queries)[None]
    queries = first.self_attention(queries, queries)[0]
    for linear in (attention.query, attention.key, attention.value):
        linear.weight[:size] = 0
        linear.bias[:size] = 0
    # LayerNorm has mixed the slots' codes a little: undone by the inverse
    table = _SHARPNESS * torch.linalg.inv(queries[:, code].double()).float()
    attention.query.weight[:slots, code] = (table * size**0.5).T
    attention.key.weight[range(slots), rooms.frame] = 1
    attention.value.weight[picked, rooms.picked] = _PICKED
    attention.projection.weight[picked, picked] = 1

    seen = qformer(tokens.transpose(1, 2).flatten(0, 1))[..., picked]
    _center_taps(branch.input, picked, picked, *_unit_variance(seen))
    branch.head.weight.zero_()
    _center_taps(branch.head, picked, picked, torch.ones(number), torch.zeros(number))
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


def _unit_variance(values: Tensor) -> tuple[Tensor, Tensor]:
    """Factors and offsets that bring the last axis's channels to mean 0 and, all together, variance 1."""
    flat = values.flatten(0, -2)
    deviation = (flat - flat.mean(dim=0)).square().mean().sqrt()
    factors = torch.full_like(flat[0], float(1 / deviation) if deviation > 0 else 1.0)
    return factors, -flat.mean(dim=0) * factors


def _center_taps(conv: nn.Conv2d, outputs: Channels, inputs: Channels, factors: Tensor, offsets: Tensor) -> None:
    """Make a 3 × 3 convolution's ``outputs`` scaled copies of ``inputs``, position by position."""
    assert conv.bias is not None
    conv.weight[outputs] = 0
    conv.weight[outputs, inputs, 1, 1] = factors
    conv.bias[outputs] = offsets
