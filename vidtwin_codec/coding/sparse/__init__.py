"""Coder 4: wide latents that are nearly all zero, coded place by place with models that learn."""

from vidtwin_codec.coding.sparse.coder import SparseCoder, SparseGroupDecoder, SparseGroupEncoder

__all__ = ["SparseCoder", "SparseGroupDecoder", "SparseGroupEncoder"]
