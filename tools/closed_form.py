"""A VidTwin written down: a lapped, sparse 3-D cosine transform in a network's weights.

Structure slot f is temporal frequency f, structure channel k the k-th cosine pattern of a 32 x 32 patch in one of three
colours, so that what a codec stores of a tube of 32 x 32 x 16 pixels is nearly all zeros. Dynamics are how the mean of
each column, and then of each row, moves over time, in the three colours; they are taken out before the structure is
read. The blocks of both transformers are behind gates that are shut: they cost nothing until somebody trains them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidtwin_codec.coding import Steps
from vidtwin_codec.coding.patterns import COLOURS, Patterns
from vidtwin_codec.model import QFormerConfig, TransformerConfig, VidTwin, VidTwinConfig

PATCH, FRAMES, LAPPING, SIZE = 32, 16, 12, 224
COUNTS = (440, 44, 28)
"""Patterns of the sum of the colours and of its two differences, where no footage says otherwise."""
COLOUR_AXES = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
STEP = 1.1
"""Base step of the structure, at quality 54: quality 0 takes some .002 bits a pixel, 100 shows nearly all there is."""
STILL_SHARE = 0.85
"""Of that step, for temporal frequency 0: clips that follow are predicted from it, and pay for its errors."""
DYNAMICS_SHARE = 0.3
"""Of the structure's step: a number of the dynamics counts for a whole row or column of patches."""
LOG_VARIANCE = -3.0


def configuration(counts: tuple[int, int, int] = COUNTS, lapping: int = LAPPING, size: int = SIZE) -> VidTwinConfig:
    """Sizes of the network for so many patterns of each colour, pixels that lap on each side of a border, and the side
    of a training clip.
    """
    channels = sum(counts)
    side = TransformerConfig(hidden_size=channels, depth=1, num_heads=max(1, channels // 64), causal=False)
    return VidTwinConfig(
        frames=FRAMES,
        height=size,
        width=size,
        patch_size=PATCH,
        encoder=side,
        decoder=side,
        qformer=QFormerConfig(num_queries=FRAMES, hidden_size=channels, num_layers=1, intermediate_size=1, num_heads=1),
        structure_channels=channels,
        dynamics_channels=COLOURS,
        structure_blocks=0,
        dynamics_blocks=0,
        structure_width=channels,
        linear=True,
        any_grid=True,
        lapping=lapping,
        patterns=counts,
    )


@torch.no_grad()
def build(counts: tuple[int, int, int] = COUNTS, lapping: int = LAPPING, size: int = SIZE) -> VidTwin:
    """The network, exact to the precision of its numbers; nothing in it is random."""
    config = configuration(counts, lapping, size)
    with torch.device("meta"):  # random numbers would take most of the time
        model = VidTwin(config).eval()
    zeros = {name: torch.zeros(parameter.shape) for name, parameter in model.state_dict().items()}
    model.load_state_dict(zeros, assign=True)
    model.requires_grad_(False)
    encoder, decoder = model.encoder, model.decoder
    assert encoder is not None
    assert decoder is not None
    patterns = _tensor(spatial_patterns(Patterns(PATCH, counts)))
    encoder.patch_embedding.weight.copy_(patterns)
    decoder.head.linear.weight.copy_(patterns.T)

    over_time = _tensor(cosines(FRAMES))
    slots, narrow = encoder.structure.slots, decoder.structure.widen
    assert slots is not None
    slots.frames_to_slots.weight.copy_(over_time)
    decoder.structure.slots_to_frames.weight.copy_(over_time.T)
    for matrix in (slots.narrow.weight, narrow.weight, decoder.dynamics.second.weight):
        matrix.copy_(torch.eye(config.structure_channels))
    for convolution in (encoder.structure.input, encoder.structure.head, decoder.structure.input,
                        decoder.structure.output):  # fmt: skip
        convolution.weight[: config.structure_channels, :, 1, 1] = torch.eye(config.structure_channels)

    flat = torch.zeros(COLOURS, config.structure_channels)  # a colour's first pattern is the flat one
    flat[range(COLOURS), np.cumsum([0, *counts[:-1]])] = 1
    encoder.dynamics.head.weight[:COLOURS, :, 1, 1] = flat
    assert encoder.dynamics.shown is not None
    encoder.dynamics.shown.weight.copy_(flat.T)
    decoder.dynamics.first.weight.copy_(flat.T)
    for head in (encoder.structure.head, encoder.dynamics.head):
        assert head.bias is not None
        head.bias[head.out_channels // 2 :] = LOG_VARIANCE
    return model


def steps(counts: tuple[int, int, int] = COUNTS) -> Steps:
    """Base quantisation steps: nearly one for all, since the transform is orthonormal."""
    structure = np.full((FRAMES, sum(counts)), STEP, np.float32)
    structure[0] *= STILL_SHARE
    line = np.full(COLOURS, STEP * DYNAMICS_SHARE, np.float32)
    return Steps(structure, line, line)


def spatial_patterns(patterns: Patterns) -> NDArray[np.float64]:
    """``[channels, size * size * 3]``, orthonormal rows; colours fastest, as patches are laid out."""
    waves = cosines(patterns.size)
    rows = [
        np.einsum("y,x,c->yxc", waves[row], waves[column], COLOUR_AXES[colour]).ravel()
        for colour, row, column in patterns.frequencies.tolist()
    ]
    return np.array(rows)


def cosines(count: int) -> NDArray[np.float64]:
    """``[count, count]``: the orthonormal cosine transform (DCT-II), a frequency a row."""
    number = np.arange(count)
    waves = np.cos(np.pi * (number + 0.5) * number[:, None] / count) * math.sqrt(2 / count)
    waves[0] /= math.sqrt(2)
    return waves


def counts_from(clips: Tensor, channels: int) -> tuple[int, int, int]:
    """How many of ``channels`` patterns each colour should get for the least error on footage.

    Args:
        clips: ``[n, 3, T, H, W]`` in [-1, 1], sides being multiples of a patch.
        channels: patterns in all.
    """
    axes = _tensor(COLOUR_AXES)
    waves = _tensor(cosines(PATCH))
    video = torch.einsum("kc,ncthw->nkthw", axes, clips)
    patches = video.unflatten(4, (-1, PATCH)).unflatten(3, (-1, PATCH))
    energy = torch.zeros(COLOURS, PATCH, PATCH)
    for clip in patches:
        coefficients = torch.einsum("ry,ktaybx,sx->ktabrs", waves, clip, waves)
        energy += coefficients.square().mean(dim=(1, 2, 3))
    everything = Patterns(PATCH, (PATCH**2,) * COLOURS).frequencies
    sizes = energy[tuple(everything.T)].reshape(COLOURS, -1)
    kept = sizes.flatten().topk(channels).indices // PATCH**2
    first, second, third = torch.bincount(kept, minlength=COLOURS).tolist()
    return first, second, third


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).float()
