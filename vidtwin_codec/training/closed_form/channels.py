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
"""Empty channels that tell what LayerNorm subtracted."""


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
    """At frame i, motion components' DCT coefficients of slot i's frequency in each table."""
    votes: Channels
    """How much speaks for each switch, as far as the frame can tell."""
    verdicts: Channels
    """The mean of the votes over frames, and its negative: their difference is free of what LayerNorm subtracts."""
    switches: Channels
    """``SWITCH_ON`` where the place's kind is above the switch's number, else 0."""
    picked: Channels
    """At frame i, what slot i carries."""
    dynamics: Channels
    """At frame i, the components that its dynamics carry."""
    references: Channels
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
    flags: Channels
    """At the frame of the slot that tells a switch, −1 or 1; elsewhere 0."""
    verdicts: Channels
    """That, at every frame."""
    switches: Channels
    """``SWITCH_ON`` where the place's kind is above the switch's number, else 0."""
    output: Channels
    """Whitened components of the decoded frame."""
    still: Channels
    """At frame i, the patch components that slot i and dynamics i carry."""
    moving: Channels
    """The same of motion components, of every table."""
    constants: Channels

    @property
    def served(self) -> Channels:
        """Rooms that nothing is read from once the switches are set."""
        return self.hinges + self.flags + self.verdicts


def encoder_channels(config: VidTwinConfig, still: int, moving: int, switches: int) -> EncoderChannels:
    """Rooms for ``still`` patch components, ``moving`` motion components and so many switches."""
    told, latents = (switches, 2 * switches, switches), (config.structure_channels, config.dynamics_channels)
    sizes = (RAMP, config.frames, still, still, moving, *told, *latents, REFERENCES, CONSTANTS)
    return EncoderChannels(*_deal(config.encoder.hidden_size, sizes))


def decoder_channels(config: VidTwinConfig, still: int, moving: int, switches: int) -> DecoderChannels:
    """As :func:`encoder_channels`. The last of the still room are rooms that have served their purpose by then."""
    structure, dynamics, frames = config.structure_channels, config.dynamics_channels, config.frames
    inputs = (structure, structure, REFERENCES, frames, dynamics, dynamics)
    own = still - min(still, _served(config, switches))
    rest = (frames, switches, switches, switches, still, own, moving, CONSTANTS)
    rooms = DecoderChannels(*_deal(config.decoder.hidden_size, (*inputs, *rest)))
    return rooms._replace(still=(rooms.still + rooms.served)[:still])


def _served(config: VidTwinConfig, switches: int) -> int:
    """Of :attr:`DecoderChannels.served`."""
    return config.frames + 2 * switches


def room(config: VidTwinConfig, switches: int) -> int:
    """Channels left on the narrower side: twice the still components and the moving ones."""
    encoder = config.encoder.hidden_size - sum(map(len, encoder_channels(config, 0, 0, switches)))
    decoder = config.decoder.hidden_size - sum(map(len, decoder_channels(config, 0, 0, switches)))
    return min(encoder, decoder + _served(config, switches))


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
