"""A VidTwin's configuration, read off the shapes of its tensors.

Upstream checkpoints often come without their YAML. Nearly everything shows in the shapes; what does not
(heads, causality) is filled in with the released model's values, and reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model.config import QFormerConfig, Shape, TransformerConfig, VidTwinConfig
from vidtwin_codec.model.transformer import spatial_positions

MAX_TOKENS = 1 << 16
HEAD_WIDTH = 64
"""Number of channels of one attention head in every released transformer."""
QFORMER_HEADS = 8
_HINT = "give the configuration as JSON with --config (the released YAML's model.params)"


def deduce_config(shapes: Mapping[str, Shape], positions: Tensor | None = None) -> tuple[VidTwinConfig, list[str]]:
    """Return the configuration of a state dict under the released names, and the assumptions that it needed.

    Args:
        shapes: shapes by released tensor name.
        positions: the tensor ``decoder.pos_embed``, which tells rows from columns when the grid is not square.

    Raises:
        VidtwinError: the tensors are not a VidTwin's, or their shapes leave something open.
    """
    try:
        return _deduce(shapes, positions)
    except (KeyError, IndexError, ValueError) as error:
        lacking = f" (no usable {error.args[0]})" if isinstance(error, KeyError) else ""
        raise VidtwinError(f"these tensors are not a VidTwin's{lacking}: another architecture?") from error


def _deduce(shapes: Mapping[str, Shape], positions: Tensor | None) -> tuple[VidTwinConfig, list[str]]:
    width, _colors, _frames, patch, _patch = shapes["encoder.x_embedder.proj.weight"]
    queries, query_width = shapes["temporal_qformer.query_embeds"][-2:]
    frames = shapes["cont_emb.2.weight"][0]
    rows, columns = _grid(shapes, width, positions)
    dynamics_blocks = _count(r"downsample_motion_module\.(\d+)\.weight", shapes)
    if width % HEAD_WIDTH or query_width % QFORMER_HEADS:
        raise VidtwinError(f"the shapes of these tensors do not tell the number of heads (width {width})", _HINT)
    heads = width // HEAD_WIDTH

    def side(name: str) -> TransformerConfig:
        depth = _count(rf"{name}\.blocks\.(\d+)\.scale_shift_table", shapes)
        return TransformerConfig(hidden_size=width, depth=depth, num_heads=heads, causal=True)

    config = VidTwinConfig(
        frames=frames,
        height=rows * patch,
        width=columns * patch,
        patch_size=patch,
        encoder=side("encoder"),
        decoder=side("decoder"),
        qformer=QFormerConfig(
            num_queries=queries,
            hidden_size=query_width,
            num_layers=_count(r"temporal_qformer\.qformer\.encoder\.layer\.(\d+)\.output_query\.dense\.weight", shapes),
            intermediate_size=shapes["temporal_qformer.qformer.encoder.layer.0.intermediate_query.dense.weight"][0],
            num_heads=QFORMER_HEADS,
        ),
        structure_channels=shapes["bottle_down.weight"][0] // 2,
        dynamics_channels=shapes["motion_head.weight"][0] // 2,
        structure_blocks=_count(r"content_downsample_blocks\.(\d+)\.weight", shapes),
        dynamics_blocks=dynamics_blocks,
        structure_width=shapes["conv_in.weight"][0],
    )
    assumed = [
        f"{heads} heads of {HEAD_WIDTH} channels, {QFORMER_HEADS} in the Q-Former",
        "causal temporal attention",
    ]
    return config, assumed


def _count(pattern: str, names: Iterable[str]) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in names)


def _grid(shapes: Mapping[str, Shape], width: int, positions: Tensor | None) -> tuple[int, int]:
    tokens = shapes["decoder.pos_embed"][-2]
    if not 0 < tokens <= MAX_TOKENS:
        raise VidtwinError(f"decoder.pos_embed is of {tokens} patches, allowed are 1 to {MAX_TOKENS}")
    pairs = [(rows, tokens // rows) for rows in range(1, tokens + 1) if tokens % rows == 0]
    if positions is not None:
        if positions.numel() != tokens * width:
            raise VidtwinError(f"decoder.pos_embed has shape {list(positions.shape)}, expected [1, {tokens}, {width}]")
        stored = positions.detach().float().cpu().reshape(tokens, width)
        # 16-bit storage rounds a sine by up to 2^-9; two grids differ by whole radians somewhere
        pairs = [pair for pair in pairs if (spatial_positions(width, *pair) - stored).abs().max() < 4e-3]
    else:
        pairs = [pair for pair in pairs if pair[0] == pair[1]]
    if len(pairs) != 1:
        raise VidtwinError(f"the shapes of these tensors do not tell the grid of {tokens} patches", _HINT)
    return pairs[0]
