"""The VidTwin paper's way to a clip of fixed size: frames are scaled to cover it, then cropped around their centre."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

Frames = TypeVar("Frames", Tensor, NDArray[np.uint8])


def covering_size(size: tuple[int, int], clip: tuple[int, int]) -> tuple[int, int]:
    """Return the least size, in the proportions of a frame, that covers a clip.

    Args:
        size: height and width of the frame in pixels.
        clip: height and width of the clip in pixels.

    Returns:
        Height and width, each rounded to whole pixels.
    """
    # an exact ratio: floats round another way for some sizes
    scale = max(Fraction(clip[0], size[0]), Fraction(clip[1], size[1]))
    return max(clip[0], round(size[0] * scale)), max(clip[1], round(size[1] * scale))


def fill_up(frames: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Repeat the last of some frames ``[n, H, W, 3]`` until there are ``count``, as the last clip of a video is."""
    missing = count - len(frames)
    return np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)]) if missing else frames


def crop_centre(frames: Frames, clip: tuple[int, int]) -> Frames:
    """Cut the ``clip`` (height and width in pixels) out of the middle of frames ``[n, H, W, 3]``."""
    top, left = ((frames.shape[axis] - side) // 2 for axis, side in zip((1, 2), clip, strict=True))
    return frames[:, top : top + clip[0], left : left + clip[1]]


def scale_and_crop(frames: Tensor, clip: tuple[int, int]) -> Tensor:
    """Scale uint8 frames ``[n, H, W, 3]`` to cover a clip, bilinear and antialiased, and crop them around their centre.

    Args:
        frames: frames of any size.
        clip: height and width of the clip in pixels.

    Returns:
        uint8 ``[n, *clip, 3]``, contiguous.
    """
    size = frames.shape[1], frames.shape[2]
    if (scaled := covering_size(size, clip)) != size:
        planes = interpolate(frames.permute(0, 3, 1, 2), scaled, mode="bilinear", antialias=True)
        frames = planes.permute(0, 2, 3, 1)
    return crop_centre(frames, clip).contiguous()
