"""Videos in which the camera moves over a picture that stands still."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from media_samples import write_all
from numpy.typing import NDArray

from vidtwin_codec.media import OutputOptions


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth noise, more of it in large shapes than in small ones."""
    rng = np.random.default_rng(seed)
    levels = np.full((height, width, 3), 128.0)
    for size in (4, 8, 16, 32):
        coarse = rng.normal(size=(height // size + 2, width // size + 2, 3)) * 2.5 * size
        rows, columns = np.arange(height) / size, np.arange(width) / size
        y, x = rows.astype(int), columns.astype(int)
        dy, dx = (rows - y)[:, None, None], (columns - x)[None, :, None]
        above, below = (coarse[row][:, x] * (1 - dx) + coarse[row][:, x + 1] * dx for row in (y, y + 1))
        levels += above * (1 - dy) + below * dy
    return levels.clip(0, 255).astype(np.uint8)


def pan(
    frames: int, size: tuple[int, int] = (48, 72), step: tuple[int, int] = (1, 3), stop: int | None = None
) -> NDArray[np.uint8]:
    """uint8 ``[frames, H, W, 3]``: a camera that moves by ``step`` pixels a frame, up to frame ``stop``."""
    at = np.minimum(np.arange(frames), frames if stop is None else stop)[:, None] * np.array(step)
    at -= at.min(0)
    whole = picture(*(int(side) for side in at.max(0) + size))
    return np.stack([whole[y : y + size[0], x : x + size[1]] for y, x in at])


def write_pan(path: Path, frames: NDArray[np.uint8], fps: Fraction = Fraction(4)) -> Path:
    """The same as a lossless video of RGB."""
    return write_all(path, frames, fps, OutputOptions(codec="ffv1", pix_fmt="gbrp"))
