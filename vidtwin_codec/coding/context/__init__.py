"""Context coder: symbols predicted and range coded with integer tables that adapt to what stands around them."""

from vidtwin_codec.coding.context.coder import ContextCoder

__all__ = ["ContextCoder"]
