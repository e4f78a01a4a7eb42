"""Loss at clip boundaries: PSNR at the ends of each clip against that in its middle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
        """By how many dB the ends are worse than the middle; around 0, no pulse shows where clips meet."""
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
