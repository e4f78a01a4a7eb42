"""Where a clip's frames lie on a canvas of patches of its own, for windows that follow the camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.layout import MAX_DIMENSION, LatentLayout
from vidtwin_codec.errors import VidtwinError

MAX_ORIGIN = 1 << 14
MAX_AREA = 2  # of a canvas, in areas of the layout's own grid


@dataclass(frozen=True, eq=False)
class Placement:
    """A canvas and where the frames lie on it.

    Attributes:
        rows: patches of the canvas.
        columns: likewise.
        top: the canvas' origin in patches, in coordinates that all clips of a group share; within +-`MAX_ORIGIN`.
        left: likewise.
        corners: int16 ``[T, 2]``: row and column, in pixels from the canvas' origin, of each frame's top-left pixel.
    """

    rows: int
    columns: int
    top: int
    left: int
    corners: NDArray[np.int16]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Placement):
            return NotImplemented
        return self.canvas == other.canvas and np.array_equal(self.corners, other.corners)

    __hash__ = None  # type: ignore[assignment]

    @property
    def canvas(self) -> tuple[int, int, int, int]:
        """Rows, columns, top and left."""
        return self.rows, self.columns, self.top, self.left

    def check(self, layout: LatentLayout) -> None:
        """Refuse what no file may hold.

        Raises:
            ValueError: the layout has no patterns, the canvas is empty, larger than twice the layout's grid, or too far
                away, or the corners are not one a frame within the canvas.
        """
        _, height, width, _ = layout.structure
        if layout.patterns is None:
            raise ValueError("only layouts with patterns have canvases")
        if min(self.rows, self.columns) < 1 or max(self.rows, self.columns) > MAX_DIMENSION:
            raise ValueError(f"a canvas of {self.rows} by {self.columns} patches")
        if self.rows * self.columns > MAX_AREA * height * width:
            raise ValueError(f"a canvas of {self.rows} by {self.columns} patches for a grid of {height} by {width}")
        if max(abs(self.top), abs(self.left)) > MAX_ORIGIN:
            raise ValueError(f"a canvas at {self.top}, {self.left} patches")
        if self.corners.shape != (layout.dynamics_x[1], 2) or self.corners.dtype != np.int16:
            raise ValueError(f"corners are {self.corners.dtype} {self.corners.shape}")
        sides = np.array([self.rows, self.columns]) * layout.patterns.size
        if bool((self.corners < 0).any()) or bool((self.corners >= sides).any()):
            raise ValueError("a frame's corner lies outside its canvas")
        self.grid(layout)

    def grid(self, layout: LatentLayout) -> LatentLayout:
        """The layout with this canvas' grid.

        Raises:
            ValueError: its latents are too many.
        """
        slots, _, _, channels = layout.structure
        lines, frames, _ = layout.dynamics_x
        try:
            return replace(
                layout,
                structure=(slots, self.rows, self.columns, channels),
                dynamics_x=(lines, frames, self.columns),
                dynamics_y=(lines, frames, self.rows),
            )
        except VidtwinError as error:
            raise ValueError(str(error)) from error


def at_rest(layout: LatentLayout) -> Placement:
    """The layout's own grid at the origin, with every frame in its corner."""
    _, height, width, _ = layout.structure
    return Placement(height, width, 0, 0, np.zeros((layout.dynamics_x[1], 2), np.int16))
