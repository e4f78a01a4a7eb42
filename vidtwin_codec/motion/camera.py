"""The camera over a whole video: one canvas for each clip, in a world that continues from clip to clip."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.motion.canvas import Canvas
from vidtwin_codec.motion.path import Path, displacement, estimate_path

_STEP = 24.0
"""Quantisation step of the estimate, that of a medium quality, in levels times the patch's side."""
_KEPT = 16
"""Number of lowest frequencies along a side of a patch that are counted."""
_EACH = 2
"""One patch in this many is counted."""
_TRUST = 1.05
"""Factor by which the estimate of a canvas may be higher: pixels repeated at its edges cost less than estimated, and a
world that continues predicts more than the estimate knows."""


class Camera:
    """Finds the canvas of each clip of a video; it takes the clips in order.

    Args:
        patch: side of a patch in pixels.
    """

    def __init__(self, patch: int) -> None:
        self.patch = patch
        self._last: NDArray[np.uint8] | None = None
        self._position = (0, 0)

    def follow(self, frames: NDArray[np.uint8]) -> Canvas:
        """Return the canvas of the next clip ``[T, H, W, 3]``.

        Where the picture continues from the clip before, so does the world; otherwise, and where moving frames does not
        pay, a new world begins.
        """
        size = frames.shape[1], frames.shape[2]
        canvas = self._best(frames, size)
        if canvas is None:
            canvas = Canvas.still(size, self.patch, len(frames))
        self._last = frames[-1].copy()
        self._position = int(canvas.positions[-1, 0]), int(canvas.positions[-1, 1])
        return canvas

    def _best(self, frames: NDArray[np.uint8], size: tuple[int, int]) -> Canvas | None:
        path = estimate_path(frames)
        going_on = self._going_on(path, frames[0])
        for canvas in (going_on, Canvas.along(path, size, self.patch) if path.moves else None):
            if canvas is not None and worth(frames, canvas):
                return canvas
        return None

    def _going_on(self, path: Path, first: NDArray[np.uint8]) -> Canvas | None:
        """Return the canvas in the world of the clip before, or None if there is none, or nothing has moved in it."""
        if self._last is None or self._last.shape != first.shape or not (path.moves or any(self._position)):
            return None
        step = displacement(self._last, first)
        if step is None:
            return None
        ahead = path.shifts[0].tolist()
        position = self._position[0] - step[0] + ahead[0], self._position[1] - step[1] + ahead[1]
        return Canvas.along(path, (first.shape[0], first.shape[1]), self.patch, position)


def worth(frames: NDArray[np.uint8], canvas: Canvas) -> bool:
    """Return whether frames ``[T, H, W, 3]`` are estimated to take fewer bits on this canvas than where they are."""
    still = Canvas.still(canvas.size, canvas.patch, len(frames))
    if not canvas.positions.any():
        return True
    green = np.ascontiguousarray(frames[..., 1:2])
    return bits_about(canvas.place(green), canvas.patch) < _TRUST * bits_about(still.place(green), canvas.patch)


def bits_about(canvases: NDArray[np.uint8], patch: int) -> float:
    """Estimate the bits of one colour ``[T, H, W, 1]`` of whole patches by logarithms of cosines of some patches."""
    count, height, width, _ = canvases.shape
    rows, columns = height // patch, width // patch
    patches = canvases.reshape(count, rows, patch, columns, patch)
    chosen = [divmod(n, columns) for n in range(rows * columns) if (n // columns + n % columns) % _EACH == 0]
    some = np.stack([patches[:, r, :, c] for r, c in chosen], axis=1).astype(np.float32)  # [T, n, patch, patch]
    kept = _cosines(patch)[: min(_KEPT, patch)]
    across = (some.reshape(-1, patch) @ kept.T).reshape(count, len(chosen), patch, -1)
    waves = np.matmul(kept, across).reshape(count, -1)
    waves = (_cosines(count) @ waves).reshape(count, len(chosen), *across.shape[-1:] * 2)
    waves[0, :, 0, 0] = 0  # the mean brightness moves nowhere
    waves *= 1 / _STEP
    bits = np.log2(np.square(waves, out=waves) + 1).sum() / 2
    return float(bits * rows * columns / len(chosen))


@cache
def _cosines(size: int) -> NDArray[np.float32]:
    """Return the orthonormal cosines, one a row, ``[size, size]``."""
    k, n = np.mgrid[:size, :size]
    table = np.cos(math.pi * (n + 0.5) * k / size) * math.sqrt(2 / size)
    table[0] = math.sqrt(1 / size)
    narrow: NDArray[np.float32] = table.astype(np.float32)
    return narrow
