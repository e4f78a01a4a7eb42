"""Places of a clip's frames on a canvas of its own, for windows and tiles that follow the camera.

Canvases are made of cells. With patterns, a cell is a patch of the window that the canvas takes the place of; without,
16 pixels a side, and the canvas is cut into tiles as a frame of its size would be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.layout import MAX_DIMENSION, LatentLayout
from vidtwin_codec.errors import VidtwinError

MAX_ORIGIN = 1 << 14
MAX_AREA = 2  # of a canvas, in areas of the frame, both in whole cells
CELL = 16  # pixels, where the layout has no patterns


@dataclass(frozen=True, eq=False)
class Placement:
    """A canvas and the places of the frames on it.

    Attributes:
        rows: height of the canvas in cells.
        columns: width of the canvas in cells.
        top: row of the canvas' origin in cells, in coordinates that all clips of a group share; within +-`MAX_ORIGIN`,
            and 0 without patterns, where nothing is predicted from the clip before by its place.
        left: column of the canvas' origin in cells, in the same coordinates and limits.
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
        """The canvas as (rows, columns, top, left)."""
        return self.rows, self.columns, self.top, self.left

    def check(self, layout: LatentLayout, frame: tuple[int, int] | None = None) -> None:
        """Check that a file may hold this placement.

        Args:
            layout: layout of the file.
            frame: height and width in pixels of what lies on the canvas; must be known where there are no patterns.

        Raises:
            ValueError: the canvas is empty, larger than twice the frame, or too far away, or the corners are not one a
                frame within the canvas, or a frame reaches beyond it.
        """
        height, width = rest_grid(layout, frame)
        if min(self.rows, self.columns) < 1 or max(self.rows, self.columns) > MAX_DIMENSION:
            raise ValueError(f"a canvas of {self.rows} by {self.columns} cells")
        if self.rows * self.columns > MAX_AREA * height * width:
            raise ValueError(f"a canvas of {self.rows} by {self.columns} cells for a grid of {height} by {width}")
        if max(abs(self.top), abs(self.left)) > (0 if layout.patterns is None else MAX_ORIGIN):
            raise ValueError(f"a canvas at {self.top}, {self.left} cells")
        if self.corners.shape != (layout.dynamics_x[1], 2) or self.corners.dtype != np.int16:
            raise ValueError(f"corners are {self.corners.dtype} {self.corners.shape}")
        sides = np.array([self.rows, self.columns]) * cell_of(layout)
        if bool((self.corners < 0).any()) or bool((self.corners >= sides).any()):
            raise ValueError("a frame's corner lies outside its canvas")
        if frame is not None and bool((self.corners.astype(np.int64) + frame > sides).any()):
            raise ValueError("a frame reaches beyond its canvas")
        self.grid(layout)

    def grid(self, layout: LatentLayout) -> LatentLayout:
        """Return the layout with this canvas' grid; without patterns, the layout of a tile.

        Raises:
            ValueError: the grid has too many latents.
        """
        if layout.patterns is None:
            return layout
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


def cell_of(layout: LatentLayout) -> int:
    """Return the side of a cell in pixels."""
    return CELL if layout.patterns is None else layout.patterns.size


def rest_grid(layout: LatentLayout, frame: tuple[int, int] | None = None) -> tuple[int, int]:
    """Return the rows and columns of cells of a frame that has no canvas.

    Args:
        layout: layout of the file.
        frame: height and width in pixels; must be known where there are no patterns.

    Raises:
        ValueError: the frame is unknown.
    """
    if layout.patterns is not None:
        return layout.structure[1:3]
    if frame is None:
        raise ValueError("a canvas of a layout without patterns, for frames of unknown size")
    return -(-frame[0] // CELL), -(-frame[1] // CELL)


def at_rest(layout: LatentLayout, frame: tuple[int, int] | None = None) -> Placement:
    """Return the placement of a clip that does not move; arguments are those of `rest_grid`."""
    height, width = rest_grid(layout, frame)
    return Placement(height, width, 0, 0, np.zeros((layout.dynamics_x[1], 2), np.int16))
