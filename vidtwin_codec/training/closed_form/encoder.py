"""The encoder's transformer: patches in, what slots and dynamics carry out.

Block 0 splits time: what stands still, what moves, and which frame this is. Block 1 lets frame i collect the temporal
frequencies of slot i of what moves, and vote on the switches. Block 2 counts the votes. Block 3 picks.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vidtwin_codec.model import VidTwinEncoder
from vidtwin_codec.model.transformer import Block
from vidtwin_codec.training.closed_form.allocation import Allocation
from vidtwin_codec.training.closed_form.channels import RAMP, Channels, EncoderChannels
from vidtwin_codec.training.closed_form.components import PatchComponents, temporal_dct, unit_waves
from vidtwin_codec.training.closed_form.picking import pick_terms
from vidtwin_codec.training.closed_form.plan import Term
from vidtwin_codec.training.closed_form.voting import count_votes, vote
from vidtwin_codec.training.closed_form.wiring import (
    ATTENTION,
    BLOCKS,
    CONSTANT,
    KAPPA,
    MLP,
    Heads,
    Scores,
    Units,
    after_mlp,
    after_temporal,
    alternating,
    mlp_input,
    read,
    see_the_stream,
)

RAMP_HEIGHT = 4.0
"""Of the ramp in the stream: high enough to tell frames apart beside components of unit variance."""
COLLECTED_SHARE = 0.25
"""DCT coefficients of unit-variance components have up to 4 times their deviation; this brings them back to it."""
_RIDGE = 1e-4
_HINGE = 2.5
"""Of a hinge's input from one frame to the next: GELU bends well within that."""


_CLEARED = ("frame", "still", "collected", "votes", "verdicts", "switches", "picked", "dynamics", "references")


def write_encoder(
    encoder: VidTwinEncoder,
    allocation: Allocation,
    rooms: EncoderChannels,
    components: PatchComponents,
    whitened: Tensor,
) -> Tensor:
    """Set patch embedding and transformer; the tokens ``[B, T, S, D]`` that they make of ``whitened``."""
    plan, motion, gains = allocation
    embedding, transformer = encoder.patch_embedding, encoder.transformer
    weight = components.vectors[: plan.still] / components.deviations[: plan.still, None]
    embedding.weight.zero_()
    embedding.bias.zero_()
    embedding.weight[rooms.moving] = weight
    embedding.bias[rooms.moving] = -weight @ components.mean
    embedding.bias[rooms.constants] = CONSTANT * alternating(len(rooms.constants))

    blocks = [block for block in transformer.blocks if isinstance(block, Block)]
    space, time = transformer.spatial_positions[0], transformer.temporal_positions[0]
    x = space + torch.zeros(*whitened.shape[:3], space.shape[1])
    x[..., rooms.moving] += whitened[..., : plan.still]
    x[..., rooms.constants] += embedding.bias[rooms.constants]
    see_the_stream(blocks[0].modulation[ATTENTION], x, rooms.constants)
    _split_time(blocks[0], rooms, space, time)
    x = after_temporal(blocks[0], x, time)
    see_the_stream(blocks[0].modulation[MLP], x, rooms.constants)
    _code_frames(blocks[0], rooms, x, space)
    x = after_mlp(blocks[0], x)

    gain = len(time) / KAPPA * COLLECTED_SHARE
    collecting = Heads(blocks[1].temporal_attention)
    for number, (frequencies, count) in enumerate(plan.tables):
        scores = Scores(rooms.frame, wave_logarithms(frequencies))
        first = plan.channel(number, 0)
        # it is of what moves, whose mean over frames is 0, so that the 1 of weights 1 + kappa·psi vanishes
        collected = rooms.collected[first : first + count]
        collecting.relay(rooms.moving, [(collected, motion.reading[:count] * gain)], scores=scores)
    x = after_temporal(blocks[1], x)
    see_the_stream(blocks[1].modulation[MLP], x, rooms.constants)
    vote(blocks[1], rooms, x, gains)
    x = after_mlp(blocks[1], x)

    number = len(rooms.votes)
    verdicts: list[tuple[Channels, float | Tensor]] = [(rooms.verdicts[:number], 1.0), (rooms.verdicts[number:], -1.0)]
    Heads(blocks[2].temporal_attention).relay(rooms.votes, verdicts)
    x = after_temporal(blocks[2], x)
    see_the_stream(blocks[2].modulation[MLP], x, rooms.constants)
    count_votes(blocks[2], rooms)
    x = after_mlp(blocks[2], x)

    see_the_stream(blocks[3].modulation[MLP], x, rooms.constants)
    _, peaks = unit_waves(temporal_dct(len(time)))

    def pixels(term: Term, slot: int) -> float:
        if term.table is None:
            return float(components.deviations[term.component] / peaks[0])
        return float(motion.deviations[term.component] * peaks[plan.frequency(term, slot)] / COLLECTED_SHARE)

    pick_terms(blocks[3], plan, rooms, x, pixels)
    x = after_mlp(blocks[3], x)
    for block in blocks[1:]:
        see_the_stream(block.modulation[ATTENTION], x, rooms.constants)
    for block in blocks[BLOCKS:]:
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
    wanted = torch.stack([ramp, ramp.square()], dim=1)
    # not off the constants either: rounding their weights to 16 bits would move the ramp
    readings = _blind_functionals(time, space, wanted, rooms.moving + rooms.constants)
    sharpness = (frames - 1) / 2
    head, scale = heads.claim(), heads.size**0.5
    heads.query[head, 0] = 2 * scale * sharpness * readings[0]
    heads.query_bias[head, 1] = -scale * sharpness
    heads.key[head, :2] = sharpness * readings
    heads.value[head, 0] = readings[0]
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
    """MLP: the ramp becomes a one-hot code of the frame, a sum of hinges with a bend at every frame.

    And the positions leave the rooms that are written later.
    """
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
    block.mlp.contract.bias[rooms.frame] = solution[-1].float()
    _clear_positions(units, rooms, space)


def _clear_positions(units: Units, rooms: EncoderChannels, space: Tensor) -> None:
    """Take the spatial positions out, reading them off the channels that hold nothing else yet."""
    cleared = [channel for name in _CLEARED for channel in getattr(rooms, name)]
    pollution = space.clone()
    pollution[:, rooms.still] += space[:, rooms.moving]
    mixed = torch.ones(space.shape[1], dtype=torch.bool)
    mixed[rooms.ramp + rooms.moving + rooms.still + rooms.constants] = False
    pure = torch.nonzero(mixed).flatten().tolist()
    shapes, sizes, _ = torch.linalg.svd(space[:, pure].double(), full_matrices=False)
    shapes = shapes[:, sizes > _RIDGE * sizes[0]]
    # blind to a constant over channels, which is what LayerNorm subtracts
    given = torch.cat([space[:, pure].double(), torch.ones(1, len(pure), dtype=torch.float64)])
    targets = torch.cat([shapes, torch.zeros(1, shapes.shape[1], dtype=torch.float64)])
    readings = torch.linalg.lstsq(given, targets, driver="gelsd").solution.float()
    amounts = -(shapes.T @ pollution[:, cleared].double()).float()
    for weights, factors in zip(readings.T, amounts, strict=True):
        units.passed(read(space.shape[1], pure, weights), cleared, factors)


def wave_logarithms(frequencies: tuple[int, ...]) -> Tensor:
    """``[slot, t]``: log(1 + kappa·psi_f(t)) of each slot's frequency; 0 for frequency 0, a plain mean."""
    waves, _ = unit_waves(temporal_dct(len(frequencies)))
    waves[0] = 0
    return torch.log1p(KAPPA * waves[list(frequencies)])
