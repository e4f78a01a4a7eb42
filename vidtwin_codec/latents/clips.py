"""Clips of one file as they were read: exact, as numbers of whatever kind is wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import LatentArrays, LatentLayout, Steps, dequantize
from vidtwin_codec.coding.layout import LatentShapes
from vidtwin_codec.coding.placement import Placement

if TYPE_CHECKING:
    from vidtwin_codec.model import Latents


@dataclass(frozen=True, eq=False)
class ClipLatents:
    """Latents of some clips of a file.

    Attributes:
        numbers: which clips.
        frames: frames of the video that were asked for; whole clips where clips were.
        symbols: integers as stored, ``structure [clips, tiles, n_q, h, w, d_S]``, ``dynamics_x [clips, tiles, d_D, T,
            w_D]``, ``dynamics_y [clips, tiles, d_D, T, h_D]``; int8, int16 or int32.
        steps: a latent is symbol · step of its channel.
        placements: of each clip, where the file follows the camera: its canvas, and where frames lie on it. None for a
            clip that has the layout's own grid, and everywhere in other files. One clip has its own grid; of several,
            those with a smaller grid than the largest are filled up with zeros, below and to the right (`own` takes
            them off again). Without patterns, so are those whose canvases have fewer tiles, with tiles of zeros.
        tile_counts: tiles of each clip, where they may differ; else empty.
    """

    numbers: range
    frames: range
    symbols: LatentArrays
    steps: Steps
    placements: tuple[Placement | None, ...] = ()
    tile_counts: tuple[int, ...] = ()

    def own(self, number: int, layout: LatentLayout) -> LatentArrays:
        """Symbols ``[tiles, …]`` of the clip at ``number`` of these, with its own grid and tiles.

        Args:
            number: place of the clip among these, from 0.
            layout: the file's layout.
        """
        placement = self.placements[number] if self.placements else None
        tiles = self.tile_counts[number] if self.tile_counts else None
        return cropped(self.symbols.map(lambda part: part[number, :tiles]), layout, placement)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {list(part.shape)}" for name, part in self.symbols._asdict().items())
        return f"<ClipLatents of clips {self.numbers}, frames {self.frames}: {shapes}, {self.symbols.structure.dtype}>"

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.numbers)

    @property
    def structure(self) -> NDArray[np.float32]:
        """``[clips, tiles, n_q, h, w, d_S]``."""
        return self.numpy().structure

    @property
    def dynamics_x(self) -> NDArray[np.float32]:
        """``[clips, tiles, d_D, T, w_D]``."""
        return self.numpy().dynamics_x

    @property
    def dynamics_y(self) -> NDArray[np.float32]:
        """``[clips, tiles, d_D, T, h_D]``."""
        return self.numpy().dynamics_y

    def numpy(self) -> LatentArrays:
        """All three as float32, exactly what a decoder is given."""
        return dequantize(self.symbols, self.steps)

    def torch(self, device: Any = None) -> Latents:
        """All three as float32 tensors on ``device`` (torch's default: the CPU)."""
        from vidtwin_codec.model import Latents

        return Latents.from_numpy(self.numpy()).map(lambda part: part.to(device or "cpu"))


def cropped(arrays: LatentArrays, layout: LatentLayout, placement: Placement | None) -> LatentArrays:
    """Cut latents ``[…, n_q, h, w, d_S]``, ``[…, d_D, T, w]`` and ``[…, d_D, T, h]`` to a clip's own grid."""
    shapes = (layout if placement is None else placement.grid(layout)).shapes()
    _, rows, columns, _ = shapes.structure
    structure, x, y = arrays
    return LatentArrays(
        structure[..., :rows, :columns, :], x[..., : shapes.dynamics_x[2]], y[..., : shapes.dynamics_y[2]]
    )


def largest_layout(layout: LatentLayout, placements: Iterable[Placement | None]) -> LatentShapes:
    """Shapes that hold any of these clips; the layout's own where there are none."""
    layouts = [layout if one is None else one.grid(layout) for one in placements] or [layout]
    columns = zip(*(each.shapes() for each in layouts), strict=True)
    structure, dynamics_x, dynamics_y = (tuple(map(max, zip(*shapes, strict=True))) for shapes in columns)
    return LatentShapes(structure, dynamics_x, dynamics_y)
