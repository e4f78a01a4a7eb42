"""Wide latents in memory: of nearly all zeros, only the rest."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import LatentArrays, LatentLayout
from vidtwin_codec.errors import VidtwinError


class SparseGroup:
    """Symbols of a group's clips; reading a clip alone takes the memory of a clip.

    Args:
        places: for each clip, where its symbols are not zero, counted through its three arrays, uint32.
        values: what they are there, of one integer type.
    """

    def __init__(self, places: list[NDArray[np.uint32]], values: list[NDArray[Any]]) -> None:
        self._places, self._values = places, values

    @classmethod
    def of(cls, clips: Iterable[LatentArrays]) -> SparseGroup:
        """Of clips as they are decoded, int32 ``[tiles, …]``."""
        places, values = [], []
        for clip in clips:
            at = [np.flatnonzero(part) for part in clip]
            starts = np.cumsum([0, *(part.size for part in clip)])[:-1]
            places.append(
                np.concatenate([part + start for part, start in zip(at, starts, strict=True)]).astype(np.uint32)
            )
            values.append(np.concatenate([part.reshape(-1)[where] for part, where in zip(clip, at, strict=True)]))
        most = max((int(np.abs(each).max()) for each in values if each.size), default=0)
        dtype = next(kind for kind in (np.int8, np.int16, np.int32) if most <= np.iinfo(kind).max)
        return cls(places, [each.astype(dtype) for each in values])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest integer type that holds all symbols."""
        return self._values[0].dtype

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return sum(array.nbytes for array in (*self._places, *self._values))

    def clip(self, number: int, layout: LatentLayout, tiles: int) -> LatentArrays:
        """Symbols of the group's clip ``number``: ``[tiles, …]``."""
        flat = np.zeros(tiles * layout.elements, self.dtype)
        flat[self._places[number]] = self._values[number]
        ends = np.cumsum([tiles * size for size in layout.shapes().sizes()])[:-1]
        parts = zip(np.split(flat, ends), layout.shapes(), strict=True)
        return LatentArrays(*(part.reshape(tiles, *shape) for part, shape in parts))

    def save(self, path: Path) -> None:
        """Write all of it."""
        counts = np.array([len(each) for each in self._places])
        with path.open("wb") as stream:
            np.savez(stream, counts=counts, places=np.concatenate(self._places), values=np.concatenate(self._values))

    @classmethod
    def load(cls, path: Path, layout: LatentLayout, tiles: int) -> SparseGroup | None:
        """What `save` wrote; None where there is nothing.

        Raises:
            VidtwinError: it does not hold symbols of this layout.
        """
        try:
            with np.load(path) as file:
                counts, places, values = file["counts"], file["places"], file["values"]
            ends = np.cumsum(counts)[:-1]
            if (
                len(places) != len(values)
                or values.dtype.kind != "i"
                or places.max(initial=0) >= tiles * layout.elements
            ):
                raise ValueError("other sizes")
            return cls(np.split(places, ends), np.split(values, ends))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise VidtwinError(f"{path}: is not readable ({error})", "delete it; it will be made again") from error
