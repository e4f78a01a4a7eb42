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
    from vidtwin_codec.batch.options import BatchOptions
    from vidtwin_codec.batch.run import Batch
    from vidtwin_codec.container import Header, VtwReader, verify
    from vidtwin_codec.decoding.decode import decode, decode_frames
    from vidtwin_codec.encoding.encode import encode
    from vidtwin_codec.errors import VidtwinError
    from vidtwin_codec.evaluation.compare.options import CompareOptions
    from vidtwin_codec.evaluation.compare.results import Comparison
    from vidtwin_codec.evaluation.compare.run import compare
    from vidtwin_codec.evaluation.measure.options import Measurement, MeasureOptions
    from vidtwin_codec.evaluation.measure.run import measure
    from vidtwin_codec.latents.cache import GroupCache
    from vidtwin_codec.latents.clips import ClipLatents
    from vidtwin_codec.latents.dataset import VtwDataset
    from vidtwin_codec.latents.exporting import export_latents
    from vidtwin_codec.latents.file import VtwFile
    from vidtwin_codec.latents.importing import ImportLatentsOptions, import_latents
    from vidtwin_codec.latents.mixing import MixOptions, mix, mix_to_vtw
    from vidtwin_codec.options import DecodeOptions, DecodeResult, EncodeOptions, EncodeResult, Reporter
    from vidtwin_codec.training import TrainOptions, TrainResult, train

# Loaded on first use: torch takes seconds to import, and --help needs none of it.
_HOMES = {
    "Batch": "batch.run",
    "BatchOptions": "batch.options",
    "ClipLatents": "latents.clips",
    "CompareOptions": "evaluation.compare.options",
    "Comparison": "evaluation.compare.results",
    "DecodeOptions": "options",
    "DecodeResult": "options",
    "EncodeOptions": "options",
    "EncodeResult": "options",
    "GroupCache": "latents.cache",
    "Header": "container",
    "ImportLatentsOptions": "latents.importing",
    "MeasureOptions": "evaluation.measure.options",
    "Measurement": "evaluation.measure.options",
    "MixOptions": "latents.mixing",
    "Reporter": "options",
    "TrainOptions": "training",
    "TrainResult": "training",
    "VidtwinError": "errors",
    "VtwDataset": "latents.dataset",
    "VtwFile": "latents.file",
    "VtwReader": "container",
    "compare": "evaluation.compare.run",
    "decode": "decoding.decode",
    "decode_frames": "decoding.decode",
    "encode": "encoding.encode",
    "export_latents": "latents.exporting",
    "import_latents": "latents.importing",
    "measure": "evaluation.measure.run",
    "mix": "latents.mixing",
    "mix_to_vtw": "latents.mixing",
    "train": "training",
    "verify": "container",
}
_ROOMS = ("container", "latents", "metrics", "model", "training", "weights")
"""Parts of the package with functions of their own, which docs/api.md describes."""

__all__ = [
    "Batch",
    "BatchOptions",
    "ClipLatents",
    "CompareOptions",
    "Comparison",
    "DecodeOptions",
    "DecodeResult",
    "EncodeOptions",
    "EncodeResult",
    "GroupCache",
    "Header",
    "ImportLatentsOptions",
    "MeasureOptions",
    "Measurement",
    "MixOptions",
    "Reporter",
    "TrainOptions",
    "TrainResult",
    "VidtwinError",
    "VtwDataset",
    "VtwFile",
    "VtwReader",
    "__version__",
    "compare",
    "decode",
    "decode_frames",
    "encode",
    "export_latents",
    "import_latents",
    "measure",
    "mix",
    "mix_to_vtw",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
