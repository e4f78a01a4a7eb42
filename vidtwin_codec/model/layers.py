"""Attention and linear maps, within the limits of devices, and with the same bits for any number of clips in a call.

torch takes a batch of matrix products in place of one product where a linear map's input has three axes or more and is
not contiguous, as is every transposed view of a single clip. That gives other bits than a larger batch gives, and in
bfloat16 on a CPU it copies the weight for every matrix: 4 to 5 times the time. Here each map is one product of
contiguous rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

COLOURS = 3
MOST_SEQUENCES = 65_535
"""Most sequences in one call: CUDA's fused kernels lay them along a grid's third axis, which is no longer."""
CONTIGUOUS_ON = frozenset({"mps"})
"""Kinds of device where permuted views, with short queries, gave wrong numbers (torch 2.8 to 2.11)."""


def attend(query: Tensor, key: Tensor, value: Tensor, *, causal: bool = False) -> Tensor:
    """Attend within each of N sequences ``[N, heads, L, d]``."""
    if query.device.type in CONTIGUOUS_ON:
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    if len(query) <= MOST_SEQUENCES:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
    pieces = zip(*(torch.split(part, MOST_SEQUENCES) for part in (query, key, value)), strict=True)
    return torch.cat([functional.scaled_dot_product_attention(q, k, v, is_causal=causal) for q, k, v in pieces])


def flat_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map ``[..., in]`` to ``[..., out]`` by ``functional.linear`` of contiguous rows."""
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    return functional.linear(rows, weight, bias).view(*x.shape[:-1], weight.shape[0])


class Linear(nn.Linear):
    """An ``nn.Linear`` that computes with :func:`flat_linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """Map ``[..., in]`` to ``[..., out]``."""
        return flat_linear(input, self.weight, self.bias)
