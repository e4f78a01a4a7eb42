"""The camera over a whole video: one canvas a clip, in a world that goes on from clip to clip."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.motion.canvas import Canvas
from vidtwin_codec.motion.path import Path, displacement, estimate_path

_STEP = 24.0
"""Levels times patch: a quantisation step of the estimate, that of a middling quality."""
_KEPT = 16
"""Of the frequencies along a side of a patch, so many lowest are counted."""
_EACH = 2
"""One patch in so many is counted."""
_TRUST = 1.05
"""The estimate of a canvas may be so much higher: what is held at its edges costs less than it says, and a world that
goes on foretells more than it knows."""


class Camera:
    """Gives each clip of a video its canvas; takes the clips in order.

    Args:
        patch: pixels along a side of a patch.
    """

    def __init__(self, patch: int) -> None:
        self.patch = patch
        self._last: NDArray[np.uint8] | None = None
        self._position = (0, 0)

    def follow(self, frames: NDArray[np.uint8]) -> Canvas:
        """The canvas of the next clip ``[T, H, W, 3]``.

        Where the picture goes on from the clip before, so does the world; else, and where moving frames is not worth
        it, a new one begins.
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
        """The canvas in the world of the clip before; None where there is none, or nothing has moved since it began."""
        if self._last is None or self._last.shape != first.shape or not (path.moves or any(self._position)):
            return None
        step = displacement(self._last, first)
        if step is None:
            return None
        ahead = path.shifts[0].tolist()
        position = self._position[0] - step[0] + ahead[0], self._position[1] - step[1] + ahead[1]
        return Canvas.along(path, (first.shape[0], first.shape[1]), self.patch, position)


def worth(frames: NDArray[np.uint8], canvas: Canvas) -> bool:
    """Whether frames ``[T, H, W, 3]`` on this canvas take fewer bits than where they are, by an estimate."""
    still = Canvas.still(canvas.size, canvas.patch, len(frames))
    if not canvas.positions.any():
        return True
    green = np.ascontiguousarray(frames[..., 1:2])
    return bits_about(canvas.place(green), canvas.patch) < _TRUST * bits_about(still.place(green), canvas.patch)


def bits_about(canvases: NDArray[np.uint8], patch: int) -> float:
    """Bits that one colour ``[T, H, W, 1]`` of whole patches takes, about: logarithms of cosines of some patches."""
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
    """``[size, size]``: the orthonormal cosines, one a row."""
    k, n = np.mgrid[:size, :size]
    table = np.cos(math.pi * (n + 0.5) * k / size) * math.sqrt(2 / size)
    table[0] = math.sqrt(1 / size)
    narrow: NDArray[np.float32] = table.astype(np.float32)
    return narrow
