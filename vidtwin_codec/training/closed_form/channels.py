"""Which channels of a token hold what.

Positions are added to every channel at the input. In the channels of their lowest frequencies they barely vary, so
rooms are dealt out there first, in the order that needs flatness most.
"""

from __future__ import annotations

from typing import NamedTuple

from vidtwin_codec.model import VidTwinConfig

Channels = list[int]

RAMP = 4
"""Copies of the time ramp, alternating in sign so that a token's mean stays 0 and its LayerNorm does not see them."""
CONSTANTS = 16
"""Channels of the large constants: enough to dominate the norm with values that float16 and bfloat16 hold well."""
REFERENCES = 8
"""Empty channels that tell the decoder's hinges what LayerNorm subtracted."""


class EncoderChannels(NamedTuple):
    """Rooms of the encoder's stream."""

    ramp: Channels
    frame: Channels
    """One-hot of the frame."""
    moving: Channels
    """Whitened components, after block 0 without their mean over frames."""
    still: Channels
    """The mean over frames of each."""
    collected: Channels
    """At frame i, the DCT coefficients of frequency f(i)."""
    dynamics: Channels
    """At frame i, the components that its dynamics carry."""
    constants: Channels


class DecoderChannels(NamedTuple):
    """Rooms of the decoder's stream."""

    positive: Channels
    """Structure latents plus an offset, since a ReLU follows."""
    negative: Channels
    """Their negatives plus the offset."""
    references: Channels
    hinges: Channels
    """``relu(k + 1 − t)``: what the frame is read off."""
    dynamics_positive: Channels
    dynamics_negative: Channels
    frame: Channels
    """One-hot of the frame."""
    output: Channels
    """Whitened components of the decoded frame."""
    still: Channels
    """At frame i, the components that slot i and dynamics i carry, if their frequency is 0."""
    moving: Channels
    """The same of the other frequencies."""
    constants: Channels


def encoder_channels(config: VidTwinConfig, still: int, moving: int) -> EncoderChannels:
    """Rooms for ``still`` components of frequency 0 and ``moving`` ones of the others."""
    sizes = (RAMP, config.frames, still, still, moving, config.dynamics_channels, CONSTANTS)
    return EncoderChannels(*_deal(config.encoder.hidden_size, sizes))


def decoder_channels(config: VidTwinConfig, still: int, moving: int) -> DecoderChannels:
    """As :func:`encoder_channels`."""
    structure, dynamics, frames = config.structure_channels, config.dynamics_channels, config.frames
    inputs = (structure, structure, REFERENCES, frames, dynamics, dynamics)
    return DecoderChannels(*_deal(config.decoder.hidden_size, (*inputs, frames, still, still, moving, CONSTANTS)))


def encoder_room(config: VidTwinConfig) -> int:
    """Channels left for components: twice the still ones and the moving ones."""
    return config.encoder.hidden_size - sum(map(len, encoder_channels(config, 0, 0)))


def decoder_room(config: VidTwinConfig) -> int:
    """As :func:`encoder_room`."""
    return config.decoder.hidden_size - sum(map(len, decoder_channels(config, 0, 0)))


def _deal(width: int, sizes: tuple[int, ...]) -> list[Channels]:
    order = flattest_first(width)
    rooms = []
    for size in sizes:
        rooms.append(order[:size])
        order = order[size:]
    return rooms


def flattest_first(width: int) -> Channels:
    """All channels, those where the spatial positions vary least first.

    Positions are four runs (sine and cosine of the column, then of the row), each from high frequency to low.
    """
    run = width // 4
    return [start * run + index for index in reversed(range(run)) for start in range(4)]
