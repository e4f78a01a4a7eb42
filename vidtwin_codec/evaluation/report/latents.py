"""The page of ``vidtwin inspect``: what a file's latents carry, one HTML file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vidtwin_codec.coding.placement import cell_of
from vidtwin_codec.decoding.decoder import matching_weights
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.measure.codec import OTHER_SOURCE
from vidtwin_codec.evaluation.report.bars import bar_plot, path_plot
from vidtwin_codec.evaluation.report.information import Information, measure_information
from vidtwin_codec.evaluation.report.text import fill, kilobytes, percent
from vidtwin_codec.latents.file import VtwFile
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.media.images import data_uri
from vidtwin_codec.network.device import select_device
from vidtwin_codec.options import NetworkOptions, Reporter
from vidtwin_codec.text import counted

Picture = NDArray[np.uint8]

_NEGATIVE = np.array([15, 55, 96])
_NONE = np.array([252, 252, 250])
_POSITIVE = np.array([194, 65, 12])
_GAP = 1  # pixels between maps


def structure_maps(structure: NDArray[np.floating], grid: tuple[int, int]) -> Picture:
    """All channels of one clip's structure, each as a map of the frame: query slots down, channels across.

    Args:
        structure: ``[tiles, n_q, h, w, d_S]``.
        grid: rows and columns of tiles. Tiles stand side by side, without their overlap.
    """
    rows, columns = grid
    _, slots, height, width, depth = structure.shape
    split = structure.reshape(rows, columns, slots, height, width, depth).transpose(2, 5, 0, 3, 1, 4)
    maps = _colored(split.reshape(slots, depth, rows * height, columns * width), axes=(2, 3))
    framed = np.pad(maps, ((0, 0), (0, 0), (0, _GAP), (0, _GAP), (0, 0)), constant_values=255)
    return framed.transpose(0, 2, 1, 3, 4).reshape(slots * framed.shape[2], depth * framed.shape[3], 3)


def dynamics_maps(dynamics: NDArray[np.floating], grid: tuple[int, int], along: int) -> Picture:
    """All channels of one dynamics over time: channels down, time across, and in each channel positions down.

    Args:
        dynamics: ``[clips, tiles, d_D, T, positions]``.
        grid: rows and columns of tiles.
        along: 1 for dynamics x (positions are columns of the frame), 0 for dynamics y (rows). Of the tiles across that
            direction the mean is shown.
    """
    clips, _, depth, frames, positions = dynamics.shape
    split = dynamics.reshape(clips, *grid, depth, frames, positions).mean(axis=2 - along)
    # clip, tile along, channel, frame, position -> channel, tile along, position, clip, frame
    lines = split.transpose(2, 1, 4, 0, 3).reshape(depth, grid[along] * positions, clips * frames)
    maps = np.pad(_colored(lines, axes=(1, 2)), ((0, 0), (0, _GAP), (0, 0), (0, 0)), constant_values=255)
    return maps.reshape(-1, clips * frames, 3)


def _colored(values: NDArray[np.floating], axes: tuple[int, ...]) -> Picture:
    """Each map by its own largest magnitude."""
    most = np.abs(values).max(axis=axes, keepdims=True)
    share = (values / np.where(most > 0, most, 1))[..., None].astype(np.float64)
    color = np.where(share > 0, _NONE + share * (_POSITIVE - _NONE), _NONE - share * (_NEGATIVE - _NONE))
    picture: Picture = np.rint(color).astype(np.uint8)
    return picture


DEFAULT_FRAMES = 4
MAX_CLIPS_SHOWN = 60
"""Most clips whose dynamics are shown over time: some forty seconds."""
MAX_CHANNELS_SHOWN = 64
"""Most channels of structure that are shown; of wide latents these are the first colour's coarsest patterns."""
_ENLARGED = 4  # screen pixels for each latent
_PARTS = ((None, "both parts"), ("structure", "structure alone"), ("dynamics", "dynamics alone"))


def inspect_page(
    path: str | os.PathLike[str],
    frames: int = DEFAULT_FRAMES,
    network: NetworkOptions | None = None,
    reporter: Reporter | None = None,
    *,
    source: str | os.PathLike[str] | None = None,
) -> str:
    """The whole page.

    Args:
        path: the .vtw.
        frames: how many to decode, spread over the video.
        network: weights and device to decode with.
        reporter: receives the number of frames decoded.
        source: the video that the .vtw was encoded from, whose frames are shown first.

    Raises:
        VidtwinError: the file is empty or damaged, its weights are not here, or ``source`` is another video.
    """
    network, reporter = network or NetworkOptions(), reporter or Reporter()
    with VtwFile(path) as file:
        if not len(file):
            raise VidtwinError(f"{file.name}: holds no frames")
        header = file.header
        lede = (
            f"{header.width} × {header.height}, {counted(file.frame_count, 'frame')} at "
            f"{float(file.fps):.5g} a second; "
            f"{counted(len(file), 'clip')} of {counted(file.tiles, 'tile')} "
            f"in {counted(len(file.group_clips), 'group')}. "
            f"Weights: {header.weights_name} ({header.weights_sha256[:12]}…)."
        )
        page = fill(
            "latents.html",
            title=os.path.basename(file.name),
            lede=lede,
            source=None if source is None else os.path.basename(os.fspath(source)),
            moments=_moments(file, frames, network, reporter, source),
            **_bits(file, measure_information(file)),
            maps=_maps(file),
            clips=len(file),
            shown=MAX_CLIPS_SHOWN,
            path=_path(file),
        )
        return str(page)


def _maps(file: VtwFile) -> list[dict[str, Any]]:
    """Latents as pictures, with what to say about them."""
    middle = len(file) // 2
    own = file.header.grid_on(file.placement(middle))
    structure = structure_maps(file[middle].structure[0][..., :MAX_CHANNELS_SHOWN], own)
    dynamics_x, dynamics_y, grid = _first_dynamics(file)
    found = [
        (
            f"Structure of clip {middle}: query slots down, channels across",
            f"Structure latents of clip {middle}",
            structure,
            structure.shape[1],
        )
    ]
    for name, lines, along, part in (("x", "columns", 1, dynamics_x), ("y", "rows", 0, dynamics_y)):
        title = f"Dynamics {name}: channels down, in each the frame’s {lines}; time across"
        picture = dynamics_maps(part, grid, along)
        found.append((title, f"Dynamics {name} over time", picture, part.shape[0] * part.shape[3]))
    return [
        {"title": title, "about": about, "address": data_uri(picture, exact=True), "width": _ENLARGED * width}
        for title, about, picture, width in found
    ]


def _first_dynamics(file: VtwFile) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int]]:
    """Read dynamics x and y of the first `MAX_CLIPS_SHOWN` clips, and the largest grid of tiles that they have.

    The structure beside them may be far larger. Where a clip has fewer tiles, there is nothing.
    """
    parts, grids, clips = [], [], 0
    for piece in file.pieces():
        arrays = piece.numpy()
        for number, placement in enumerate(piece.placements):
            parts.append([part[number : number + 1] for part in arrays[1:]])
            grids.append(file.header.grid_on(placement))
        clips += len(piece)
        if clips >= MAX_CLIPS_SHOWN:
            break
    rows, columns = (max(sides) for sides in zip(*grids, strict=True))
    for clip, own in zip(parts, grids, strict=True):
        clip[:] = [_on_grid(part, own, (rows, columns)) for part in clip]
    dynamics_x, dynamics_y = (_stacked(column)[:MAX_CLIPS_SHOWN] for column in zip(*parts, strict=True))
    return dynamics_x, dynamics_y, (rows, columns)


def _on_grid(part: NDArray[np.float32], own: tuple[int, int], grid: tuple[int, int]) -> NDArray[np.float32]:
    """A clip ``[1, tiles, …]`` with tiles of nothing below and to the right."""
    tiles = part.reshape(*own, *part.shape[2:])
    missing = [(0, most - side) for most, side in zip(grid, own, strict=True)]
    return np.pad(tiles, missing + [(0, 0)] * (tiles.ndim - 2)).reshape(1, -1, *part.shape[2:])


def _stacked(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Clips ``[n, …, positions]`` together, those with fewer positions filled up."""
    most = max(part.shape[-1] for part in parts)
    return np.concatenate([np.pad(part, [(0, 0)] * 4 + [(0, most - part.shape[-1])]) for part in parts])


def _path(file: VtwFile) -> dict[str, Any] | None:
    """Plot where frames lie on canvases over time; None where no clip has one."""
    placements = file.placements() if file.header.camera else ()
    if not any(placements):
        return None
    cell = cell_of(file.header.layout)
    frames = file.header.clip_frames
    paths = [
        np.zeros((frames, 2), np.int64) if one is None else one.corners + np.array([one.top, one.left], np.int64) * cell
        for one in placements
    ]
    shown = np.concatenate(paths)[: file.frame_count]
    moved = sum(one is not None for one in placements)
    return {"moved": f"{moved} of {counted(len(placements), 'clip')}", "plot": Markup(path_plot(shown, frames))}


def _moments(
    file: VtwFile,
    wanted: int,
    network: NetworkOptions,
    reporter: Reporter,
    source: str | os.PathLike[str] | None,
) -> list[dict[str, Any]]:
    """Frames in the middle of equal stretches, the source's and those of each part."""
    numbers = sorted({int((number + 0.5) * file.frame_count / wanted) for number in range(wanted)})
    originals = None if source is None else source_frames(source, file, numbers)
    bears = matching_weights(file.header, network.weights).metadata
    device = select_device(network.device, network.precision, bears.compute_dtype, tf32=bears.tf32)
    reporter.started(len(numbers) * len(_PARTS), str(device))
    moments = []
    for place, number in enumerate(numbers):
        images = [] if originals is None else [("source", data_uri(originals[place]))]
        for only, name in _PARTS:
            (frame,) = file.frames(number, number + 1, only=only, **vars(network))
            images.append((name, data_uri(frame)))
            reporter.advanced(1)
        moments.append({"frame": number, "seconds": float(number / file.fps), "images": images})
    return moments


def source_frames(source: str | os.PathLike[str], file: VtwFile, numbers: Sequence[int]) -> NDArray[np.uint8]:
    """Frames of the video that a .vtw was encoded from: uint8 ``[n, height, width, 3]`` RGB.

    Args:
        source: the video.
        file: the .vtw, of the same size and with as many frames or fewer.
        numbers: of the frames, rising.

    Raises:
        VidtwinError: it cannot be read, has another size or not so many frames.
    """
    header, name = file.header, os.fspath(source)
    info = probe(source, fps=header.fps)
    if (info.width, info.height) != (header.width, header.height):
        raise VidtwinError(
            f"{name}: its frames are {info.width} x {info.height}, those of {file.name} {header.width} x "
            f"{header.height}",
            OTHER_SOURCE,
        )
    with FrameReader(info, fps=header.fps, runs=[(number, 1) for number in numbers]) as reader:
        found = reader.read_full(len(numbers))
    if len(found) < len(numbers):
        raise VidtwinError(f"{name}: has no frame {numbers[len(found)]}, {file.name} has", OTHER_SOURCE)
    return found


def _bits(file: VtwFile, information: Information) -> dict[str, Any]:
    """Sizes in words, and plots over time and by channel."""
    structure = information.structure.sum(axis=(1, 2))
    dynamics = information.dynamics_x.sum(axis=1) + information.dynamics_y.sum(axis=1)
    ideal = float(structure.sum() + dynamics.sum())
    stored = sum(file.group_bytes)
    share = float(structure.sum()) / ideal if ideal else 0.0
    sizes = (
        f"Its groups take {kilobytes(stored)}, {8 * stored / file.frame_count:.0f} bits a frame; the ideal coder below "
        f"would take {kilobytes(round(ideal / 8))}, {percent(share)} of it for structure."
    )
    by_slot = information.structure.sum(axis=0)
    plots = [
        ("Bits of each clip", bar_plot([("structure", structure), ("dynamics", dynamics)], "clip", "bits")),
        (
            "Structure: bits of each query slot and frame",
            bar_plot([("structure", by_slot.sum(axis=1) / file.frame_count)], "query slot", "bits a frame"),
        ),
        (
            "Structure: bits of each channel and frame",
            bar_plot([("structure", by_slot.sum(axis=0) / file.frame_count)], "channel", "bits a frame"),
        ),
        (
            "Dynamics: bits of each channel and frame",
            bar_plot([("dynamics", _dynamics(file, information))], "x, then y", "bits a frame"),
        ),
    ]
    return {"sizes": sizes, "plots": [(title, Markup(plot)) for title, plot in plots]}


def _dynamics(file: VtwFile, information: Information) -> NDArray[np.float64]:
    both = np.concatenate([information.dynamics_x.sum(axis=0), information.dynamics_y.sum(axis=0)])
    return both / file.frame_count
