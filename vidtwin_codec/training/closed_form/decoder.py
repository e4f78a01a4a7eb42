"""The decoder's transformer: which frame, which switches, numbers to where they belong, inverse DCT.

Block 0 tells frames apart and reads the switches off the latents that tell them; block 1 spreads these over all
frames; block 2 puts frame i's numbers to the components they stand for; block 3 sums frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vidtwin_codec.model import Latents, VidTwinDecoder
from vidtwin_codec.model.transformer import Block
from vidtwin_codec.training.closed_form.allocation import Allocation
from vidtwin_codec.training.closed_form.channels import Channels, DecoderChannels
from vidtwin_codec.training.closed_form.components import Footage, Motion, temporal_dct, unit_waves
from vidtwin_codec.training.closed_form.placing import BOOST, PlacedLatents, line, place_terms
from vidtwin_codec.training.closed_form.plan import SlotPlan
from vidtwin_codec.training.closed_form.switches import SWITCH_ON
from vidtwin_codec.training.closed_form.wiring import (
    ATTENTION,
    BLOCKS,
    CONSTANT,
    GATE_OPEN,
    KAPPA,
    MLP,
    STEP_WIDTH,
    Heads,
    Reading,
    Scores,
    Units,
    after_mlp,
    after_spatial,
    after_temporal,
    alternating,
    mlp_input,
    read,
    see_the_stream,
)

_SHUT = -5.5
"""Of a gate: deep enough, and a smaller swing than the encoder's, since errors in the code are amplified by it."""
_VALUE_GAIN = 4.0
"""Part of the inverse DCT's division is undone in the values, so that the projection has ordinary size."""
_LEAST_STEP = 0.5
"""Between a switch told as off and one told as on, which are −1 and 1."""
_FLAG = 0.25
"""Of a switch's signal at its gate: the same channel's latents in other slots, which may be large, must not leak."""
_RIDGE = 1e-6
_LEAST_STILL = 0.25
"""Of 1/T: the attention weight that slots of frequency 0 keep at least when the others take theirs."""


def write_decoder(
    decoder: VidTwinDecoder, allocation: Allocation, rooms: DecoderChannels, footage: Footage, latents: Latents
) -> None:
    """Set the transformer and the norm of the head.

    Args:
        decoder: whose branches are written already.
        allocation: what the latents are.
        rooms: the decoder's.
        footage: gives the coefficients that the latents stand for.
        latents: of the same clips, from the written encoder.
    """
    plan, motion, _ = allocation
    transformer = decoder.transformer
    blocks = [block for block in transformer.blocks if isinstance(block, Block)]
    columns, rows = decoder.dynamics(latents.dynamics_x, latents.dynamics_y)
    x = (decoder.structure(latents.structure) + columns + rows).flatten(2, 3) + transformer.spatial_positions[0]
    signs = [balancing_signs(table.frequencies) for table in plan.tables]

    see_the_stream(blocks[0].modulation[ATTENTION], x, [])
    _clear_rooms(blocks[0], rooms, transformer.temporal_positions[0])
    x = after_temporal(blocks[0], x, transformer.temporal_positions[0])
    see_the_stream(blocks[0].modulation[MLP], x, rooms.constants)
    _tell_frames(blocks[0], allocation, rooms, x, latents)
    x = after_mlp(blocks[0], x)

    see_the_stream(blocks[1].modulation[ATTENTION], x, rooms.constants)
    # rows and columns both hold the mean of a frame: half of it is taken from either
    halved = rooms.dynamics_positive + rooms.dynamics_negative
    Heads(blocks[1].spatial_attention).relay(halved, [(halved, -0.5)])
    Heads(blocks[1].temporal_attention).relay(rooms.flags, [(rooms.verdicts, float(x.shape[1]))])
    x = after_temporal(blocks[1], after_spatial(blocks[1], x))
    see_the_stream(blocks[1].modulation[MLP], x, rooms.constants)
    units = Units(blocks[1].mlp.expand, blocks[1].mlp.contract)
    verdicts = mlp_input(blocks[1], x)[..., rooms.verdicts].flatten(0, 2)
    # well beyond the step's ends, so that all switches that are on are alike; LayerNorm has shifted both ends
    low, high = verdicts.amin(dim=0), verdicts.amax(dim=0)
    steepness = 2 * STEP_WIDTH / (high - low).clamp_min(_LEAST_STEP)
    for number, (verdict, switch) in enumerate(zip(rooms.verdicts, rooms.switches, strict=True)):
        middle = (low[number] + high[number]) / 2
        units.step(read(x.shape[3], verdict, steepness[number], -steepness[number] * middle), switch, SWITCH_ON)
    _clear_served(units, rooms, x)
    x = after_mlp(blocks[1], x)

    see_the_stream(blocks[2].modulation[ATTENTION], x, rooms.constants)
    see_the_stream(blocks[2].modulation[MLP], x, rooms.constants)
    place_terms(blocks[2], allocation, rooms, x, footage, PlacedLatents.of(latents), signs)
    x = after_mlp(blocks[2], x)

    see_the_stream(blocks[3].modulation[ATTENTION], x, rooms.constants)
    _invert_transform(blocks[3], plan, signs, rooms, motion)
    x = after_temporal(blocks[3], x)
    see_the_stream(blocks[3].modulation[MLP], x, rooms.constants)
    for block in blocks[BLOCKS:]:
        see_the_stream(block.modulation[ATTENTION], x, rooms.constants)
        see_the_stream(block.modulation[MLP], x, rooms.constants)
    decoder.head.modulation.zero_()
    see_the_stream(decoder.head.modulation[1], x, rooms.constants)


def _clear_rooms(block: Block, rooms: DecoderChannels, time: Tensor) -> None:
    """Temporal attention: the positions leave the rooms written to later, being their own mean over frames.

    The large constants enter here, by the projection's bias: from the branches only positive ones could come.
    """
    still = [channel for channel in rooms.still if channel not in rooms.served]
    cleared = rooms.frame + rooms.flags + rooms.verdicts + rooms.switches + rooms.output + rooms.moving + still
    Heads(block.temporal_attention).relay(cleared, [(cleared, -1.0)], bias=-time[:, cleared].mean(dim=0))
    block.temporal_attention.projection.bias[rooms.constants] = CONSTANT * alternating(len(rooms.constants))


def _tell_frames(block: Block, allocation: Allocation, rooms: DecoderChannels, x: Tensor, latents: Latents) -> None:
    """MLP: a one-hot code of the frame; at the frames that tell a switch, −1 or 1."""
    seen, width = mlp_input(block, x), x.shape[3]
    gates = _frame_gates(seen, rooms)
    units = Units(block.mlp.expand, block.mlp.contract)
    for gate, channel in zip(gates, rooms.frame, strict=True):
        units.add(gate, channel, 1 / GATE_OPEN)
    for switch, (slot, channel) in enumerate(allocation.plan.flags):
        pair = [rooms.positive[channel], rooms.negative[channel]]
        difference = seen[:, slot, :, pair[0]] - seen[:, slot, :, pair[1]]
        told = latents.structure[:, slot, :, :, channel].flatten(1)
        slope, offset = line(difference, told)
        # whatever the latents' scale: the middle between the two ends is 0, the ends are ±1
        low, high = told.min(), told.max()
        reach = ((high - low) / 2).clamp_min(_RIDGE)
        signal = read(width, pair, torch.tensor([1.0, -1.0]) * slope, offset - (low + high) / 2).scaled(1 / reach)
        units.gated(signal.scaled(_FLAG), gates[slot], rooms.flags[switch], 0.5 / _FLAG)


def _clear_served(units: Units, rooms: DecoderChannels, x: Tensor) -> None:
    """MLP: rooms that have served and are part of the still one are emptied, but for what LayerNorm subtracted."""
    for channel in set(rooms.still) & set(rooms.served):
        units.passed(read(x.shape[3], channel), [channel], torch.tensor([-1.0]))


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


def balancing_signs(frequencies: tuple[int, ...]) -> list[float]:
    """Signs of the slots' waves, such that the sum of all stays small at every frame: attention weights add up to 1,
    and what the waves add, slots of frequency 0 must give.
    """
    waves, _ = unit_waves(temporal_dct(len(frequencies)))
    total, signs = torch.zeros(len(frequencies)), []
    for frequency in frequencies:
        wave = waves[frequency] if frequency else torch.zeros_like(total)
        sign = -1.0 if float((total + wave).abs().max()) > float((total - wave).abs().max()) else 1.0
        total += sign * wave
        signs.append(sign)
    return signs


def _invert_transform(
    block: Block, plan: SlotPlan, signs: list[list[float]], rooms: DecoderChannels, motion: Motion
) -> None:
    """Temporal attention: frame t sums frame i's terms with weights psi_f(i)(t), f by the terms' table.

    Weights cannot be negative: a head for each table has (1 + kappa·psi)/T, and another, a plain mean, is subtracted.
    """
    heads = Heads(block.temporal_attention)
    frames = len(plan.structure)
    gain = frames / BOOST / _VALUE_GAIN
    back = rooms.output[: motion.vectors.shape[1]]
    subtracted = []
    for number, (frequencies, count) in enumerate(plan.tables):
        table, kappa = _wave_weights(frequencies, signs[number])
        first = plan.channel(number, 0)
        writing = motion.writing[:, :count] * (gain / kappa)
        moving = rooms.moving[first : first + count]
        scores = Scores(rooms.frame, table)
        heads.relay(moving, [(back, writing)], gain=_VALUE_GAIN, scores=scores)
        subtracted.append(-writing)
    heads.relay(rooms.moving, [(back, torch.cat(subtracted, dim=1))], gain=_VALUE_GAIN)
    heads.relay(rooms.still, [(rooms.output, gain)], gain=_VALUE_GAIN)


def _wave_weights(frequencies: tuple[int, ...], signs: list[float]) -> tuple[Tensor, float]:
    """``[t, slot]``, the logarithms of the attention weights (1 + kappa·psi)/T less their mean, and kappa.

    The slots of frequency 0 share what the others leave: they hold nothing that moves.
    """
    frames = len(frequencies)
    waves, _ = unit_waves(temporal_dct(frames))
    of_slot = (waves[list(frequencies)] * torch.tensor(signs)[:, None]).T
    still = torch.tensor([frequency == 0 for frequency in frequencies])
    number = int(still.sum())
    highest = float(of_slot[:, ~still].sum(dim=1).max()) if number < frames else 0.0
    kappa = min(KAPPA, number * (1 - _LEAST_STILL) / highest) if highest > 0 else KAPPA
    weights = (1 + kappa * of_slot) / frames
    weights[:, still] = 0
    weights[:, still] = ((1 - weights.sum(dim=1)) / number)[:, None]
    logarithms = weights.log()
    return logarithms - logarithms.mean(dim=1, keepdim=True), kappa
