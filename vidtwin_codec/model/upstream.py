"""The key names of the released checkpoint, and ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model.config import VidTwinConfig
from vidtwin_codec.model.transformer import sine_cosine, spatial_positions

UNUSED = re.compile(
    r"loss\."  # training losses
    r"|encoder\.final_layer\.|decoder\.x_embedder\."  # built by the released code, never run
)


def upstream_names(config: VidTwinConfig) -> dict[str, str]:
    """Return our name by released name, for every tensor that a VidTwin of this configuration learns."""
    layers = {f"{theirs}.{leaf}": f"{ours}.{leaf}" for theirs, ours in _layers(config) for leaf in ("weight", "bias")}
    return layers | dict(_tables(config))


def from_upstream_names(tensors: Mapping[str, Tensor], config: VidTwinConfig) -> dict[str, Tensor]:
    """Rename a released state dict to our names and shapes.

    Unknown names are kept as they are, for the strict loader to report. The sine-cosine positions are
    recomputed, not loaded, so stored ones must be those.

    Raises:
        VidtwinError: the stored positions are not the sine-cosine ones.
    """
    names = upstream_names(config)
    renamed: dict[str, Tensor] = {}
    positions = _positions(config)
    for key, tensor in tensors.items():
        if UNUSED.match(key):
            continue
        if key in positions:
            _check_positions(key, tensor, positions[key])
            continue
        name = names.get(key, key)
        # a convolution over exactly one patch, or of kernel 1, is a linear map here
        if name == "encoder.patch_embedding.weight" and tensor.ndim == 5:
            tensor = tensor.permute(0, 2, 3, 4, 1).flatten(1)  # noqa: PLW2901
        elif name == "decoder.structure.slots_to_frames.weight":
            tensor = tensor.flatten(1)  # noqa: PLW2901
        renamed[name] = tensor
    return renamed


def _layers(config: VidTwinConfig) -> Iterator[tuple[str, str]]:
    """Yield pairs of names, theirs and ours, of layers that hold a weight and a bias."""
    yield "encoder.x_embedder.proj", "encoder.patch_embedding"
    for side, depth in (("encoder", config.encoder.depth), ("decoder", config.decoder.depth)):
        for number in range(depth):
            theirs, ours = f"{side}.blocks.{number}", f"{side}.transformer.blocks.{number}"
            yield f"{theirs}.attn.qkv", f"{ours}.spatial_attention.qkv"
            yield f"{theirs}.attn.proj", f"{ours}.spatial_attention.projection"
            yield f"{theirs}.attn_temp.qkv", f"{ours}.temporal_attention.qkv"
            yield f"{theirs}.attn_temp.proj", f"{ours}.temporal_attention.projection"
            yield f"{theirs}.mlp.fc1", f"{ours}.mlp.expand"
            yield f"{theirs}.mlp.fc2", f"{ours}.mlp.contract"
    yield "decoder.final_layer.linear", "decoder.head.linear"

    yield "temporal_qformer.qformer.layernorm", "encoder.structure.qformer.norm"
    for number in range(config.qformer.num_layers):
        theirs, ours = f"temporal_qformer.qformer.encoder.layer.{number}", f"encoder.structure.qformer.layers.{number}"
        kinds = [("attention", "self_attention")]
        if number % 2 == 0:
            kinds.append(("crossattention", "cross_attention"))
        for kind, our_kind in kinds:
            for leaf in ("query", "key", "value"):
                yield f"{theirs}.{kind}.attention.{leaf}", f"{ours}.{our_kind}.{leaf}"
            yield f"{theirs}.{kind}.output.dense", f"{ours}.{our_kind}.projection"
            yield f"{theirs}.{kind}.output.LayerNorm", f"{ours}.{our_kind}.norm"
        yield f"{theirs}.intermediate_query.dense", f"{ours}.expand"
        yield f"{theirs}.output_query.dense", f"{ours}.contract"
        yield f"{theirs}.output_query.LayerNorm", f"{ours}.norm"

    # Where upstream builds an nn.Sequential, its activations and upsamplings take numbers too.
    yield "conv_in", "encoder.structure.input"
    for number in range(config.structure_blocks):
        yield f"content_downsample_blocks.{2 * number}", f"encoder.structure.downsample.{number}"
        yield f"content_upsample_blocks.{3 * number}", f"decoder.structure.upsample.{number}"
    yield "bottle_down", "encoder.structure.head"
    yield "bottle_up.0", "decoder.structure.input"
    yield "conv_out", "decoder.structure.output"
    yield "cont_emb.0", "decoder.structure.widen"
    yield "cont_emb.2", "decoder.structure.slots_to_frames"

    for number in range(config.dynamics_blocks):
        yield f"downsample_motion_module.{2 * number}", f"encoder.dynamics.downsample.{number}"
    yield "motion_head", "encoder.dynamics.head"
    yield "motion_emb.0", "decoder.dynamics.first"
    yield "motion_emb.2", "decoder.dynamics.second"
    if config.dynamics_blocks:
        yield "up_motion.0", "decoder.dynamics.upsample.0"
        yield "up_motion.2", "decoder.dynamics.upsample.1"


def _tables(config: VidTwinConfig) -> Iterator[tuple[str, str]]:
    """Yield pairs of names of the parameters that are not in a layer."""
    for side, depth in (("encoder", config.encoder.depth), ("decoder", config.decoder.depth)):
        for number in range(depth):
            yield f"{side}.blocks.{number}.scale_shift_table", f"{side}.transformer.blocks.{number}.modulation"
    yield "decoder.final_layer.scale_shift_table", "decoder.head.modulation"
    yield "temporal_qformer.query_embeds", "encoder.structure.qformer.queries"


def _positions(config: VidTwinConfig) -> dict[str, Tensor]:
    found = {}
    for side, width in (("encoder", config.encoder.hidden_size), ("decoder", config.decoder.hidden_size)):
        found[f"{side}.pos_embed"] = spatial_positions(width, *config.grid)
        found[f"{side}.pos_embed_temporal"] = sine_cosine(width, config.frames)
    return found


def _check_positions(key: str, stored: Tensor, expected: Tensor) -> None:
    if stored.is_meta:
        same = stored.numel() == expected.numel()
    else:
        flat = stored.detach().float().cpu().reshape(-1)
        # 16-bit storage rounds them by up to 2^-9
        same = flat.shape == expected.reshape(-1).shape and torch.allclose(flat, expected.reshape(-1), atol=4e-3)
    if not same:
        raise VidtwinError(f"{key} does not hold the sine-cosine positions of this configuration")
