"""The decoder's transformer: frame i puts its numbers where they belong, then frames sum them by the inverse DCT."""

from __future__ import annotations

import torch
from torch import Tensor

from vidtwin_codec.model import Latents, VidTwinDecoder
from vidtwin_codec.model.transformer import Block
from vidtwin_codec.training.closed_form.channels import Channels, DecoderChannels
from vidtwin_codec.training.closed_form.components import Footage, temporal_dct
from vidtwin_codec.training.closed_form.slots import SlotPlan, unit_waves
from vidtwin_codec.training.closed_form.wiring import (
    ATTENTION,
    CONSTANT,
    GATE_OPEN,
    KAPPA,
    MLP,
    Heads,
    Reading,
    Scores,
    Units,
    after_mlp,
    after_temporal,
    alternating,
    mlp_input,
    read,
    see_the_stream,
    signal_scale,
)

_SHUT = -5.5
"""Of a gate: deep enough, and a smaller swing than the encoder's, since errors in the code are amplified by it."""
_BOOST = 2.0
"""Of components between the blocks, over what the inverse DCT needs: it divides by the number of frames later."""
_VALUE_GAIN = 4.0
"""Part of that division is undone in the values, so that the projection has ordinary size."""
_RIDGE = 1e-6
_NOTHING = 1e-12
"""Variance of latents of footage without motion, which have no slope."""
_LEAST_STILL = 0.25
"""Of 1/T: the attention weight that slots of frequency 0 keep at least when the others take theirs."""


def write_decoder(
    decoder: VidTwinDecoder, plan: SlotPlan, rooms: DecoderChannels, footage: Footage, latents: Latents
) -> None:
    """Set the transformer and the norm of the head.

    Args:
        decoder: whose branches are written already.
        plan: what the latents are.
        rooms: the decoder's.
        footage: gives the coefficients that the latents stand for.
        latents: of the same clips, from the written encoder.
    """
    transformer = decoder.transformer
    first, second = (transformer.blocks[number] for number in (0, 1))
    assert isinstance(first, Block)
    assert isinstance(second, Block)
    columns, rows = decoder.dynamics(latents.dynamics_x, latents.dynamics_y)
    x = (decoder.structure(latents.structure) + columns + rows).flatten(2, 3) + transformer.spatial_positions[0]

    see_the_stream(first.modulation[ATTENTION], x, [])
    _clear_rooms(first, rooms, transformer.temporal_positions[0])
    x = after_temporal(first, x, transformer.temporal_positions[0])
    see_the_stream(first.modulation[MLP], x, rooms.constants)
    _place_components(first, plan, rooms, x, footage, latents)
    x = after_mlp(first, x)

    see_the_stream(second.modulation[ATTENTION], x, rooms.constants)
    _invert_transform(second, plan, rooms)
    x = after_temporal(second, x)
    see_the_stream(second.modulation[MLP], x, rooms.constants)
    for block in list(transformer.blocks)[2:]:
        assert isinstance(block, Block)
        see_the_stream(block.modulation[ATTENTION], x, rooms.constants)
        see_the_stream(block.modulation[MLP], x, rooms.constants)
    decoder.head.modulation.zero_()
    see_the_stream(decoder.head.modulation[1], x, rooms.constants)


def _clear_rooms(block: Block, rooms: DecoderChannels, time: Tensor) -> None:
    """Temporal attention: the positions leave the rooms written to later, being their own mean over frames.

    The large constants enter here, by the projection's bias: from the branches only positive ones could come.
    """
    cleared = rooms.frame + rooms.output + rooms.still + rooms.moving
    Heads(block.temporal_attention).relay(cleared, [(cleared, -1.0)], bias=-time[:, cleared].mean(dim=0))
    block.temporal_attention.projection.bias[rooms.constants] = CONSTANT * alternating(len(rooms.constants))


def _place_components(
    block: Block, plan: SlotPlan, rooms: DecoderChannels, x: Tensor, footage: Footage, latents: Latents
) -> None:
    """MLP: at frame i, slot i's and dynamics i's numbers go to the channels of their components, as DCT terms."""
    seen, width = mlp_input(block, x), x.shape[3]
    gates = _frame_gates(seen, rooms)
    structure = latents.structure.flatten(2, 3)
    across = latents.dynamics_x.permute(0, 2, 3, 1)[:, :, None]
    down = latents.dynamics_y.permute(0, 2, 3, 1)[:, :, :, None]
    dynamics = (across + down).flatten(2, 3)
    _, peaks = unit_waves(temporal_dct(x.shape[1]))
    units = Units(block.mlp.expand, block.mlp.contract)
    branches = (
        (structure, plan.structure, rooms.positive, rooms.negative),
        (dynamics, plan.dynamics, rooms.dynamics_positive, rooms.dynamics_negative),
    )
    for number, frequency in enumerate(plan.frequencies):
        units.add(gates[number], rooms.frame[number], 1 / GATE_OPEN)
        for numbers, carried, positive, negative in branches:
            for index, component in enumerate(carried[number]):
                value = numbers[:, number, :, index]
                difference = seen[:, number, :, positive[index]] - seen[:, number, :, negative[index]]
                slope, offset = _line(difference, value)
                scale = signal_scale(value)
                signal = read(width, [positive[index], negative[index]], torch.tensor([1.0, -1.0]) * slope, offset)
                # what the latent stands for: 1 for structure, less for dynamics, which are only a mean of it
                meaning, _ = _line(value, footage.spectrum[:, frequency, :, component])
                target = (rooms.moving if frequency else rooms.still)[component]
                factor = meaning * peaks[frequency] * _BOOST / (2 * scale)
                units.gated(signal.scaled(scale), gates[number], target, factor)


def _frame_gates(seen: Tensor, rooms: DecoderChannels) -> list[Reading]:
    """A gate for every frame, a linear reading of the hinges (least squares)."""
    frames, width = seen.shape[1], seen.shape[3]
    sources: Channels = rooms.hinges + rooms.references
    basis = torch.cat([seen[..., sources], torch.ones(*seen.shape[:3], 1)], dim=3).flatten(0, 2).double()
    wanted = torch.eye(frames, dtype=torch.float64)[None, :, None].expand(*seen.shape[:3], frames).flatten(0, 2)
    ridge = _RIDGE * len(basis) * torch.eye(basis.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(basis.T @ basis + ridge, basis.T @ wanted).float()
    swing = GATE_OPEN - _SHUT
    return [read(width, sources, swing * column[:-1], swing * column[-1] + _SHUT) for column in solution.T]


def _line(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and offset of the regression of y on x."""
    centred = x - x.mean()
    slope = (centred * (y - y.mean())).mean() / centred.square().mean().clamp_min(_NOTHING)
    return slope, y.mean() - slope * x.mean()


def _invert_transform(block: Block, plan: SlotPlan, rooms: DecoderChannels) -> None:
    """Temporal attention: frame t sums frame i's terms with weight psi_f(i)(t).

    Weights cannot be negative, so one head has (1 + kappa·psi)/T and another, a plain mean, is subtracted from it.
    The frames of frequency 0 share what the others leave of the first head's weight: they hold nothing that moves.
    """
    frames = len(plan.frequencies)
    waves, _ = unit_waves(temporal_dct(frames))
    of_slot = waves[list(plan.frequencies)].T
    still = torch.tensor([frequency == 0 for frequency in plan.frequencies])
    number = int(still.sum())
    highest = float(of_slot[:, ~still].sum(dim=1).max()) if number < frames else 0.0
    kappa = min(KAPPA, number * (1 - _LEAST_STILL) / highest) if highest > 0 else KAPPA
    weights = (1 + kappa * of_slot) / frames
    weights[:, still] = 0
    weights[:, still] = ((1 - weights.sum(dim=1)) / number)[:, None]
    logarithms = weights.log()
    scores = Scores(rooms.frame, logarithms - logarithms.mean(dim=1, keepdim=True))

    heads = Heads(block.temporal_attention)
    gain = frames / _BOOST / _VALUE_GAIN
    moving, still_output = rooms.output[: len(rooms.moving)], rooms.output[: len(rooms.still)]
    heads.relay(rooms.moving, [(moving, gain / kappa)], gain=_VALUE_GAIN, scores=scores)
    heads.relay(rooms.moving, [(moving, -gain / kappa)], gain=_VALUE_GAIN)
    heads.relay(rooms.still, [(still_output, gain)], gain=_VALUE_GAIN)
