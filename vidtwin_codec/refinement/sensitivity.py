"""Sensitivity of the decoder where a coarse quantiser takes the latents."""

from __future__ import annotations

import numpy as np
import torch

from vidtwin_codec.coding import LatentArrays
from vidtwin_codec.model import Latents, VidTwin
from vidtwin_codec.model.sensitivity import squared_derivatives

PATH = (1.0, 0.75, 0.5, 0.25)
"""Where the decoder is probed, as shares of the latents: on the way to zero, where coarse symbols take them. A channel
that switches something is flat where it stands and steep on that way."""
_SEED = 0


def measure_sensitivity(model: VidTwin, latents: Latents) -> LatentArrays:
    """What :func:`~vidtwin_codec.model.sensitivity.squared_derivatives` gives, the largest along :data:`PATH`.

    Args:
        model: with its decoder; computes in float32.
        latents: of B clips, on the decoder's device.

    Returns:
        float64, one number a channel, shaped to broadcast against arrays of latents; 0 where the decoder's derivatives
        are not finite.
    """
    generator = torch.Generator().manual_seed(_SEED)
    found = [squared_derivatives(model, Latents(*(share * part for part in latents)), generator) for share in PATH]
    finite = ([np.nan_to_num(part, nan=0.0, posinf=0.0) for part in squares] for squares in found)
    return LatentArrays(*(np.max(column, axis=0) for column in zip(*finite, strict=True)))
