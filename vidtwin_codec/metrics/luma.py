"""PSNR of luma, as codec comparisons measure it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.metrics.frames import Frames, as_levels, check_pair

MATRICES = {
    "bt709": (0.2126, 0.0722),
    "bt601": (0.299, 0.114),
    "bt2020": (0.2627, 0.0593),
    "fcc": (0.3, 0.11),
    "smpte240m": (0.212, 0.087),
}
"""Weights of red and blue, by ffmpeg's names (ITU-T H.273, table 4)."""
DEFAULT_MATRIX = "bt709"
MAX_DECIBELS = 100.0
"""Stands for the infinite PSNR of identical frames, which JSON does not know, and which would make a mean infinite."""


def luma(frames: Frames, matrix: str = DEFAULT_MATRIX) -> NDArray[np.uint8]:
    """Compute luma of RGB frames, 8 bits, limited range (16 to 235), as a video file stores it.

    Args:
        frames: ``[n, H, W, 3]``; floats are rounded to 8 bits first.
        matrix: one of :data:`MATRICES`.

    Returns:
        uint8 ``[n, H, W]``.
    """
    red, blue = MATRICES[matrix]
    weights = np.array([red, 1 - red - blue, blue]) * 219 / 255
    planes = np.empty(frames.shape[:3], np.uint8)
    for plane, frame in zip(planes, as_levels(frames), strict=True):
        plane[:] = np.rint(frame @ weights.astype(np.float32) + 16)
    return planes


def psnr_y(reference: Frames, decoded: Frames, matrix: str = DEFAULT_MATRIX) -> NDArray[np.float64]:
    """Compute the luma PSNR of each frame in dB.

    Args:
        reference: uint8 ``[n, H, W, 3]`` RGB.
        decoded: the same shape.
        matrix: the matrix that makes luma of RGB; see :func:`luma`.

    Returns:
        ``[n]``: 10 · log10(255² / MSE) of 8-bit luma, as ffmpeg's psnr filter gives it; at most 100.

    Raises:
        ValueError: the shapes differ.
    """
    check_pair(reference, decoded)
    return psnr_of_planes(luma(reference, matrix), luma(decoded, matrix))


def psnr_of_planes(reference: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the PSNR of each frame in dB from luma ``[n, H, W]``; see :func:`psnr_y`."""
    return decibels(plane_errors(reference, decoded))


def plane_errors(reference: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean squared error of each plane of ``[n, H, W]``."""
    pairs = zip(reference, decoded, strict=True)
    return np.array([np.mean(np.square(a.astype(np.float32) - b), dtype=np.float64) for a, b in pairs])


def decibels(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert mean squared errors of 8-bit values to PSNR in dB."""
    with np.errstate(divide="ignore"):
        values: NDArray[np.float64] = np.minimum(10 * np.log10(255**2 / errors), MAX_DECIBELS)
    return values
