"""The structure and dynamics branches between the transformers: tokens to latents and back.

Structure keeps a few slots per position instead of T frames; dynamics keeps every frame but only one
row and one column of positions. Token maps are ``[B, T, h, w, D]``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidtwin_codec.model.config import QFormerConfig, VidTwinConfig
from vidtwin_codec.model.idle import Convolution, PassingLinear, PosteriorHead
from vidtwin_codec.model.layers import Linear, attend, flat_linear
from vidtwin_codec.model.transformer import random_table

LAYER_NORM_EPS = 1e-12


class QueryAttention(nn.Module):
    """Computes ``LN(q + W · Attention(q, context))``, which is self-attention if the context is the queries."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(width, width)
        self.key = Linear(context_width, width)
        self.value = Linear(context_width, width)
        self.projection = Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)

    def _split(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        return x.view(batch, length, self.heads, width // self.heads).transpose(1, 2)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        # before the first context all sequences share one set of queries (batch 1), which is projected once
        query = self._split(self.query(queries)).expand(len(context), -1, -1, -1)
        out = attend(query, self._split(self.key(context)), self._split(self.value(context)))
        joined = out.transpose(1, 2).reshape(out.shape[0], queries.shape[1], queries.shape[2])
        normed: Tensor = self.norm(queries + self.projection(joined))
        return normed


class QFormerLayer(nn.Module):
    """A layer of self-attention, cross-attention (in every second layer) and a feed-forward with exact GELU."""

    def __init__(self, config: QFormerConfig, context_width: int, *, cross: bool) -> None:
        super().__init__()
        width, heads = config.hidden_size, config.num_heads
        self.self_attention = QueryAttention(width, width, heads)
        self.cross_attention = QueryAttention(width, context_width, heads) if cross else None
        self.expand = Linear(width, config.intermediate_size)
        self.contract = Linear(config.intermediate_size, width)
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        queries = self.self_attention(queries, queries)
        if self.cross_attention is not None:
            queries = self.cross_attention(queries, context)
        normed: Tensor = self.norm(queries + self.contract(functional.gelu(self.expand(queries))))
        return normed


class QFormer(nn.Module):
    """Maps ``[N, L, context_width]`` to ``[N, n_q, d_q]``."""

    def __init__(self, config: QFormerConfig, context_width: int) -> None:
        super().__init__()
        self.queries = random_table(config.num_queries, config.hidden_size, 1)
        self.norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)
        self.layers = nn.ModuleList(
            QFormerLayer(config, context_width, cross=number % 2 == 0) for number in range(config.num_layers)
        )

    def forward(self, context: Tensor) -> Tensor:
        queries: Tensor = self.norm(self.queries)[None]
        for layer in self.layers:
            queries = layer(queries, context)
        return queries


CLEARLY_LESS = 0.95


class StructureEncoder(nn.Module):
    """Maps a token map to mean and log-variance of the structure, ``[B, n_q, h_S, w_S, 2·d_S]``."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        first, blocks, width = config.structure_width, config.structure_blocks, config.encoder.hidden_size
        self.qformer = None if config.linear else QFormer(config.qformer, width)
        self.slots = LinearSlots(config) if config.linear else None
        self.input = Convolution(config.qformer.hidden_size, first)
        self.downsample = nn.ModuleList(Convolution(first << i, first << (i + 1), stride=2) for i in range(blocks))
        self.head = PosteriorHead(first << blocks, 2 * config.structure_channels)

    def forward(self, tokens: Tensor, *, means: bool = False) -> Tensor:
        """Map ``[B, T, h, w, D]`` to ``[B, n_q, h_S, w_S, 2·d_S]``; with ``means``, to the first half of channels."""
        x = self._slots(tokens)
        x = self.input.over(x)
        for conv in self.downsample:
            assert isinstance(conv, Convolution)
            x = functional.relu(conv.over(x))
        return self.head.means(x) if means else self.head.over(x)

    def _slots(self, tokens: Tensor) -> Tensor:
        """``[B, T, h, w, D]`` → ``[B, n_q, h, w, d_q]``."""
        if self.slots is not None:
            linear: Tensor = self.slots(tokens)
            return linear
        assert self.qformer is not None
        batch, frames, rows, columns, width = tokens.shape
        slots: Tensor = self.qformer(tokens.permute(0, 2, 3, 1, 4).reshape(batch * rows * columns, frames, width))
        return slots.view(batch, rows, columns, slots.shape[1], -1).permute(0, 3, 1, 2, 4).contiguous()


class LinearSlots(nn.Module):
    """Maps frames to slots by one matrix over the token axis, the reverse of the decoder's map."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        self.frames_to_slots = nn.Linear(config.frames, config.qformer.num_queries)
        self.narrow = PassingLinear(config.encoder.hidden_size, config.qformer.hidden_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """``[B, T, h, w, D]`` → ``[B, n_q, h, w, d_q]``."""
        slots = mix_tokens(self.frames_to_slots, tokens)
        narrow: Tensor = self.narrow(slots)
        return narrow


def mix_tokens(mix: nn.Linear, maps: Tensor) -> Tensor:
    """Apply a linear map over the second axis of ``[B, L, ...]``."""
    batch, length = maps.shape[:2]
    mixed = torch.matmul(mix.weight, maps.reshape(batch, length, -1)).add_(mix.bias[:, None])
    return mixed.view(batch, -1, *maps.shape[2:])


class StructureDecoder(nn.Module):
    """Maps structure latents ``[B, n_q, h_S, w_S, d_S]`` to a token map ``[B, T, h, w, D]``."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        first, blocks = config.structure_width, config.structure_blocks
        self.grid = config.grid  # that upsampling leads to
        self.linear = config.linear
        self.input = Convolution(config.structure_channels, first << blocks)
        self.upsample = nn.ModuleList(Convolution(first << i, first << (i - 1)) for i in range(blocks, 0, -1))
        self.output = Convolution(first, config.qformer.hidden_size)
        self.widen = PassingLinear(config.qformer.hidden_size, config.decoder.hidden_size)
        # upstream: a Conv1d of kernel 1 over the token axis, which is this linear map
        self.slots_to_frames = nn.Linear(config.qformer.num_queries, config.frames)

    def forward(self, structure: Tensor) -> Tensor:
        x = self._bent(self.input.over(structure))
        for conv in self.upsample:
            assert isinstance(conv, Convolution)
            x = functional.relu(conv.over(x)).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        x = self.output.over(x)
        if self.upsample:
            rows, columns = self.grid
            top, left = (x.shape[2] - rows) // 2, (x.shape[3] - columns) // 2
            x = x[:, :, top : top + rows, left : left + columns]
        return self._bent(mix_tokens(self.slots_to_frames, self._bent(self.widen(x))))

    def _bent(self, x: Tensor) -> Tensor:
        return x if self.linear else functional.relu(x)


class DynamicsEncoder(nn.Module):
    """Maps a token map to mean and log-variance of dynamics x ``[B, 2·d_D, T, w_D]`` and y ``[B, 2·d_D, T, h_D]``."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        width = config.encoder.hidden_size
        self.downsample = nn.ModuleList(Convolution(width, width, stride=2) for _ in range(config.dynamics_blocks))
        self.head = PosteriorHead(width, 2 * config.dynamics_channels)
        # what the means stand for among the tokens, so that the structure need not say it again
        self.shown = Linear(config.dynamics_channels, width) if config.linear else None

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map ``[B, T, h, w, D]`` to dynamics x and y, and the tokens less what these show (linear networks)."""
        if self.shown is not None:
            return self._of_motion(tokens, self.shown)
        maps = tokens
        for conv in self.downsample:
            assert isinstance(conv, Convolution)
            maps = functional.relu(conv.over(maps))
        return self._read(maps.mean(dim=2)), self._read(maps.mean(dim=3)), tokens

    def _read(self, lines: Tensor) -> Tensor:
        """Map ``[B, T, positions, D]`` to ``[B, 2·d_D, T, positions]`` by a convolution over time and positions."""
        return self.head.over(lines[:, None])[:, 0].permute(0, 3, 1, 2)

    def _of_motion(self, tokens: Tensor, shown: nn.Linear) -> tuple[Tensor, Tensor, Tensor]:
        """Map tokens less their mean over time to dynamics; rows are read after columns are taken out.

        The motion of a line is kept only where taking it out leaves less energy. It does where the light changes or the
        camera shakes; where one thing moves through a still scene, the other tokens would have to undo it.
        """
        seen = flat_linear(tokens, shown.weight.T)  # [B, T, h, w, d_D]: how much of it there is at each place
        seen = seen - seen.mean(dim=1, keepdim=True)
        lines = tokens.mean(dim=2)
        x = self._read(lines - lines.mean(dim=1, keepdim=True))
        x, columns, seen = _worthwhile(x, seen, over_rows=True)
        shown_columns = shown(columns)
        lines = tokens.mean(dim=3)
        y = self._read(lines - lines.mean(dim=1, keepdim=True) - shown_columns.mean(dim=2, keepdim=True))
        y, rows, _ = _worthwhile(y, seen, over_rows=False)
        return x, y, (tokens - shown_columns[:, :, None]).sub_(shown(rows)[:, :, :, None])


def _worthwhile(lines: Tensor, seen: Tensor, *, over_rows: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Set the means of lines to zero where they do not help.

    Returns:
        The lines ``[B, 2·d_D, T, positions]``, their means ``[B, T, positions, d_D]``, and ``seen`` less the means.
    """
    channels = lines.shape[1] // 2
    means = lines[:, :channels].permute(0, 2, 3, 1)
    across = 2 if over_rows else 3
    left = seen - means.unsqueeze(across)
    over = (1, across)
    # [B, positions, d_D]
    useful = left.abs().sum(dim=over) + means.abs().sum(dim=1) < CLEARLY_LESS * seen.abs().sum(dim=over)
    means = means * useful[:, None]
    kept = torch.cat([means.permute(0, 3, 1, 2), lines[:, channels:]], dim=1)
    return kept, means, seen - means.unsqueeze(across)


class DynamicsDecoder(nn.Module):
    """Maps dynamics x and y to two token maps, ``[B, T, 1, w, D]`` and ``[B, T, h, 1, D]``, to broadcast and add."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        width = config.decoder.hidden_size
        self.linear = config.linear
        self.first = Linear(config.dynamics_channels, width)
        self.second = PassingLinear(width, width)
        self.upsample: nn.ModuleList | None = None
        if config.dynamics_blocks:
            # one map serves rows and columns, which is why upstream's grids are square
            small, full = config.dynamics_grid[1], config.grid[1]
            self.upsample = nn.ModuleList([Linear(small, full), Linear(full, full)])

    def _widen(self, dynamics: Tensor) -> Tensor:
        x = self.first(dynamics.permute(0, 2, 3, 1))
        if self.linear:
            plain: Tensor = self.second(x)
            return plain
        x = functional.relu(self.second(functional.relu(x)))
        if self.upsample is not None:
            x = x.transpose(2, 3)
            for linear in self.upsample:
                x = functional.relu(linear(x))
            x = x.transpose(2, 3)
        return x

    def forward(self, dynamics_x: Tensor, dynamics_y: Tensor) -> tuple[Tensor, Tensor]:
        return self._widen(dynamics_x)[:, :, None], self._widen(dynamics_y)[:, :, :, None]
