"""A larger picture in which the scene of a moving camera stands still.

Frames are placed where their content is, in a world whose patches keep their places from clip to clip. Pixels that a
frame does not show are those of the last frame that showed them, or else of the first one that will, so that a
transform over time sees them stand still.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.motion.path import Path, Shift

MOST_AREA = 1.5
"""Largest area of a canvas, in areas of the padded frame."""
_FARTHEST = 0x7FFF


@dataclass(frozen=True, eq=False)
class Canvas:
    """The canvas of one clip, in whole patches, and the places of its frames.

    Attributes:
        size: height and width of a frame in pixels.
        patch: side of a patch in pixels.
        positions: row and column in the world of each frame's first pixel, int16 ``[T, 2]``.
        spare: rows and columns of patches below and to the right that the frames do not need.
    """

    size: tuple[int, int]
    patch: int
    positions: NDArray[np.int16]
    spare: tuple[int, int] = (0, 0)

    @classmethod
    def still(cls, size: tuple[int, int], patch: int, count: int) -> Canvas:
        """Return the canvas of ``count`` frames that all lie at (0, 0): the frame, padded to whole patches."""
        return cls(size, patch, np.zeros((count, 2), np.int16))

    @classmethod
    def along(cls, path: Path, size: tuple[int, int], patch: int, position: Shift | None = None) -> Canvas | None:
        """The canvas of a path; None when it would be too large or too far away.

        Args:
            path: shifts against the middle frame.
            size: height and width of a frame, pixels.
            patch: pixels along a side of a patch.
            position: place of the middle frame in the world; None begins a world at the canvas' first pixel.
        """
        shifts = path.shifts.astype(np.int64)
        positions = (shifts.max(0) if position is None else np.array(position, np.int64)) - shifts
        low, high = positions.min(0), positions.max(0)
        if low.min() < -_FARTHEST or (high + np.array(size) + patch).max() > _FARTHEST:
            return None
        # all frames overlap in a place: pixels that none of them shows lie outside, never between them
        if bool((high - low >= np.array(size)).any()):
            return None
        canvas = cls(size, patch, positions.astype(np.int16))
        padded = _up(size[0], patch) * _up(size[1], patch)
        return canvas if canvas.rows * canvas.columns <= MOST_AREA * padded else None

    @cached_property
    def origin(self) -> Shift:
        """Row and column in the world of the canvas' first pixel, multiples of the patch."""
        low = self.positions.min(0)
        return int(low[0]) // self.patch * self.patch, int(low[1]) // self.patch * self.patch

    @property
    def rows(self) -> int:
        """Number of patches from top to bottom."""
        return _up(int(self.positions[:, 0].max()) + self.size[0] - self.origin[0], self.patch) + self.spare[0]

    @property
    def columns(self) -> int:
        """Number of patches from left to right."""
        return _up(int(self.positions[:, 1].max()) + self.size[1] - self.origin[1], self.patch) + self.spare[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rows * self.patch, self.columns * self.patch

    @cached_property
    def corners(self) -> list[Shift]:
        """Row and column in the canvas of each frame's first pixel."""
        return [(int(y) - self.origin[0], int(x) - self.origin[1]) for y, x in self.positions]

    def place(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Put frames ``[T, H, W, 3]`` into canvases ``[T, rows * patch, columns * patch, 3]``; any number of colours.

        Raises:
            ValueError: the frames are not of the size and number that the canvas is for.
        """
        height, width = self.size
        if frames.ndim != 4 or frames.shape[:3] != (len(self.corners), height, width):
            raise ValueError(f"expected frames {(len(self.corners), height, width, 3)}, got {frames.shape}")
        canvas = np.empty((len(frames), *self.shape, frames.shape[3]), frames.dtype)
        for t, (y, x) in enumerate(self.corners):
            canvas[t, y : y + height, x : x + width] = frames[t]
        self._hold(canvas)
        self._extend(canvas)
        return canvas

    def cut(self, canvases: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Take the frames ``[T, H, W, 3]`` out of canvases, the exact inverse of `place`.

        Raises:
            ValueError: the canvases are not of this shape and number.
        """
        if canvases.ndim != 4 or canvases.shape[:3] != (len(self.corners), *self.shape):
            raise ValueError(f"expected canvases {(len(self.corners), *self.shape, 3)}, got {canvases.shape}")
        height, width = self.size
        frames = np.empty((len(canvases), height, width, canvases.shape[3]), canvases.dtype)
        for t, (y, x) in enumerate(self.corners):
            frames[t] = canvases[t, y : y + height, x : x + width]
        return frames

    def _hold(self, canvas: NDArray[np.uint8]) -> None:
        """Fill in pixels that a frame does not show from the frame before, or, where none before has them, the next."""
        height, width = self.size
        count = len(canvas)
        backward = [(t, t + 1) for t in range(count - 2, -1, -1)]
        forward = [(t, t - 1) for t in range(1, count)]  # leaves pixels that only later frames show as they are
        for t, other in backward + forward:
            y, x = self.corners[t]
            canvas[t, :y] = canvas[other, :y]
            canvas[t, y + height :] = canvas[other, y + height :]
            canvas[t, y : y + height, :x] = canvas[other, y : y + height, :x]
            canvas[t, y : y + height, x + width :] = canvas[other, y : y + height, x + width :]

    def _extend(self, canvas: NDArray[np.uint8]) -> None:
        """Repeat the outermost covered pixels: along rows first, then whole rows."""
        height, width = self.size
        bottom, right = canvas.shape[1:3]
        edges = sorted({edge for y, _ in self.corners for edge in (y, y + height)})
        for top, end in pairwise(edges):
            here = [x for y, x in self.corners if y <= top and end <= y + height]
            first, last = min(here), max(here) + width
            band = canvas[:, top:end]
            if first:
                band[:, :, :first] = band[:, :, first : first + 1]
            if last < right:
                band[:, :, last:] = band[:, :, last - 1 : last]
        first, last = edges[0], edges[-1]
        if first:
            canvas[:, :first] = canvas[:, first : first + 1]
        if last < bottom:
            canvas[:, last:] = canvas[:, last - 1 : last]


def _up(pixels: int, patch: int) -> int:
    return -(-pixels // patch)
