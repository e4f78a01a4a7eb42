"""The network a run begins with: from weights, or new at a start that is better than random numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor, nn

from vidtwin_codec.model import QFormerConfig, TransformerConfig, VidTwin, VidTwinConfig, open_checkpoint
from vidtwin_codec.model.transformer import Transformer, patchify
from vidtwin_codec.training.clips import ClipSampler, pixels
from vidtwin_codec.training.options import TrainOptions
from vidtwin_codec.weights import resolve
from vidtwin_codec.weights.importing import read_config

_HEAD_WIDTH = 64
_QFORMER = QFormerConfig(num_queries=16, hidden_size=192, num_layers=2, intermediate_size=512, num_heads=6)


def _transformer(width: int, depth: int) -> TransformerConfig:
    return TransformerConfig(width, depth, max(1, width // _HEAD_WIDTH), causal=False)


def _patch_32(width: int, encoder_depth: int, decoder_depth: int) -> VidTwinConfig:
    return VidTwinConfig(
        patch_size=32,
        encoder=_transformer(width, encoder_depth),
        decoder=_transformer(width, decoder_depth),
        qformer=_QFORMER,
        structure_blocks=0,
        dynamics_blocks=0,
    )


# compact: 23 M numbers, 46 MB as float16, the sizes of the embedded weights of that name; small: 12 M, for training on
# a CPU; base: the released sizes. All have the released latents: 16 x 7 x 7 x 8 and 2 x 8 x 16 x 7 of 16 frames of
# 224 x 224.
PRESET_CONFIGS = {"compact": _patch_32(384, 4, 4), "small": _patch_32(256, 3, 5), "base": VidTwinConfig()}

START_CLIPS = 48
"""Clips whose patches give the principal components of a new network's first and last layer."""
_GATE = 0.2
_LOG_VARIANCE = -3.0


def network_config(options: TrainOptions) -> VidTwinConfig:
    """The network that ``options`` ask for.

    Raises:
        VidtwinError: the weights or the configuration cannot be read, or sizes do not fit together.
    """
    if options.init is not None:
        return open_checkpoint(_init_path(options.init)).config
    config = read_config(options.config) if options.config is not None else PRESET_CONFIGS[options.preset]
    assert config is not None
    encoder, decoder = config.encoder, config.decoder
    width = options.width or encoder.hidden_size
    heads = encoder.num_heads if options.width is None else max(1, width // _HEAD_WIDTH)
    size = options.size or 0
    return dataclasses.replace(
        config,
        height=size or config.height,
        width=size or config.width,
        patch_size=options.patch or config.patch_size,
        encoder=dataclasses.replace(
            encoder, hidden_size=width, num_heads=heads, depth=options.encoder_depth or encoder.depth
        ),
        decoder=dataclasses.replace(
            decoder, hidden_size=width, num_heads=heads, depth=options.decoder_depth or decoder.depth
        ),
    )


def build(options: TrainOptions, config: VidTwinConfig, sampler: ClipSampler | None) -> VidTwin:
    """The network before the first step.

    Args:
        options: say whether it starts from weights.
        config: of the network.
        sampler: footage to take principal components from; None leaves a new network at random numbers,
            for processes that will get the first one's.
    """
    if options.init is not None:
        model = open_checkpoint(_init_path(options.init)).load(trainable=True)
    else:
        torch.manual_seed(options.seed)
        model = VidTwin(config)
        if sampler is not None:
            start_well(model, sampler)
    for part in model.modules():
        if isinstance(part, Transformer):
            part.recompute = options.recompute
    return model.requires_grad_(True).train()


def _init_path(spec: str) -> Path:
    # a file may also be an upstream checkpoint, which has no name here
    return Path(spec) if Path(spec).is_file() else resolve(spec).path


@torch.no_grad()
def start_well(model: VidTwin, sampler: ClipSampler) -> None:
    """Set what can be known beforehand.

    The patch embedding gives principal components of patches, halfway whitened, and the last layer turns them
    back; blocks begin almost as identity; slots begin as frames; posteriors begin narrow.
    """
    assert model.encoder is not None
    assert model.decoder is not None
    config = model.config
    for transformer in (model.encoder.transformer, model.decoder.transformer):
        for block in transformer.blocks:
            modulation = block.modulation
            assert isinstance(modulation, Tensor)
            modulation.zero_()
            modulation[[2, 5]] = _GATE
    if model.decoder.head.modulation is not None:
        model.decoder.head.modulation.zero_()
    if config.qformer.num_queries == config.frames:
        nn.init.eye_(model.decoder.structure.slots_to_frames.weight)
        model.decoder.structure.slots_to_frames.bias.zero_()
    for head in (model.encoder.structure.head, model.encoder.dynamics.head):
        assert head.bias is not None
        head.bias[head.out_channels // 2 :] = _LOG_VARIANCE

    patches = [patchify(pixels(sampler.cut(sampler.draw(0, number)[0]).cpu()[None]), config.patch_size)
               for number in range(START_CLIPS)]  # fmt: skip
    mean, components, scales = _principal_components(torch.cat(patches).flatten(0, 2), config.encoder.hidden_size)
    embedding = model.encoder.patch_embedding
    count = len(components)
    embedding.weight.zero_()
    embedding.weight[:count] = components / scales[:, None]
    embedding.bias.zero_()
    embedding.bias[:count] = -(components @ mean) / scales
    # the last layer sees normalised tokens
    back = (components * scales[:, None] * scales.square().mean().sqrt()).T
    last = model.decoder.head.linear
    last.weight.zero_()
    last.weight[:, :count] = back
    last.bias.copy_(mean)


def _principal_components(patches: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean ``[n]``, orthonormal components ``[k, n]``, and ``[k]`` the square root of their standard deviations."""
    mean = patches.mean(dim=0)
    centred = patches - mean
    variances, vectors = torch.linalg.eigh(centred.T @ centred / len(patches))
    count = min(most, patches.shape[1])
    variances, vectors = variances.flip(0)[:count], vectors.flip(1)[:, :count]
    floor = variances[0] * 1e-6 + 1e-12
    return mean, vectors.T.contiguous(), variances.clamp_min(floor).pow(0.25)
