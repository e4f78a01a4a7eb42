"""Scaled dot-product attention, within the limits of the devices' kernels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

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
