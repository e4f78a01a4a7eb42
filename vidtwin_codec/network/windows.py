"""Windows: the inputs of a network that takes any grid of patches, each a whole frame or one of few equal parts."""

from __future__ import annotations

import math

from vidtwin_codec.coding import LatentLayout
from vidtwin_codec.coding.patterns import Patterns
from vidtwin_codec.container.fields import MAX_SIZE
from vidtwin_codec.model import VidTwinConfig

MAX_WINDOW_PIXELS = 1 << 21
"""1920 × 1088 is just below; a clip of 16 frames then takes 100 MB."""
MAX_WINDOW_ELEMENTS = 1 << 24
"""Most latents of a window; a canvas on which a window follows the camera may have more."""
_SEAM = 16
"""Cost of a seam, in pixels for each pixel of its length."""


def window_layout(config: VidTwinConfig, height: int, width: int) -> LatentLayout:
    """Return the shapes of the latents of one network input of this size in pixels.

    Raises:
        VidtwinError: the input has more latents than a layout may have.
    """
    if not config.any_grid:
        return LatentLayout(config.structure_shape, config.dynamics_x_shape, config.dynamics_y_shape)
    patterns = None if config.patterns is None else Patterns(config.patch_size, config.patterns)
    rows, columns = height // config.patch_size, width // config.patch_size
    return LatentLayout(
        (config.qformer.num_queries, rows, columns, config.structure_channels),
        (config.dynamics_channels, config.frames, columns),
        (config.dynamics_channels, config.frames, rows),
        patterns,
    )


def window_size(config: VidTwinConfig, width: int, height: int) -> tuple[int, int]:
    """Return ``(height, width)`` of a frame's windows in pixels: the fewest windows, and of those the fewest pixels.

    The size follows from the weights and the frame alone, so that every machine makes the same file.
    """
    count = 1
    while True:
        sizes = []
        for rows in range(1, count + 1):
            if count % rows == 0:
                size = _side(height, rows, config.patch_size), _side(width, count // rows, config.patch_size)
                if _fits(config, *size):
                    sizes.append(size)
        if sizes:
            return min(sizes, key=lambda size: size[0] * size[1] + _SEAM * sum(size))
        count += 1


def _side(size: int, count: int, patch: int) -> int:
    """Return the side of each of ``count`` windows that cover ``size`` pixels, in whole patches."""
    return math.ceil(size / (count * patch)) * patch


def _fits(config: VidTwinConfig, height: int, width: int) -> bool:
    rows, columns = height // config.patch_size, width // config.patch_size
    elements = config.qformer.num_queries * rows * columns * config.structure_channels
    elements += config.dynamics_channels * config.frames * (rows + columns)
    small = elements <= MAX_WINDOW_ELEMENTS and height * width <= MAX_WINDOW_PIXELS
    return (small and max(height, width) <= MAX_SIZE) or rows == columns == 1
