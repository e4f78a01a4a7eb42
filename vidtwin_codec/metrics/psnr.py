"""Peak signal-to-noise ratio on RGB, as the VidTwin paper measures it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
_FLOOR = 1e-8
"""Keeps identical frames finite, at 80 dB (the paper's form)."""


def psnr(reference: Frames, decoded: Frames) -> NDArray[np.float64]:
    """PSNR of each frame in dB.

    Args:
        reference: uint8 ``[n, H, W, 3]`` RGB.
        decoded: the same shape.

    Returns:
        ``[n]``: −10 · log10(MSE + 1e-8), the error over all pixels and colours on a scale of 0 to 1.

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != decoded.shape:
        raise ValueError(f"frames of shape {reference.shape} cannot be compared with {decoded.shape}")
    pairs = zip(reference, decoded, strict=True)  # frame by frame: a long clip need not be held as floats
    errors = [np.mean(np.square((a.astype(np.float32) - b) / 255), dtype=np.float64) for a, b in pairs]
    return -10 * np.log10(np.asarray(errors, dtype=np.float64) + _FLOOR)


class PsnrMeter:
    """Mean PSNR over frames that come in pieces."""

    def __init__(self) -> None:
        self.frames = 0
        self._total = 0.0

    def add(self, reference: Frames, decoded: Frames) -> None:
        """Take in some frames, uint8 ``[n, H, W, 3]`` each.

        Raises:
            ValueError: the shapes differ.
        """
        values = psnr(reference, decoded)
        self.frames += len(values)
        self._total += float(values.sum())

    @property
    def mean(self) -> float:
        """Mean of the frames' PSNR, in dB.

        Raises:
            ValueError: no frame was added.
        """
        if not self.frames:
            raise ValueError("no frames were compared")
        return self._total / self.frames
