"""Peak signal-to-noise ratio on RGB, as the VidTwin paper measures it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vidtwin_codec.metrics.frames import Frames, as_unit, check_pair

_FLOOR = 1e-8
"""Keeps identical frames finite, at 80 dB (the paper's form)."""


def psnr_of_error(error: ArrayLike) -> NDArray[np.float64]:
    """Return the PSNR in dB of mean squared errors, on a scale of 0 to 1: −10 · log10(MSE + 1e-8).

    Errors of pixels in [-1, 1], as the network has them, are divided by 4 first.
    """
    return -10 * np.log10(np.asarray(error, dtype=np.float64) + _FLOOR)


def psnr(reference: Frames, decoded: Frames) -> NDArray[np.float64]:
    """Compute the PSNR of each frame in dB.

    Args:
        reference: uint8 ``[n, H, W, 3]`` RGB (or float32 in [0, 1]).
        decoded: the same shape.

    Returns:
        PSNR ``[n]``: −10 · log10(MSE + 1e-8), the error over all pixels and colours on a scale of 0 to 1.

    Raises:
        ValueError: the shapes differ.
    """
    check_pair(reference, decoded)
    # frame by frame: a long clip need not be held as floats
    errors = [_squared_error(a, b) for a, b in zip(reference, decoded, strict=True)]
    return psnr_of_error(errors)


def _squared_error(one: Frames, other: Frames) -> np.float64:
    if one.dtype == other.dtype == np.uint8:
        return np.mean(np.square((one.astype(np.float32) - other) / np.float32(255)), dtype=np.float64)
    return np.mean(np.square(as_unit(one) - as_unit(other)), dtype=np.float64)


class PsnrMeter:
    """Computes the mean PSNR over frames that come in pieces."""

    def __init__(self) -> None:
        self.frames = 0
        self._total = 0.0

    def add(self, reference: Frames, decoded: Frames) -> None:
        """Add some frames, uint8 ``[n, H, W, 3]`` each.

        Raises:
            ValueError: the shapes differ.
        """
        values = psnr(reference, decoded)
        self.frames += len(values)
        self._total += float(values.sum())

    @property
    def mean(self) -> float:
        """The mean of the frames' PSNR, in dB.

        Raises:
            ValueError: no frame was added.
        """
        if not self.frames:
            raise ValueError("no frames were compared")
        return self._total / self.frames


@dataclass(frozen=True)
class ClipBoundaries:
    """PSNR in dB at the ends and in the middle of clips, mean over the whole clips of a video.

    Attributes:
        ends: PSNR of the first and the last frame of each clip (0 and 15 of 16).
        middle: PSNR of the two frames in the middle of each clip (7 and 8).
    """

    ends: float
    middle: float

    @property
    def drop(self) -> float:
        """Middle less ends in dB; around 0, no pulse shows where clips meet."""
        return self.middle - self.ends

    @classmethod
    def of(cls, psnr: NDArray[np.float64], clip_frames: int) -> ClipBoundaries | None:
        """Compute the boundaries from the PSNR of each frame, ``[n]``.

        A part of a clip at the end is left out: it was coded with its last frame repeated.

        Returns:
            None if there is no whole clip, or clips are too short to have a middle.
        """
        clips = len(psnr) // clip_frames
        if not clips or clip_frames < 4:
            return None
        positions = psnr[: clips * clip_frames].reshape(clips, clip_frames).mean(axis=0)
        half = clip_frames // 2
        middle = positions[half - 1 : half + 1] if clip_frames % 2 == 0 else positions[half : half + 1]
        return cls(float(positions[[0, -1]].mean()), float(middle.mean()))
