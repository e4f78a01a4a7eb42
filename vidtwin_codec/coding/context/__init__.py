"""Coder 3, the context coder: it predicts symbols and codes them by rANS with integer tables that adapt to context."""

from vidtwin_codec.coding.context.coder import ContextCoder

__all__ = ["ContextCoder"]
