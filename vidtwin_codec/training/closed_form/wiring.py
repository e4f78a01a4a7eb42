"""Writing weights by meaning: heads that average, hidden units that pass or block, norms that do nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model.transformer import LAYER_NORM_EPS, Attention, Block
from vidtwin_codec.training.closed_form.channels import Channels

BLOCKS = 4
"""That the construction needs on either side."""
CONSTANT = 200.0
"""Of the constant channels: against it a token's content is a few per cent of its norm. Larger is more linear in
float32, but bfloat16 then rounds away more of the content."""
GATE_OPEN = 5.0
"""GELU is linear to 1e-4 from here on, so that half-unit signals around it pass undistorted."""
GATE_SWING = 16.0
"""From open down to −11, where no signal comes near GELU's foot."""
SIGNAL = 0.3
"""Standard deviation of what passes a gate: GELU bends three of them by half a per cent, five by two."""
HEADROOM = 2.5
"""Of the largest signal that the footage shows; 3.5 would still pass to two per cent. Motion is rare and violent, so
that scaling it by its deviation alone would cut it off."""
STOPPED = 5.0
"""Of the largest signal at a shut gate: 11 would begin to leak, and footage to come may be more violent."""
STEP_WIDTH = 8.0
"""Between a step's foot and head, of which GELU rounds the edges off."""
KAPPA = 0.9
"""Of attention weights 1 + kappa·psi, which must stay positive: their logarithms are finite."""

_NOTHING = 1e-4
"""Beside whitened components: less than this is rounding."""

ATTENTION, MLP = 1, 4
"""Rows of a block's modulation that hold the scales."""


class Reading(NamedTuple):
    """A linear reading of a token: ``weight · token + bias``."""

    weight: Tensor
    bias: float | Tensor

    def scaled(self, factor: float | Tensor) -> Reading:
        return Reading(self.weight * factor, self.bias * factor)


def read(width: int, channels: Channels | int, weights: Tensor | float = 1.0, bias: float | Tensor = 0.0) -> Reading:
    """``sum(weights · token[channels]) + bias``."""
    weight = torch.zeros(width)
    weight[channels] = torch.as_tensor(weights)
    return Reading(weight, bias)


class Scores(NamedTuple):
    """Attention by position: a token with one-hot ``code`` q looks at code k with weight ∝ exp(``table[q, k]``)."""

    code: Channels
    table: Tensor


class Heads:
    """The heads of one attention, given work one after another; those without work keep a zero projection."""

    def __init__(self, attention: Attention) -> None:
        width = attention.qkv.in_features
        self.number, self.size = attention.heads, width // attention.heads
        self.query, self.key, self.value = attention.qkv.weight.view(3, self.number, self.size, width)
        self.query_bias, self.key_bias, self.value_bias = attention.qkv.bias.view(3, self.number, self.size)
        self.projection = attention.projection.weight.view(width, self.number, self.size)
        self.used = 0

    def claim(self) -> int:
        """The next head, its weights zero: equal scores, so a mean over all tokens.

        Raises:
            VidtwinError: there is none left.
        """
        if self.used == self.number:
            raise VidtwinError(f"closed-form weights need more than {self.number} attention heads of {self.size}")
        head, self.used = self.used, self.used + 1
        for part in (self.query, self.key, self.value, self.query_bias, self.key_bias, self.value_bias):
            part[head] = 0
        return head

    def relay(
        self,
        channels: Channels,
        targets: Sequence[tuple[Channels, float | Tensor]],
        *,
        gain: float = 1.0,
        bias: Tensor | None = None,
        scores: Scores | None = None,
    ) -> None:
        """Mean over tokens of ``channels``, times ``gain``, added with a factor to each of ``targets``.

        Args:
            channels: as many as it takes; every head carries as many as it is wide.
            targets: channels and the factor, or a matrix ``[targets, channels]``.
            gain: between value and projection; both get ordinary sizes this way.
            bias: ``[len(channels)]``, added to the values.
            scores: a weighted mean in place of the plain one.
        """
        for start in range(0, len(channels), self.size):
            part = channels[start : start + self.size]
            head, unit = self.claim(), torch.arange(len(part))
            self.value[head, unit, part] = gain
            if bias is not None:
                self.value_bias[head, : len(part)] = bias[start : start + len(part)]
            for written, factor in targets:
                if isinstance(factor, Tensor):
                    self.projection[torch.tensor(written)[:, None], head, unit] = factor[:, unit + start]
                else:
                    self.projection[written[start : start + len(part)], head, unit] = factor
            if scores is not None:
                check_code(len(scores.code), self.size)
                size = len(scores.code)
                self.query[head, :size, scores.code] = scores.table.T * self.size**0.5
                self.key[head, torch.arange(size), scores.code] = 1


def check_code(codes: int, head_size: int) -> None:
    """Raise VidtwinError where a head is too narrow to hold a one-hot code."""
    if codes > head_size:
        raise VidtwinError(f"closed-form weights of {codes} frames need attention heads at least that wide")


class Units:
    """The hidden units of one feed-forward, given work one after another; the rest leave the stream alone."""

    def __init__(self, expand: nn.Linear, contract: nn.Linear) -> None:
        self.expand, self.contract = expand, contract
        self.used = 0

    def add(self, reading: Reading, target: int | None = None, factor: float | Tensor = 0.0) -> int:
        """One unit: ``gelu(reading)`` added to channel ``target`` with ``factor``; its number.

        Raises:
            VidtwinError: there is none left.
        """
        unit = self.used
        if unit == self.expand.out_features:
            raise VidtwinError(f"closed-form weights need feed-forwards of more than {unit} hidden units")
        self.expand.weight[unit] = reading.weight
        self.expand.bias[unit] = reading.bias
        self.contract.weight[:, unit] = 0
        if target is not None:
            self.contract.weight[target, unit] = factor
        self.used += 1
        return unit

    def gated(self, signal: Reading, gate: Reading, target: int, factor: float | Tensor) -> None:
        """``2 · factor · signal`` added to ``target`` where the gate is open, nothing where it is shut."""
        for sign in (1, -1):
            up_or_down = Reading(gate.weight + sign * signal.weight, gate.bias + sign * signal.bias)
            self.add(up_or_down, target, sign * factor)

    def passed(self, reading: Reading, targets: Channels, factors: Tensor) -> None:
        """``reading`` added to every target with its factor, exactly: gelu(x) − gelu(−x) is x."""
        for sign in (1, -1):
            unit = self.add(reading.scaled(sign))
            self.contract.weight[targets, unit] = sign * factors

    def step(self, reading: Reading, target: int, height: float) -> None:
        """``height`` added to ``target`` where ``reading`` is positive; it rises from −6 to 6."""
        for sign in (1, -1):
            self.add(Reading(reading.weight, reading.bias + sign * STEP_WIDTH / 2), target, sign * height / STEP_WIDTH)


def signal_scale(values: Tensor, frame: Tensor, everywhere: Tensor) -> Tensor:
    """What to multiply centred ``values`` by, for a gate to pass them and to stop what they are not.

    Args:
        values: where the gate is open.
        frame: in that frame, at places of all kinds: what the footage did not show of one kind may yet come.
        everywhere: in all frames. What is a faint frequency in one may be a strong one in another.
    """
    mean = values.mean()
    passed = torch.maximum((values - mean).std() / SIGNAL, (frame - mean).abs().max() / HEADROOM)
    # footage without any motion has nothing to scale
    return 1 / torch.maximum(passed, (everywhere - mean).abs().max() / STOPPED).clamp_min(_NOTHING)


def one_hot_gate(code: Tensor, number: int, channels: Channels, width: int) -> Reading:
    """A gate open at position ``number``, read off a one-hot code.

    Args:
        code: ``[..., positions, tokens, positions]`` the code as the layer sees it.
        number: the position.
        channels: of the code.
        width: of a token.
    """
    # against the code's other channels, which are shifted as much by what LayerNorm subtracts
    contrast = torch.full((len(channels),), -1 / (len(channels) - 1))
    contrast[number] = 1
    seen = code @ contrast
    on = seen.select(-2, number).mean()
    off = (seen.mean() * len(channels) - on) / (len(channels) - 1)
    steepness = GATE_SWING / (on - off)
    return read(width, channels, steepness * contrast, GATE_OPEN - steepness * on)


def alternating(count: int) -> Tensor:
    """``[count]``: 1, −1, 1 …"""
    return 1.0 - 2.0 * (torch.arange(count) % 2)


def attention_input(block: Block, x: Tensor) -> Tensor:
    """What the spatial attention reads."""
    return modulated_norm(x, block.modulation[0], block.modulation[ATTENTION])


def mlp_input(block: Block, x: Tensor) -> Tensor:
    """What the MLP reads."""
    return modulated_norm(x, block.modulation[3], block.modulation[MLP])


def modulated_norm(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """LayerNorm, then ``· (1 + scale) + shift``."""
    return functional.layer_norm(x, x.shape[-1:], 1 + scale, shift, LAYER_NORM_EPS)


def after_spatial(block: Block, x: Tensor) -> Tensor:
    """The stream ``[B, T, S, D]`` after a block's spatial attention."""
    y: Tensor = block.spatial_attention(attention_input(block, x).flatten(0, 1))
    return x + block.modulation[2] * y.view_as(x)


def after_temporal(block: Block, x: Tensor, positions: Tensor | None = None) -> Tensor:
    """The stream after a block's temporal attention."""
    sequences = x.transpose(1, 2).flatten(0, 1)
    y: Tensor = block.temporal_attention(sequences if positions is None else sequences + positions)
    return x + block.modulation[2] * y.view(x.shape[0], x.shape[2], x.shape[1], -1).transpose(1, 2)


def after_mlp(block: Block, x: Tensor) -> Tensor:
    """The stream after a block's MLP."""
    y: Tensor = block.mlp(mlp_input(block, x))
    return x + block.modulation[5] * y


def see_the_stream(scale: Tensor, tokens: Tensor, silent: Channels) -> None:
    """Set a modulation's scale so that the normalised input reads like the stream, ``silent`` channels as 0."""
    scale.fill_(tokens.std(dim=-1).mean() - 1)
    scale[silent] = -1


def silence(block: Block) -> None:
    """A block that passes the stream on; gates are open for what is written into it later."""
    block.modulation.zero_()
    block.modulation[[2, 5]] = 1
    for linear in (block.spatial_attention.projection, block.temporal_attention.projection, block.mlp.contract):
        linear.weight.zero_()
        linear.bias.zero_()
