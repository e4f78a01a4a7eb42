"""The branches' decoders: latents of unit variance in, tokens of which frame i holds what slot i and dynamics i carry.

Every layer here ends in a ReLU, so numbers pass as their positive and negative parts, or on top of an offset.
"""

from __future__ import annotations

import torch
from torch import nn

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model.branches import DynamicsDecoder, StructureDecoder
from vidtwin_codec.training.closed_form.channels import DecoderChannels

LATENT_GAIN = 0.25
HINGE_STEP = 0.125
"""Both powers of two: offsets and hinges are then exact in bfloat16."""
_DEVIATIONS = 32
"""Of a latent, which pass uncut in every frame."""


def write_structure_decoder(branch: StructureDecoder, rooms: DecoderChannels) -> None:
    """Slot i becomes frame i.

    Its latents arrive as plus and minus themselves on an offset, beside ``relu(k + 1 − i)`` for every k, which the
    last layer's bias makes of constants: the only thing in a token of the decoder that tells its frame.

    Raises:
        VidtwinError: the branch is too narrow.
    """
    number, frames = len(rooms.positive), len(rooms.hinges)
    check_pairs(branch.input.out_channels, number, "the structure branch's convolutions")
    check_pairs(branch.output.out_channels * 2, number, "the Q-Former")
    unit = torch.arange(number)
    assert branch.input.bias is not None
    assert branch.output.bias is not None
    branch.input.weight[: 2 * number] = 0
    branch.input.weight[unit, unit, 1, 1] = 1
    branch.input.weight[number + unit, unit, 1, 1] = -1
    branch.output.weight.zero_()
    branch.output.weight[unit, unit, 1, 1] = 1
    branch.output.weight[unit, number + unit, 1, 1] = -1

    widen, to_frames = branch.widen, branch.slots_to_frames
    widen.weight.zero_()
    widen.bias.zero_()
    widen.weight[rooms.positive, unit] = LATENT_GAIN
    widen.weight[rooms.negative, unit] = -LATENT_GAIN
    # the bias of the last frame is to leave room for the latents
    offset = HINGE_STEP * (frames - 1) + LATENT_GAIN * _DEVIATIONS
    widen.bias[rooms.positive] = offset
    widen.bias[rooms.negative] = offset
    widen.bias[rooms.hinges] = HINGE_STEP * (torch.arange(frames) + 1.0)
    nn.init.eye_(to_frames.weight)
    to_frames.bias.copy_(-HINGE_STEP * torch.arange(frames))


def write_dynamics_decoder(branch: DynamicsDecoder, rooms: DecoderChannels) -> None:
    """Row and column latents arrive as their positive and negative parts.

    Raises:
        VidtwinError: the branch is too narrow.
    """
    number = len(rooms.dynamics_positive)
    check_pairs(branch.first.out_features, number, "the decoder")
    unit = torch.arange(number)
    branch.first.weight[: 2 * number] = 0
    branch.first.weight[unit, unit] = 1
    branch.first.weight[number + unit, unit] = -1
    branch.second.weight.zero_()
    branch.second.weight[rooms.dynamics_positive, unit] = LATENT_GAIN
    branch.second.weight[rooms.dynamics_negative, number + unit] = LATENT_GAIN


def check_pairs(width: int, number: int, what: str) -> None:
    """Raise VidtwinError where ``width`` does not hold plus and minus of ``number`` latents."""
    if width < 2 * number:
        raise VidtwinError(f"closed-form weights need {what} at least {2 * number} wide, not {width}")
