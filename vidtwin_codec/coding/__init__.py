"""Coding of latents to integers to bytes: steps, symbols, groups. This needs numpy and zstd, never torch."""

from vidtwin_codec.coding.allowance import Allowance, TooMuchWorkError
from vidtwin_codec.coding.coders import (
    CODERS,
    CONTEXT,
    LATEST_CODER,
    PLACED,
    PLAIN,
    PLAIN_BY_POSITION,
    SPARSE,
    Coder,
    coder_of,
)
from vidtwin_codec.coding.group import (
    DEFAULT_LEVEL,
    MAX_GROUP_SYMBOLS,
    CorruptGroupError,
    Group,
    GroupSpan,
    OpenGroup,
    PlacedClip,
    max_content,
    pack_body,
    pack_group,
    unpack_group,
)
from vidtwin_codec.coding.layout import LatentArrays, LatentLayout
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.coding.quantizer import MAX_SYMBOL, dequantize, quantize, requantize
from vidtwin_codec.coding.sparse import SparseGroupDecoder, SparseGroupEncoder
from vidtwin_codec.coding.steps import BASE_QUALITY, DEFAULT_QUALITY, QUALITY_PER_HALVING, Steps, quality_scale

__all__ = [
    "BASE_QUALITY",
    "CODERS",
    "CONTEXT",
    "DEFAULT_LEVEL",
    "DEFAULT_QUALITY",
    "LATEST_CODER",
    "MAX_GROUP_SYMBOLS",
    "MAX_SYMBOL",
    "PLACED",
    "PLAIN",
    "PLAIN_BY_POSITION",
    "QUALITY_PER_HALVING",
    "SPARSE",
    "Allowance",
    "Coder",
    "CorruptGroupError",
    "Group",
    "GroupSpan",
    "LatentArrays",
    "LatentLayout",
    "OpenGroup",
    "PlacedClip",
    "Placement",
    "SparseGroupDecoder",
    "SparseGroupEncoder",
    "Steps",
    "TooMuchWorkError",
    "coder_of",
    "dequantize",
    "max_content",
    "pack_body",
    "pack_group",
    "quality_scale",
    "quantize",
    "requantize",
    "unpack_group",
]
