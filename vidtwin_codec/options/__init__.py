"""Options of encoding and decoding, and their results; the same for Python and for the command line."""

from vidtwin_codec.options.coding import AUDIO_MODES, DEFAULT_OVERLAP, DecodeOptions, EncodeOptions, NetworkOptions
from vidtwin_codec.options.results import DecodeResult, EncodeResult, Extent
from vidtwin_codec.reporter import Reporter

__all__ = [
    "AUDIO_MODES",
    "DEFAULT_OVERLAP",
    "DecodeOptions",
    "DecodeResult",
    "EncodeOptions",
    "EncodeResult",
    "Extent",
    "NetworkOptions",
    "Reporter",
]
