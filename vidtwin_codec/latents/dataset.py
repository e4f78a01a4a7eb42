"""A directory of .vtw files as a torch dataset of random windows."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from vidtwin_codec.coding import LatentArrays, dequantize
from vidtwin_codec.coding.placement import at_rest
from vidtwin_codec.container.remote import is_url
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import files_in
from vidtwin_codec.latents.cache import DEFAULT_BYTES, GroupCache
from vidtwin_codec.latents.file import VtwFile, check_same_latents
from vidtwin_codec.text import counted

_MAX_OPEN = 256


@dataclass(frozen=True)
class _Record:
    path: str
    clips: int
    windows: int
    tiles: int
    samples: int
    camera: bool


class VtwDataset(Dataset[dict[str, Any]]):
    """Windows of consecutive clips from .vtw files of one network, ready for a `DataLoader` with any workers.

    A sample is a dictionary: ``structure [clips, n_q, h, w, d_S]``, ``dynamics_x [clips, d_D, T, w_D]``, ``dynamics_y
    [clips, d_D, T, h_D]`` (float32 tensors, what the decoder is given), and the numbers ``file`` (of `files`), ``clip``
    (the window's first) and ``tile``. With ``tiles="all"`` the tensors have an axis of tiles after the clips, and
    ``tile`` is left out. The default collation stacks them.

    Clips of files that follow the camera have grids of different sizes. They are filled up with zeros, below and to the
    right: to ``grid``, so that samples can be stacked, or else to the largest of the sample. Their samples also have
    ``canvas [clips, 4]``: rows and columns of the clip's own grid, and where it lies, from the top and the left, in
    patches and in coordinates that clips share as long as the picture goes on. Of weights with tiles of a fixed size, a
    canvas is counted in cells of 16 pixels and cut into more tiles than a frame: one tile is then drawn of as many as
    the frame has; all of them are filled up with tiles of zeros, to ``most_tiles`` or to the most of the sample, and
    samples also have ``tiles [clips]``, how many tiles of each clip are its own.

    An epoch has one sample for each stretch of ``clips`` clips and, unless ``tiles="all"``, each tile. Where the window
    lies in its stretch is drawn anew each time from torch's generator, which a DataLoader seeds differently in each
    worker and epoch.

    Args:
        sources: folders (searched at any depth), files, and URLs of files as `VtwFile` takes them.
        clips: length of a window.
        tiles: ``"one"`` tile a sample, so that videos of any size go together, or ``"all"`` of a clip.
        random: False takes windows end to end from the start, the same in every epoch.
        cache_bytes: unpacked groups kept in memory, in each worker.
        cache_folder: unpacked groups kept on disk for all workers and for later runs; where the set does not fit in
            memory, or many workers read it.
        grid: rows and columns of patches that every sample gets. most_tiles: tiles that every sample gets where it has
            all of them, likewise.

    Attributes:
        files: paths in use.
        skipped: paths of files that have no window of full clips (a last clip that was filled up is not used).

    Raises:
        VidtwinError: a file is no sound .vtw, files were made with different weights, or none is long enough. Reading a
            sample: its grid is larger than ``grid``, or it has
            more tiles than ``most_tiles``.
    """

    def __init__(
        self,
        sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        clips: int = 1,
        *,
        tiles: Literal["one", "all"] = "one",
        random: bool = True,
        cache_bytes: int = DEFAULT_BYTES,
        cache_folder: str | os.PathLike[str] | None = None,
        grid: tuple[int, int] | None = None,
        most_tiles: int | None = None,
    ) -> None:
        if clips < 1 or tiles not in ("one", "all"):
            raise ValueError(f"a window of {clips} clips and {tiles!r} tiles")
        self.clips, self.tiles, self.random, self.grid, self.most_tiles = clips, tiles, random, grid, most_tiles
        self._cache_options = (cache_bytes, cache_folder)
        self._reset()
        self.skipped: list[str] = []
        self._records: list[_Record] = []
        self._look(_paths(sources))
        self.files = [record.path for record in self._records]
        self._ends = np.cumsum([record.samples for record in self._records])

    def __repr__(self) -> str:
        tiles = "one tile" if self.tiles == "one" else "all tiles"
        left = f", {counted(len(self.skipped), 'file')} skipped" if self.skipped else ""
        samples, clips = counted(len(self), "sample"), counted(self.clips, "clip")
        return f"<VtwDataset of {samples} ({clips} of {tiles}) from {counted(len(self.files), 'file')}{left}>"

    def _repr_html_(self) -> str:
        from vidtwin_codec.latents.notebook import FRAMES, dataset_html

        with ExitStack() as stack:
            return dataset_html(self, [stack.enter_context(VtwFile(path)) for path in self.files[:FRAMES]])

    def __len__(self) -> int:
        """Samples of an epoch."""
        return int(self._ends[-1])

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Return sample ``number``.

        Raises:
            IndexError: there is no such sample.
            VidtwinError: the file has gone, or a group of it is damaged.
        """
        number = number + len(self) if number < 0 else number
        if not 0 <= number < len(self):
            raise IndexError(f"sample {number} of {len(self)}")
        index = int(self._ends.searchsorted(number, side="right"))
        record = self._records[index]
        inside = number - int(self._ends[index] - record.samples)
        window, tile = divmod(inside, record.samples // record.windows)
        first = self._first_clip(record, window)
        read = self._file(index)[first : first + self.clips]
        if self.tiles == "all":
            found: dict[str, Any] = {"file": index, "clip": first}
            symbols = read.symbols
            if self.most_tiles is not None:
                symbols = _more_tiles(symbols, self.most_tiles, self.files[index])
            if read.tile_counts:
                found["tiles"] = torch.tensor(read.tile_counts)
        else:
            found = {"file": index, "clip": first, "tile": tile}
            symbols = read.symbols.map(lambda array: array[:, tile])
        latents = dequantize(symbols, read.steps)
        if self.grid is not None:
            latents = _filled(latents, self.grid, self.files[index])
        if self._records[index].camera:
            header = self._file(index).header
            rest = at_rest(header.layout, header.frame)
            canvases = [(one or rest).canvas for one in read.placements]
            found["canvas"] = torch.tensor(canvases)
        return {**{name: torch.from_numpy(array) for name, array in latents._asdict().items()}, **found}

    def _first_clip(self, record: _Record, window: int) -> int:
        if not self.random:
            return window * self.clips
        # one part of all possible places for each window: over an epoch every place is as likely
        places = record.clips - self.clips + 1
        return int((window + float(torch.rand(()))) * places / record.windows)

    def _look(self, paths: list[str]) -> None:
        first: VtwFile | None = None
        for path in paths:
            with VtwFile(path) as file:
                if first is None:
                    first = file
                check_same_latents(first, file)
                clips = file.frame_count // file.header.clip_frames
                windows = clips // self.clips
                if not windows:
                    self.skipped.append(path)
                    continue
                if self.tiles == "one":
                    samples = windows * file.tiles
                else:
                    samples = windows
                    other = self._records[0] if self._records else None
                    if other and other.tiles != file.tiles:
                        raise VidtwinError(
                            f"{path} has {file.tiles} tiles a clip, {other.path} has {other.tiles}",
                            'videos of different sizes go together with tiles="one"',
                        )
                self._records.append(_Record(path, clips, windows, file.tiles, samples, file.header.camera))
        if not self._records:
            raise VidtwinError(f"none of {len(paths)} files has {self.clips} full clips", "choose shorter windows")

    def _file(self, index: int) -> VtwFile:
        with self._lock:
            if index in self._open:
                self._open.move_to_end(index)
            else:
                self._open[index] = VtwFile(self.files[index], cache=self._cache)
                if len(self._open) > _MAX_OPEN:
                    self._open.popitem(last=False)
            return self._open[index]

    def _reset(self) -> None:
        self._cache = GroupCache(*self._cache_options)
        self._open: OrderedDict[int, VtwFile] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Without open files and caches, for workers that are started afresh."""
        left_out = ("_cache", "_open", "_lock")
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()


def _filled(latents: LatentArrays, grid: tuple[int, int], name: str) -> LatentArrays:
    """Pad with zeros below and to the right, up to a grid."""
    rows, columns = grid
    down, right = rows - latents.structure.shape[-3], columns - latents.structure.shape[-2]
    if min(down, right) < 0:
        size = " by ".join(map(str, latents.structure.shape[-3:-1]))
        raise VidtwinError(f"{name}: a clip has a grid of {size} patches, larger than {rows} by {columns}")
    sides = ([(0, down), (0, right), (0, 0)], [(0, right)], [(0, down)])
    return latents.map(lambda part, side: np.pad(part, [(0, 0)] * (part.ndim - len(side)) + side), sides)


def _more_tiles(symbols: LatentArrays, most: int, name: str) -> LatentArrays:
    """Append tiles of zeros."""
    missing = most - symbols.structure.shape[1]
    if missing < 0:
        raise VidtwinError(f"{name}: a clip has {most - missing} tiles, more than {most}")
    return symbols.map(lambda part: np.pad(part, [(0, 0), (0, missing)] + [(0, 0)] * (part.ndim - 2)))


def _paths(sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    if isinstance(sources, (str, os.PathLike)):
        sources = [sources]
    found: list[str] = []
    for source in sources:
        if is_url(source):
            found.append(os.fspath(source))
            continue
        found += files_in(os.fspath(Path(source)), {".vtw"}, "no .vtw file in this folder")
    return found
