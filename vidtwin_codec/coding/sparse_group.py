"""Wide latents in memory: only the symbols that are not zero."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import LatentArrays, LatentLayout, PlacedClip
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.errors import VidtwinError


class SparseGroup:
    """The symbols of a group's clips; reading one clip takes the memory of one clip.

    Args:
        places: for each clip, the flat indices into its three arrays where symbols are not zero, uint32.
        values: for each clip, the symbols at these indices, all of one integer type.
        placements: the canvas of each clip; None stands for the layout's own grid.

    Attributes:
        placements: the canvas of each clip.
    """

    def __init__(
        self, places: list[NDArray[np.uint32]], values: list[NDArray[Any]], placements: list[Placement | None]
    ) -> None:
        self._places, self._values, self.placements = places, values, placements

    @classmethod
    def of(cls, clips: Iterable[PlacedClip]) -> SparseGroup:
        """Build a group from clips as they are decoded, int32 ``[tiles, …]``."""
        places, values, placements = [], [], []
        for clip, placement in clips:
            placements.append(placement)
            at = [np.flatnonzero(part) for part in clip]
            starts = np.cumsum([0, *(part.size for part in clip)])[:-1]
            places.append(
                np.concatenate([part + start for part, start in zip(at, starts, strict=True)]).astype(np.uint32)
            )
            values.append(np.concatenate([part.reshape(-1)[where] for part, where in zip(clip, at, strict=True)]))
        most = max((int(np.abs(each).max()) for each in values if each.size), default=0)
        dtype = next(kind for kind in (np.int8, np.int16, np.int32) if most <= np.iinfo(kind).max)
        return cls(places, [each.astype(dtype) for each in values], placements)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest integer type that holds all symbols."""
        return self._values[0].dtype

    @property
    def nbytes(self) -> int:
        """Memory that the group takes, in bytes."""
        return sum(array.nbytes for array in (*self._places, *self._values))

    def clip(self, number: int, layout: LatentLayout, tiles: int) -> PlacedClip:
        """Return the clip ``number`` of the group, with symbols ``[tiles, …]``."""
        placement = self.placements[number]
        layout = layout if placement is None else placement.grid(layout)
        flat = np.zeros(tiles * layout.elements, self.dtype)
        flat[self._places[number]] = self._values[number]
        ends = np.cumsum([tiles * size for size in layout.shapes().sizes()])[:-1]
        parts = LatentArrays(*np.split(flat, ends))
        return PlacedClip(parts.map(lambda part, shape: part.reshape(tiles, *shape), layout.shapes()), placement)

    def save(self, path: Path) -> None:
        """Write the group to a file that :meth:`load` reads."""
        arrays: dict[str, Any] = {
            "counts": np.array([len(each) for each in self._places]),
            "places": np.concatenate(self._places),
            "values": np.concatenate(self._values),
            "canvases": np.array([(0,) * 4 if one is None else one.canvas for one in self.placements], np.int32),
            "corners": np.concatenate([np.zeros((0, 2), np.int16), *(one.corners for one in self.placements if one)]),
        }
        with path.open("wb") as stream:
            np.savez(stream, **arrays)

    @classmethod
    def load(cls, path: Path, layout: LatentLayout, tiles: int) -> SparseGroup | None:
        """Read what `save` wrote; return None where there is no file.

        Raises:
            VidtwinError: the file does not hold symbols of this layout.
        """
        try:
            with np.load(path) as file:
                counts, places, values = file["counts"], file["places"], file["values"]
                placements = _placements(file["canvases"], file["corners"], layout)
            if len(places) != len(values) or values.dtype.kind != "i" or len(counts) != len(placements):
                raise ValueError("other sizes")
            ends = np.cumsum(counts)[:-1]
            group = cls(np.split(places, ends), np.split(values, ends), placements)
            for where, placement in zip(group._places, placements, strict=True):
                elements = (layout if placement is None else placement.grid(layout)).elements
                if where.max(initial=0) >= tiles * elements:
                    raise ValueError("other sizes")
            return group
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise VidtwinError(f"{path}: is not readable ({error})", "delete it; it will be made again") from error


def _placements(
    canvases: NDArray[np.int32], corners: NDArray[np.int16], layout: LatentLayout
) -> list[Placement | None]:
    frames, found, at = layout.dynamics_x[1], list[Placement | None](), 0
    for rows, columns, top, left in canvases.tolist():
        placement = None
        if rows:
            placement = Placement(rows, columns, top, left, corners[at : at + frames])
            placement.check(layout)
            at += frames
        found.append(placement)
    return found
