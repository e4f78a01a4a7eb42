"""vidtwin: a command-line neural video codec around the VidTwin autoencoder.

>>> import vidtwin_codec
>>> result = vidtwin_codec.encode("in.mp4", "out.vtw", vidtwin_codec.EncodeOptions(quality=70))
>>> vidtwin_codec.decode("out.vtw", "out.mp4")
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Read by MKL when torch first needs it: products of float32 matrices give the same bits on any number of threads. On
# two cores this took no time that could be measured.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

if TYPE_CHECKING:
    from vidtwin_codec.decoding.decode import decode, decode_frames
    from vidtwin_codec.encoding.encode import encode
    from vidtwin_codec.errors import VidtwinError
    from vidtwin_codec.evaluation.measure.options import Measurement, MeasureOptions
    from vidtwin_codec.evaluation.measure.run import measure
    from vidtwin_codec.latents.dataset import VtwDataset
    from vidtwin_codec.latents.file import VtwFile
    from vidtwin_codec.options import DecodeOptions, DecodeResult, EncodeOptions, EncodeResult, Reporter

# Loaded on first use: torch takes seconds to import, and --help needs none of it.
_HOMES = {
    "VidtwinError": "errors",
    "encode": "encoding.encode",
    "decode": "decoding.decode",
    "decode_frames": "decoding.decode",
    "measure": "evaluation.measure.run",
    "MeasureOptions": "evaluation.measure.options",
    "Measurement": "evaluation.measure.options",
    "DecodeResult": "options",
    "DecodeOptions": "options",
    "EncodeOptions": "options",
    "EncodeResult": "options",
    "Reporter": "options",
    "VtwDataset": "latents.dataset",
    "VtwFile": "latents.file",
}

__all__ = [
    "DecodeOptions",
    "DecodeResult",
    "EncodeOptions",
    "EncodeResult",
    "MeasureOptions",
    "Measurement",
    "Reporter",
    "VidtwinError",
    "VtwDataset",
    "VtwFile",
    "__version__",
    "decode",
    "decode_frames",
    "encode",
    "measure",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
