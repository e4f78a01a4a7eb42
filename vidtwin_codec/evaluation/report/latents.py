"""The page of ``vidtwin inspect``: what a file's latents carry, one HTML file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from string import Template

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.placement import cell_of
from vidtwin_codec.decoding.decoder import matching_weights
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.report.bars import bar_plot
from vidtwin_codec.evaluation.report.information import Information, measure_information
from vidtwin_codec.evaluation.report.paths import path_plot
from vidtwin_codec.evaluation.report.pictures import dynamics_maps, structure_maps
from vidtwin_codec.evaluation.report.resources import resource
from vidtwin_codec.evaluation.report.text import NBSP, count, kilobytes, percent
from vidtwin_codec.latents.file import VtwFile
from vidtwin_codec.media.images import data_uri
from vidtwin_codec.network.device import select_device
from vidtwin_codec.options import NetworkOptions, Reporter

DEFAULT_FRAMES = 4
MAX_CLIPS_SHOWN = 60
"""Of dynamics over time: some forty seconds."""
MAX_CHANNELS_SHOWN = 64
"""Of structure: of wide latents the first colour's coarsest patterns."""
_ENLARGED = 4  # screen pixels for each latent
_PARTS = ((None, "both parts"), ("structure", "structure alone"), ("dynamics", "dynamics alone"))


def inspect_page(
    path: str | os.PathLike[str],
    frames: int = DEFAULT_FRAMES,
    network: NetworkOptions | None = None,
    reporter: Reporter | None = None,
) -> str:
    """The whole page.

    Args:
        path: the .vtw.
        frames: how many to decode, spread over the video.
        network: weights and device to decode with.
        reporter: is told of frames decoded.

    Raises:
        VidtwinError: the file is empty or damaged, or its weights are not here.
    """
    network, reporter = network or NetworkOptions(), reporter or Reporter()
    with VtwFile(path) as file:
        if not len(file):
            raise VidtwinError(f"{os.fspath(path)}: holds no frames")
        header, middle = file.header, len(file) // 2
        own = header.grid_on(file.placement(middle))
        structure = structure_maps(file[middle].structure[0][..., :MAX_CHANNELS_SHOWN], own)
        dynamics_x, dynamics_y, grid = _first_dynamics(file)
        wide = _ENLARGED * dynamics_x.shape[0] * dynamics_x.shape[3]
        return Template(resource("latents.html")).substitute(
            title=escape(os.path.basename(os.fspath(path))),
            lede=escape(
                f"{header.width} × {header.height}, {count(file.frame_count, 'frame')} at {float(file.fps):.5g} a "
                f"second; {count(len(file), 'clip')} of {count(file.tiles, 'tile')} in "
                f"{count(len(file.group_clips), 'group')}. Weights: {header.weights_name} "
                f"({header.weights_sha256[:12]}…)."
            ),
            style=resource("plots.css") + resource("page.css") + resource("latents.css"),
            frames=_frames(file, frames, network, reporter),
            **_bits(file, measure_information(file)),
            clip=middle,
            structure=data_uri(structure, exact=True),
            structure_width=_ENLARGED * structure.shape[1],
            dynamics_x=data_uri(dynamics_maps(dynamics_x, grid, 1), exact=True),
            dynamics_y=data_uri(dynamics_maps(dynamics_y, grid, 0), exact=True),
            dynamics_width=wide,
            camera=_camera(file),
            span=f"The first {MAX_CLIPS_SHOWN} of {len(file)} clips are shown." if len(file) > MAX_CLIPS_SHOWN else "",
        )


def _first_dynamics(file: VtwFile) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int]]:
    """Dynamics x and y of the first `MAX_CLIPS_SHOWN` clips; the structure beside them may be far larger.

    Also the grid of tiles that they have, the largest of all: where a clip has fewer, there is nothing.
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


def _camera(file: VtwFile) -> str:
    """Where frames lie on canvases, over time; empty where no clip has one."""
    placements = file.placements() if file.header.camera else ()
    if not any(placements):
        return ""
    cell = cell_of(file.header.layout)
    frames = file.header.clip_frames
    paths = [
        np.zeros((frames, 2), np.int64) if one is None else one.corners + np.array([one.top, one.left], np.int64) * cell
        for one in placements
    ]
    shown = np.concatenate(paths)[: file.frame_count]
    moved = sum(one is not None for one in placements)
    return (
        f"<section><h2>Where the camera went</h2><p>{moved} of {count(len(placements), 'clip')} lie on canvases of "
        "their own. The place of each frame’s top left corner, in pixels, as far as the coder knows it: where the "
        f'picture changes, it starts again.</p><div class="plots"><div>{path_plot(shown, frames)}</div></div></section>'
    )


def _frames(file: VtwFile, wanted: int, network: NetworkOptions, reporter: Reporter) -> str:
    """A table: frames down, parts across."""
    # in the middle of equal stretches
    numbers = sorted({int((number + 0.5) * file.frame_count / wanted) for number in range(wanted)})
    entry = matching_weights(file.header, network.weights)
    bears = entry.metadata
    device = select_device(network.device, network.precision, bears.compute_dtype, tf32=bears.tf32)
    reporter.started(len(numbers) * len(_PARTS), str(device))
    heads = "".join(f'<th scope="col">{name}</th>' for _, name in _PARTS)
    rows = []
    for number in numbers:
        cells = []
        for only, name in _PARTS:
            (frame,) = file.frames(number, number + 1, only=only, **vars(network))
            cells.append(f'<td><img src="{data_uri(frame)}" alt="Frame {number}, {name}"></td>')
            reporter.advanced(1)
        seconds = float(number / file.fps)
        rows.append(f'<tr><th scope="row">Frame {number},<br>{seconds:.2f}{NBSP}s</th>{"".join(cells)}</tr>')
    return f"<table><thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _bits(file: VtwFile, information: Information) -> dict[str, str]:
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
    return {
        "sizes": escape(sizes),
        "plots": "".join(f"<div><h3>{title}</h3>{plot}</div>" for title, plot in plots),
    }


def _dynamics(file: VtwFile, information: Information) -> NDArray[np.float64]:
    both = np.concatenate([information.dynamics_x.sum(axis=0), information.dynamics_y.sum(axis=0)])
    return both / file.frame_count
