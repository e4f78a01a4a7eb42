"""Opening transformer blocks that do nothing, so that they can learn.

Weights that were constructed, not trained, have blocks of zeros behind closed gates, which no gradient reaches. An
opened block still adds nothing, because the last maps of its sub-layers stay zero, but these learn from the first step
on.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional

from vidtwin_codec.model import Latents, VidTwin
from vidtwin_codec.model.idle import settle
from vidtwin_codec.model.transformer import LAYER_NORM_EPS, Block, Transformer

_LEAST_SPREAD, _MOST_SPREAD = 1 / 8, 8.0
"""Range of a channel's size after the norm that the block's own scale makes up for."""
_LEAST_GATE = 0.02


def is_dead(block: Block) -> bool:
    """Whether nothing in a block can ever learn, because gates and last maps are zero."""
    lasts = (block.spatial_attention.projection, block.temporal_attention.projection, block.mlp.contract)
    return not bool(block.modulation[[2, 5]].any()) and not any(bool(last.weight.any()) for last in lasts)


def dead_blocks(transformer: Transformer) -> list[Block]:
    """List the dead blocks of a transformer."""
    return [block for block in transformer.blocks if isinstance(block, Block) and is_dead(block)]


@torch.no_grad()
def open_blocks(model: VidTwin, clips: Iterable[tuple[Latents, Latents]], seed: int) -> int:
    """Open the decoder's dead blocks, without changing what the network computes.

    Blocks are scaled such that they see all channels at about the same size, and add about the size of the error in
    each channel.

    Args:
        model: a network whose decoder's blocks are all dead or all alive.
        clips: pairs of latents, as the encoder gives them and as the decoder will see them.
        seed: seed of the inner maps.

    Returns:
        Number of blocks that were opened.
    """
    decoder = model.decoder
    assert decoder is not None
    blocks = dead_blocks(decoder.transformer)
    if not blocks:
        return 0
    sizes, errors = [], []
    for exact, seen in clips:
        tokens = decoder.tokens(seen).float()
        sizes.append(functional.layer_norm(tokens, tokens.shape[-1:], eps=LAYER_NORM_EPS).square().mean((0, 1, 2)))
        errors.append((tokens - decoder.tokens(exact).float()).square().mean((0, 1, 2)))
    size, error = (torch.stack(parts).mean(0).sqrt() for parts in (sizes, errors))
    random = torch.Generator().manual_seed(seed)
    for block in blocks:
        for inner in (block.spatial_attention.qkv, block.temporal_attention.qkv, block.mlp.expand):
            _fill(inner, random)
        # temporal attention reads the stream without a norm, which is large where frames are light or dark
        block.temporal_attention.qkv.weight.div_(1 + tokens.square().mean().sqrt())
        block.modulation[[0, 3]] = 0
        block.modulation[[1, 4]] = 1 / size.clamp(_LEAST_SPREAD, _MOST_SPREAD) - 1
        block.modulation[[2, 5]] = error.clamp_min(_LEAST_GATE)
        for last in (block.spatial_attention.projection, block.temporal_attention.projection, block.mlp.contract):
            last.weight.zero_()
            last.bias.zero_()
    return len(blocks)


def _fill(linear: nn.Linear, random: torch.Generator) -> None:
    values = torch.randn(linear.weight.shape, generator=random) * linear.in_features**-0.5
    linear.weight.copy_(values)
    linear.bias.zero_()


def choose_trained(model: VidTwin, trained: str) -> None:
    """Let only a part of a network learn.

    Args:
        model: the whole network.
        trained: ``"all"``, ``"decoder"``, ``"blocks"``, the decoder's transformer blocks, or ``"postfilter"``.
    """
    decoder = model.decoder
    assert decoder is not None
    parts = {"all": model, "decoder": decoder, "blocks": decoder.transformer, "postfilter": decoder.postfilter}
    part = parts[trained]
    assert part is not None  # a run that trains the post-filter adds one to networks without
    model.requires_grad_(False)
    part.requires_grad_(True)


def spare_work(model: VidTwin) -> None:
    """Make parts that do not learn as cheap as in inference: frozen parts, and blocks that no gradient ever reaches.

    Args:
        model: the network in training mode, with the weights that the run begins or continues with.
    """
    encoder, decoder = model.encoder, model.decoder
    assert encoder is not None
    assert decoder is not None
    for part in (encoder, decoder.structure, decoder.dynamics, decoder.head):
        if not any(parameter.requires_grad for parameter in part.parameters()):
            settle(part.eval())
    for transformer in (encoder.transformer, decoder.transformer):
        for block in dead_blocks(transformer):
            block.settle()
