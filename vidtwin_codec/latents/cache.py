"""Unpacked groups kept for the next read, in memory and, where wanted, on disk.

A group takes a good part of a second to unpack, and a random window needs a few of its clips: whoever reads windows in
any order must not unpack a group for each of them.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import LatentArrays, LatentLayout, PlacedClip
from vidtwin_codec.coding.sparse_group import SparseGroup
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import atomic_path, explain_os_error

DEFAULT_BYTES = 256 << 20
"""About 2000 groups of ten seconds and one tile: symbols take mostly one byte each."""


class GroupCache:
    """Symbols of unpacked groups, least recently used ones dropped first. Any thread may call.

    Args:
        limit: bytes of symbols kept in memory.
        folder: also keep them here, for other processes and later runs; about a byte for each number of the latents.
            Nothing is ever dropped from it. Made if it is missing.

    Raises:
        VidtwinError: the folder cannot be made.
    """

    def __init__(self, limit: int = DEFAULT_BYTES, folder: str | os.PathLike[str] | None = None) -> None:
        self._limit = limit
        self._folder = None if folder is None else Path(folder)
        self._kept: OrderedDict[tuple[str, int], LatentArrays | SparseGroup] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        if self._folder is not None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise explain_os_error(error, self._folder) from error

    def get(self, file: str, group: int, layout: LatentLayout, unpack: Callable[[], LatentArrays]) -> LatentArrays:
        """Symbols of a group, in the smallest integer type that holds them; read-only.

        Args:
            file: tells apart files of different content; letters and digits.
            group: number in the file.
            layout: of the symbols.
            unpack: gives them when they are not kept; its errors pass through.
        """
        found = self._recall(file, group)
        if not isinstance(found, LatentArrays):
            # not under the lock: other threads go on, at worst two unpack the same group
            found = self._from_disk(file, group, layout, unpack) if self._folder else narrowed(unpack())
            self._keep((file, group), found)
        return found

    def get_sparse(
        self, file: str, group: int, layout: LatentLayout, tiles: int, unpack: Callable[[], Iterable[PlacedClip]]
    ) -> SparseGroup:
        """The same for wide latents, of which only what is not zero is kept.

        Args:
            file: digest of the file.
            group: number of the group in the file.
            layout: shapes of one network input's latents.
            tiles: tiles of each clip.
            unpack: gives the symbols clip by clip.
        """
        found = self._recall(file, group)
        if not isinstance(found, SparseGroup):
            path = None if self._folder is None else self._folder / file / f"{group}.npz"
            stored = None if path is None else SparseGroup.load(path, layout, tiles)
            found = stored or SparseGroup.of(unpack())
            if path is not None and stored is None:
                try:
                    path.parent.mkdir(exist_ok=True)
                    with atomic_path(path) as temporary:
                        found.save(temporary)
                except OSError as error:
                    raise explain_os_error(error, path) from error
            self._keep((file, group), found)
        return found

    def _recall(self, file: str, group: int) -> LatentArrays | SparseGroup | None:
        key = (file, group)
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def _keep(self, key: tuple[str, int], found: LatentArrays | SparseGroup) -> None:
        size = _bytes_of(found)
        with self._lock:
            if key in self._kept or size > self._limit:
                return
            self._kept[key] = found
            self._bytes += size
            while self._bytes > self._limit:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= _bytes_of(dropped)

    def _from_disk(
        self, file: str, group: int, layout: LatentLayout, unpack: Callable[[], LatentArrays]
    ) -> LatentArrays:
        assert self._folder is not None
        path = self._folder / file / f"{group}.npy"
        flat = _mapped(path, layout)
        if flat is None:
            symbols = narrowed(unpack())
            try:
                path.parent.mkdir(exist_ok=True)
                with atomic_path(path) as temporary, temporary.open("wb") as stream:
                    np.save(stream, np.concatenate([array.reshape(len(array), -1) for array in symbols], axis=1))
            except OSError as error:
                raise explain_os_error(error, path) from error
            return symbols
        bounds = np.cumsum([0, *layout.shapes().sizes()])
        parts = LatentArrays(*(flat[:, a:b] for a, b in pairwise(bounds)))
        return parts.map(lambda part, shape: part.reshape(len(flat), *shape), layout.shapes())


def _bytes_of(found: LatentArrays | SparseGroup) -> int:
    return found.nbytes if isinstance(found, SparseGroup) else sum(array.nbytes for array in found)


def narrowed(symbols: LatentArrays) -> LatentArrays:
    """The same numbers in the smallest of int8, int16 and int32 that holds all three arrays."""
    most = max(max(int(array.max()), -int(array.min())) for array in symbols)
    dtype = next(kind for kind in (np.int8, np.int16, np.int32) if most <= np.iinfo(kind).max)
    found = symbols.map(lambda array: array.astype(dtype))
    for array in found:
        array.flags.writeable = False
    return found


def _mapped(path: Path, layout: LatentLayout) -> NDArray[np.integer] | None:
    """``[clips * tiles, elements]`` as it lies in the file; None when it is not there."""
    try:
        flat: NDArray[np.integer] = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise VidtwinError(f"{path}: is not readable ({error})", "delete it; it will be made again") from error
    if flat.ndim != 2 or flat.shape[1] != layout.elements or flat.dtype.kind != "i":
        raise VidtwinError(f"{path}: does not hold latents of this shape", "delete it; it will be made again")
    return flat
