"""Pairs of RGB frames that the metrics take, as 8-bit levels or as floats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8] | NDArray[np.float32]
"""``[n, H, W, 3]`` RGB: uint8 levels, or float32 in [0, 1] as a network gives them before they are rounded."""


def check_pair(reference: Frames, decoded: Frames) -> None:
    """Make sure that two pieces can be compared.

    Raises:
        ValueError: the pieces are not RGB frames of the same number and size.
    """
    if reference.shape != decoded.shape:
        raise ValueError(f"frames of shape {reference.shape} cannot be compared with {decoded.shape}")
    if reference.ndim != 4 or reference.shape[-1] != 3:
        raise ValueError(f"an array of shape {reference.shape} does not hold RGB frames [n, H, W, 3]")


def as_unit(frames: Frames) -> NDArray[np.float32]:
    """Convert frames to float32 in [0, 1]; floats beyond are clipped."""
    if frames.dtype == np.uint8:
        return frames.astype(np.float32) / np.float32(255)
    return np.clip(frames, 0, 1).astype(np.float32, copy=False)


def as_levels(frames: Frames) -> NDArray[np.uint8]:
    """Convert frames to uint8 levels; floats are clipped and rounded."""
    if frames.dtype == np.uint8:
        return frames.astype(np.uint8, copy=False)
    levels: NDArray[np.uint8] = np.rint(np.clip(frames, 0, 1) * 255).astype(np.uint8)
    return levels
