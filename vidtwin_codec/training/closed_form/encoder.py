"""The encoder's transformer: patches in, DCT coefficients of principal components out.

Block 0 splits time: what stands still, what moves, and which frame this is. Block 1 lets frame i collect temporal
frequency f(i) of what moves, and pick out the components that its dynamics carry.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vidtwin_codec.model import VidTwinEncoder
from vidtwin_codec.model.transformer import Block
from vidtwin_codec.training.closed_form.channels import RAMP, Channels, EncoderChannels
from vidtwin_codec.training.closed_form.components import PatchComponents, temporal_dct
from vidtwin_codec.training.closed_form.slots import SlotPlan, unit_waves
from vidtwin_codec.training.closed_form.wiring import (
    ATTENTION,
    CONSTANT,
    KAPPA,
    MLP,
    Heads,
    Scores,
    Units,
    after_mlp,
    after_spatial,
    after_temporal,
    alternating,
    mlp_input,
    one_hot_gate,
    read,
    see_the_stream,
    signal_scale,
)

RAMP_HEIGHT = 4.0
"""Of the ramp in the stream: high enough to tell frames apart beside components of unit variance."""
COLLECTED_SHARE = 0.25
"""DCT coefficients of unit-variance components have up to 4 times their deviation; this brings them back to it."""
_RIDGE = 1e-4
_HINGE = 2.5
"""Of a hinge's input from one frame to the next: GELU bends well within that."""


def write_encoder(
    encoder: VidTwinEncoder, plan: SlotPlan, rooms: EncoderChannels, components: PatchComponents, whitened: Tensor
) -> Tensor:
    """Set patch embedding and transformer; the tokens ``[B, T, S, D]`` that they make of ``whitened``."""
    embedding, transformer = encoder.patch_embedding, encoder.transformer
    weight = components.vectors[: plan.still] / components.deviations[: plan.still, None]
    embedding.weight.zero_()
    embedding.bias.zero_()
    embedding.weight[rooms.moving] = weight
    embedding.bias[rooms.moving] = -weight @ components.mean
    embedding.bias[rooms.constants] = CONSTANT * alternating(len(rooms.constants))

    first, second = (transformer.blocks[number] for number in (0, 1))
    assert isinstance(first, Block)
    assert isinstance(second, Block)
    space, time = transformer.spatial_positions[0], transformer.temporal_positions[0]
    x = space + torch.zeros(*whitened.shape[:3], space.shape[1])
    x[..., rooms.moving] += whitened[..., : plan.still]
    x[..., rooms.constants] += embedding.bias[rooms.constants]
    see_the_stream(first.modulation[ATTENTION], x, rooms.constants)
    _split_time(first, rooms, space, time)
    x = after_temporal(first, x, time)
    see_the_stream(first.modulation[MLP], x, rooms.constants)
    _code_frames(first, rooms, x, space)
    x = after_mlp(first, x)

    see_the_stream(second.modulation[ATTENTION], x, rooms.constants)
    _collect_frequencies(second, plan, rooms)
    x = after_temporal(second, after_spatial(second, x))
    see_the_stream(second.modulation[MLP], x, rooms.constants)
    _pick_dynamics(second, plan, rooms, x, space)
    x = after_mlp(second, x)
    for block in list(transformer.blocks)[2:]:
        assert isinstance(block, Block)
        see_the_stream(block.modulation[ATTENTION], x, rooms.constants)
        see_the_stream(block.modulation[MLP], x, rooms.constants)
    return x


def _split_time(block: Block, rooms: EncoderChannels, space: Tensor, time: Tensor) -> None:
    """Temporal attention: the mean over frames moves to the still channels; a ramp over frames enters the stream.

    The ramp is read off the temporal positions, which only this layer sees, by a functional blind to the spatial
    ones. A frame takes it from itself and its neighbours: score −(difference / spacing)².
    """
    heads = Heads(block.temporal_attention)
    heads.relay(rooms.moving, [(rooms.still, 1.0), (rooms.moving, -1.0)], bias=-time[:, rooms.moving].mean(dim=0))

    frames = len(time)
    ramp = torch.linspace(-1, 1, frames)
    readings = _blind_functionals(time, space, torch.stack([ramp, ramp.square()], dim=1), rooms.moving)
    constants = CONSTANT * alternating(len(rooms.constants))
    offsets = -(readings[:, rooms.constants] * constants).sum(dim=1)
    sharpness = (frames - 1) / 2
    head, scale = heads.claim(), heads.size**0.5
    heads.query[head, 0] = 2 * scale * sharpness * readings[0]
    heads.query_bias[head, 0] = 2 * scale * sharpness * offsets[0]
    heads.query_bias[head, 1] = -scale * sharpness
    heads.key[head, :2] = sharpness * readings
    heads.key_bias[head, :2] = sharpness * offsets
    heads.value[head, 0] = readings[0]
    heads.value_bias[head, 0] = offsets[0]
    heads.projection[rooms.ramp, head, 0] = RAMP_HEIGHT * alternating(RAMP)


def _blind_functionals(time: Tensor, space: Tensor, wanted: Tensor, avoid: Channels) -> Tensor:
    """``[2, D]``: the smallest weights that read ``wanted`` ``[T, 2]`` off ``time``, 0 off ``space`` and ``avoid``."""
    width = time.shape[1]
    usable = torch.ones(width, dtype=torch.bool)
    usable[avoid] = False
    given = torch.cat([time, space]).double()[:, usable]
    targets = torch.cat([wanted.double(), torch.zeros(len(space), wanted.shape[1], dtype=torch.float64)])
    gram = given @ given.T + _RIDGE * torch.eye(len(given), dtype=torch.float64)
    readings = torch.zeros(wanted.shape[1], width)
    readings[:, usable] = (given.T @ torch.linalg.solve(gram, targets)).T.float()
    return readings


def _code_frames(block: Block, rooms: EncoderChannels, x: Tensor, space: Tensor) -> None:
    """MLP: the ramp becomes a one-hot code of the frame, a sum of hinges with a bend at every frame."""
    frames, width = x.shape[1], x.shape[3]
    seen = mlp_input(block, x)
    average = alternating(RAMP) / RAMP
    heights = (seen[..., rooms.ramp] @ average).mean(dim=(0, 2))
    before, after = 2 * heights[:1] - heights[1:2], 2 * heights[-1:] - heights[-2:-1]
    bends = torch.cat([before, heights, after])
    slope = _HINGE / bends.diff().min()
    units = Units(block.mlp.expand, block.mlp.contract)
    for bend in bends:
        units.add(read(width, rooms.ramp, slope * average, -slope * bend))
    hinges = functional.gelu(block.mlp.expand(seen)[..., : units.used], approximate="tanh").mean(dim=(0, 2)).double()
    basis = torch.cat([hinges, torch.ones(frames, 1, dtype=torch.float64)], dim=1)
    identity = torch.eye(frames, dtype=torch.float64)
    # more hinges than frames: a small ridge keeps the weights ordinary
    solution = basis.T @ torch.linalg.solve(basis @ basis.T + 10 * _RIDGE * identity, identity)
    block.mlp.contract.weight[rooms.frame, : units.used] = solution[:-1].T.float()
    block.mlp.contract.bias[rooms.frame] = solution[-1].float() - space[:, rooms.frame].mean(dim=0)


def _collect_frequencies(block: Block, plan: SlotPlan, rooms: EncoderChannels) -> None:
    """Attentions: frame i sums what moves with weights (1 + kappa·psi)/T, where the 1 vanishes as its mean is 0.

    Row and column means both hold the mean of a frame, so half of it is taken from what the dynamics carry.
    """
    spatial = Heads(block.spatial_attention)
    carried = rooms.still[plan.still_structure :]
    spatial.relay(carried, [(carried, -0.5)])
    temporal = Heads(block.temporal_attention)
    gain = len(plan.frequencies) / KAPPA * COLLECTED_SHARE
    scores = Scores(rooms.frame, wave_logarithms(plan, KAPPA))
    temporal.relay(rooms.moving[: plan.moving], [(rooms.collected, gain)], scores=scores)


def wave_logarithms(plan: SlotPlan, kappa: float) -> Tensor:
    """``[slot, t]``: log(1 + kappa·psi_f(t)) of each slot's frequency; 0 for frequency 0, a plain mean."""
    waves, _ = unit_waves(temporal_dct(len(plan.frequencies)))
    waves[0] = 0
    return torch.log1p(kappa * waves[list(plan.frequencies)])


def _pick_dynamics(block: Block, plan: SlotPlan, rooms: EncoderChannels, x: Tensor, space: Tensor) -> None:
    """MLP: at frame i, the components that its dynamics carry go to the dynamics channels, about whitened."""
    width = x.shape[3]
    seen = mlp_input(block, x)
    units = Units(block.mlp.expand, block.mlp.contract)
    block.mlp.contract.bias[rooms.dynamics] = -space[:, rooms.dynamics].mean(dim=0)
    for number, (frequency, carried) in enumerate(zip(plan.frequencies, plan.dynamics, strict=True)):
        gate = one_hot_gate(seen[..., rooms.frame], number, rooms.frame[number], width)
        for target, component in zip(rooms.dynamics, carried, strict=False):
            source = (rooms.collected if frequency else rooms.still)[component]
            values = seen[:, number, :, source]
            scale = signal_scale(values)
            units.gated(read(width, source, scale, -scale * values.mean()), gate, target, 1.0)
