"""Latents of .vtw files as floats in one file of tensors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import LatentArrays
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import atomic_path, check_output, files_in
from vidtwin_codec.latents.cache import GroupCache
from vidtwin_codec.latents.description import Description, dump
from vidtwin_codec.latents.file import VtwFile
from vidtwin_codec.latents.tensor_files import check_suffix, tensor_writer
from vidtwin_codec.options import Reporter
from vidtwin_codec.text import valid

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Exported:
    """Counts of one export; ``with_sound``: files whose sound was left out."""

    files: int
    clips: int
    bytes: int
    with_sound: int = 0


def export_latents(
    sources: Iterable[PathLike], output: PathLike, *, force: bool = False, reporter: Reporter | None = None
) -> Exported:
    """Write the latents of .vtw files as float32 tensors, exactly what a decoder is given.

    One file gives the tensors ``structure [clips, tiles, n_q, h, w, d_S]``, ``dynamics_x [clips, tiles, d_D, T, w_D]``
    and ``dynamics_y [clips, tiles, d_D, T, h_D]``; of several, each name has the file's before it
    (``a/structure``). What is needed to go back is in the metadata. Memory does not grow with duration. Clips of a file
    that follows the camera have grids of different sizes, or different numbers of tiles: they are filled up with zeros
    to the largest.

    Args:
        sources: .vtw files, and folders of them.
        output: a name that ends in .safetensors or .npz.
        force: replace an existing output.
        reporter: receives the number of frames written.

    Raises:
        VidtwinError: a source is damaged, two would have the same name, or the output cannot be written.
    """
    reporter = reporter or Reporter()
    paths = [path for source in sources for path in files_in(os.fspath(source), {".vtw"}, "no .vtw file here")]
    if not paths:
        raise VidtwinError("no files to export")
    suffix = check_suffix(Path(output))
    for path in paths:
        check_output(output, path, force=force)
    names = _names(paths)
    descriptions: dict[str, Description] = {}
    with_sound = 0
    for name, path in zip(names, paths, strict=True):
        with VtwFile(path) as file:
            if not len(file):
                raise VidtwinError(f"{path}: holds no frames")
            with_sound += file.header.audio is not None
            descriptions[name] = describe(file)
    reporter.started(sum(one.frames for one in descriptions.values()), "")
    shapes = [
        (tensor_name(name, field, len(names)), (one.clips, one.tiles, *shape))
        for name, one in descriptions.items()
        for field, shape in zip(LatentArrays._fields, one.shapes, strict=True)
    ]
    with atomic_path(output, force=force) as temporary:
        with tensor_writer(suffix, temporary, dump(descriptions), shapes) as writer:
            for name, path in zip(names, paths, strict=True):
                # each group is read once: nothing to keep
                with VtwFile(path, cache=GroupCache(0)) as file:
                    tiles = descriptions[name].tiles
                    for read in file.pieces():
                        for (field, part), shape in zip(
                            read.numpy()._asdict().items(), descriptions[name].shapes, strict=True
                        ):
                            filled = _padded(part, (tiles, *shape))
                            writer.write(tensor_name(name, field, len(names)), read.numbers.start, filled)
                        reporter.advanced(len(read.frames))
        size = temporary.stat().st_size
    return Exported(len(paths), sum(one.clips for one in descriptions.values()), size, with_sound)


def describe(file: VtwFile) -> Description:
    """Describe a file's latents; where it follows the camera, clips tell where they lie."""
    placements: tuple[Placement | None, ...] = ()
    if file.header.camera:
        placements = file.placements()
    return Description(file.header, file.frame_count, file.group_clips, placements)


def _padded(part: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """``[clips, tiles, …]`` with zeros behind, up to ``shape``, which begins with tiles."""
    missing = [(0, wanted - there) for wanted, there in zip(shape, part.shape[1:], strict=True)]
    return np.pad(part, [(0, 0), *missing]) if any(map(any, missing)) else part


def tensor_name(file: str, field: str, files: int) -> str:
    """Name a tensor, after its file where there are several."""
    return field if files == 1 else f"{file}/{field}"


def _names(paths: Sequence[str]) -> list[str]:
    """File names without suffix, valid as UTF-8; with their folders where names alone are not enough."""
    for parts in ([Path(path).stem for path in paths], [os.path.splitext(path)[0] for path in paths]):
        names = [valid(part) for part in parts]
        if len(set(names)) == len(names):
            return names
    twice = next(path for path, name in zip(paths, names, strict=True) if names.count(name) > 1)
    raise VidtwinError(f"{twice}: named twice", "name every file once")
