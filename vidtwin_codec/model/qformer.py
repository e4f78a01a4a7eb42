"""The Q-Former: a few learned queries read a sequence (BLIP-2's form, post-norm)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidtwin_codec.model.config import QFormerConfig
from vidtwin_codec.model.layers import Linear, attend

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
        self.queries = nn.Parameter(torch.randn(config.num_queries, config.hidden_size))
        self.norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)
        self.layers = nn.ModuleList(
            QFormerLayer(config, context_width, cross=number % 2 == 0) for number in range(config.num_layers)
        )

    def forward(self, context: Tensor) -> Tensor:
        queries: Tensor = self.norm(self.queries)[None]
        for layer in self.layers:
            queries = layer(queries, context)
        return queries
