"""Training and fine-tuning of a VidTwin, from footage to weights with quantisation steps.

Imports need torch, numpy and safetensors alone; reading videos needs ffmpeg, calibrating steps needs zstandard.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vidtwin_codec.training.options import TrainOptions

if TYPE_CHECKING:
    from vidtwin_codec.training.run import TrainResult, train

__all__ = ["TrainOptions", "TrainResult", "train"]


def __getattr__(name: str) -> Any:
    # options are imported without torch, so that the command line shows its help at once
    if name not in ("TrainResult", "train"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("vidtwin_codec.training.run"), name)
