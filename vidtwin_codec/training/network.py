"""The network that a run begins with: from weights, or new with a better initialization than random numbers."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vidtwin_codec.calibration.importing import read_config
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import (
    Latents,
    PostFilterConfig,
    QFormerConfig,
    TransformerConfig,
    VidTwin,
    VidTwinConfig,
    open_checkpoint,
    postfilter,
)
from vidtwin_codec.model.levels import pixels_from_levels
from vidtwin_codec.model.transformer import Transformer, cut_patches
from vidtwin_codec.training.clips import ClipSampler, pixels
from vidtwin_codec.training.opening import choose_trained, open_blocks
from vidtwin_codec.training.options import TrainOptions
from vidtwin_codec.training.rate import WIDTH_OF_NOISE, RateModel
from vidtwin_codec.weights import read_metadata, resolve

if TYPE_CHECKING:
    from vidtwin_codec.coding import Steps

_QUALITY_100 = 0.1
"""Coarseness of latents at the highest quality."""
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


# compact has 23 million parameters (46 MB as float16) and the sizes of the embedded weights of that name, small has 12
# million, for training on a CPU, and base has the released sizes. All have the released latents: 16 x 7 x 7 x 8 and
# 2 x 8 x 16 x 7 for 16 frames of 224 x 224.
PRESET_CONFIGS = {"compact": _patch_32(384, 4, 4), "small": _patch_32(256, 3, 5), "base": VidTwinConfig()}

_BEGIN_CLIPS = 8
START_CLIPS = 48
"""Number of clips whose patches give the principal components for a new network's first and last layer."""
_GATE = 0.2
_LOG_VARIANCE = -3.0


def network_config(options: TrainOptions) -> VidTwinConfig:
    """Make the configuration of the network from the options.

    Raises:
        VidtwinError: the weights or the configuration cannot be read, or sizes do not fit together.
    """
    if options.init is not None:
        return _extended(open_checkpoint(init_path(options.init)).config, options)
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


def _extended(config: VidTwinConfig, options: TrainOptions) -> VidTwinConfig:
    """Increase the number of blocks to that of the options, or refuse weights that have more; add a post-filter.

    The post-filter is added if it is what shall learn, and the weights have none.
    """
    found: dict[str, Any] = {}
    for side, depth in (("encoder", options.encoder_depth), ("decoder", options.decoder_depth)):
        part: TransformerConfig = getattr(config, side)
        if depth is not None and depth < part.depth:
            raise VidtwinError(f"--{side}-depth {depth}: {options.init} has {part.depth} blocks there already")
        found[side] = dataclasses.replace(part, depth=depth or part.depth)
    if options.train == "postfilter" and config.postfilter is None:
        found["postfilter"] = PostFilterConfig(finest=_finest(options), by_steps=True)
    return dataclasses.replace(config, **found)


def _finest(options: TrainOptions) -> float:
    """Return the coarseness below which a filter trained like this is left out: finer steps than it has seen."""
    seen = options.noise_scale * 2.0**-options.noise_spread
    return 0.0 if seen <= _QUALITY_100 else min(PostFilterConfig.finest, seen)


def build(
    options: TrainOptions, config: VidTwinConfig, sampler: ClipSampler | None, device: torch.device | None = None
) -> VidTwin:
    """Build the network before the first step, on the CPU.

    Args:
        options: options of the run.
        config: configuration of the network.
        sampler: footage for principal components. None leaves a new network at random numbers, for processes that get
            the network of the first one.
        device: device that computes principal components; None for the CPU.
    """
    torch.manual_seed(options.seed)
    if options.init is not None:
        model = _with_more(open_checkpoint(init_path(options.init)).load(trainable=True), config)
    else:
        model = VidTwin(config)
        if sampler is not None:
            start_well(model, sampler, device)
    for part in model.modules():
        if isinstance(part, Transformer):
            part.recompute = options.recompute
    choose_trained(model, options.train)
    return model.train()


def _with_more(model: VidTwin, config: VidTwinConfig) -> VidTwin:
    """Append blocks of zeros to a network, up to the number in ``config``, and the post-filter that it asks for."""
    if model.config == config:
        return model
    larger = VidTwin(config)
    state = model.state_dict()
    for name, blank in larger.state_dict().items():
        if name not in state:
            state[name] = blank if name.startswith(postfilter.PREFIX) else torch.zeros_like(blank)
    larger.load_state_dict(state)
    return larger


def starting_steps(options: TrainOptions) -> Steps | None:
    """Read the quantisation steps of the weights that a run starts from; None if there are none.

    Raises:
        VidtwinError: the weights cannot be read.
    """
    if options.init is None:
        return None
    checkpoint = open_checkpoint(init_path(options.init))
    return read_metadata(checkpoint.path).steps if checkpoint.ours else None


def build_rate(options: TrainOptions, config: VidTwinConfig) -> RateModel | None:
    """Build the rate model before the first step, on the CPU; None if the objective has none."""
    if options.objective != "rate":
        return None
    steps = starting_steps(options)
    if steps is not None:
        return RateModel(config, (torch.tensor(part) for part in (steps.structure, steps.dynamics_x, steps.dynamics_y)))
    step = WIDTH_OF_NOISE * math.exp(_LOG_VARIANCE / 2)
    slots, dynamics = (config.qformer.num_queries, config.structure_channels), config.dynamics_channels
    return RateModel(config, (torch.full(shape, step) for shape in (slots, (dynamics,), (dynamics,))))


@torch.no_grad()
def begin(model: VidTwin, rate: RateModel | None, sampler: ClipSampler, options: TrainOptions) -> int:
    """Initialize from footage: the scales of the rate model, and blocks of given weights that do nothing.

    Returns:
        Number of blocks that were opened.
    """
    clips = [model.posterior(pixels(sampler.cut(sampler.draw(0, number))[None])) for number in range(_BEGIN_CLIPS)]
    if rate is not None:
        rate.begin(Latents.concatenate([clip.mean for clip in clips]))
    if options.init is None or options.train == "postfilter":
        return 0
    if rate is not None:
        pairs = [(clip.mean, rate.rounded(clip.mean, options.noise_scale)) for clip in clips]
    else:
        # one posterior sigma up for even clips, and down for odd ones
        pairs = []
        for number, (mean, log_variance) in enumerate(clips):
            sigmas = options.noise_scale * (-1) ** number
            pairs.append((mean, mean.map(lambda m, log, by=sigmas: m + by * (0.5 * log).exp(), log_variance)))
    return open_blocks(model, pairs, options.seed)


def init_path(spec: str) -> Path:
    """Find the file of the weights that a run starts from."""
    # the file may be an upstream checkpoint, which has no name here
    return Path(spec) if Path(spec).is_file() else resolve(spec).path


@torch.no_grad()
def start_well(model: VidTwin, sampler: ClipSampler, device: torch.device | None = None) -> None:
    """Initialize a new network from the footage.

    The patch embedding gives principal components of patches, half whitened, and the last layer inverts it. Blocks are
    almost the identity at first, slots are frames, and posteriors are narrow.
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

    clips = torch.stack([sampler.cut(sampler.draw(0, number)) for number in range(START_CLIPS)])
    patches = cut_patches(pixels_from_levels(clips), config.patch_size).flatten(0, 2)
    # eigenvectors of a 3072 x 3072 matrix take a CPU seconds; MPS cannot compute them
    where = device if device is not None and device.type == "cuda" else torch.device("cpu")
    found = _principal_components(patches.to(where), config.encoder.hidden_size)
    mean, components, scales = (part.cpu() for part in found)
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
    """Compute the mean ``[n]``, orthonormal components ``[k, n]``, and roots of their standard deviations ``[k]``."""
    mean = patches.mean(dim=0)
    centred = patches - mean
    variances, vectors = torch.linalg.eigh(centred.T @ centred / len(patches))
    count = min(most, patches.shape[1])
    variances, vectors = variances.flip(0)[:count], vectors.flip(1)[:, :count]
    floor = variances[0] * 1e-6 + 1e-12
    return mean, vectors.T.contiguous(), variances.clamp_min(floor).pow(0.25)
