"""Windows and tiles that follow the camera: clips on canvases in which the scene stands still.

Each clip may have a canvas of its own, somewhat larger than a frame. Those of a network that sees whole frames lie in a
world that goes on from clip to clip. Segments of a video can be encoded apart, so a new world begins wherever one may
begin. Canvases of a network that sees tiles are cut into tiles as frames are, and each is a world of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import LatentLayout
from vidtwin_codec.coding.layout import MAX_CLIP_ELEMENTS
from vidtwin_codec.coding.placement import MAX_AREA, MAX_ORIGIN, Placement, cell_of, rest_grid
from vidtwin_codec.motion import Camera, Canvas, tiled_canvas
from vidtwin_codec.network.cropping import fill_up
from vidtwin_codec.network.geometry import Frames, Geometry, aligned_side


class Stretch(NamedTuple):
    """Consecutive clips that the network can see in one call.

    Attributes:
        frames: uint8 ``[n, height, width, 3]``, of the video's size or, if all clips are full, of a canvas.
        placements: the placement of each clip; None for a clip without a canvas of its own.
    """

    frames: Frames
    placements: tuple[Placement | None, ...]


class Follower:
    """Finds the placements of clips, which it takes in order.

    Args:
        geometry: clips and tiles of the video.
        layout: layout of its tiles, or of its one window, for which :func:`can_follow` is true.
        restart: a new world begins at clips whose numbers are multiples of this.
    """

    def __init__(self, geometry: Geometry, layout: LatentLayout, restart: int) -> None:
        self._geometry, self._layout, self._restart = geometry, layout, restart
        self._patch = cell_of(layout)
        self._camera = Camera(self._patch)

    def follow(self, frames: Frames, first: int) -> Iterator[Stretch]:
        """Yield the clips of frames in as few stretches as possible.

        Args:
            frames: whole clips, uint8 ``[n, height, width, 3]``; a part of a clip at the end is padded.
            first: number of the first clip.
        """
        placed = [self._next(clip, first + number) for number, clip in enumerate(self._clips(frames))]
        for _, run in groupby(placed, lambda pair: None if pair[1] is None else (pair[1].rows, pair[1].columns)):
            parts, placements = zip(*run, strict=True)
            yield Stretch(parts[0] if len(parts) == 1 else np.concatenate(parts), placements)

    def _clips(self, frames: Frames) -> Iterator[Frames]:
        length = self._geometry.clip_frames
        for start in range(0, len(frames), length):
            yield fill_up(frames[start : start + length], length)

    def _next(self, clip: Frames, number: int) -> tuple[Frames, Placement | None]:
        if self._layout.patterns is None:
            found = tiled_canvas(clip, self._patch, self._tiles)
            canvas = None if found is None else self._aligned(found)
        else:
            if number % self._restart == 0:
                self._camera = Camera(self._patch)
            canvas = self._camera.follow(clip)
        if canvas is None or not canvas.positions.any() or not self._can_be_coded(canvas):
            return clip, None
        top, left = (side // self._patch for side in canvas.origin)
        corners = np.array(canvas.corners, np.int16)
        return canvas.place(clip), Placement(canvas.rows, canvas.columns, top, left, corners)

    def _aligned(self, canvas: Canvas) -> Canvas:
        """Enlarge a canvas a little where overlapping tiles then repeat each other's latents."""
        geometry, (_, rows, columns, _) = self._geometry, self._layout.structure
        height = aligned_side(canvas.shape[0], geometry.tile_height, geometry.overlap, geometry.tile_height // rows)
        width = aligned_side(canvas.shape[1], geometry.tile_width, geometry.overlap, geometry.tile_width // columns)
        if height % self._patch or width % self._patch:
            return canvas
        spare = height // self._patch - canvas.rows, width // self._patch - canvas.columns
        grown = replace(canvas, spare=spare)
        frame_rows, frame_columns = rest_grid(self._layout, canvas.size)
        return grown if grown.rows * grown.columns <= MAX_AREA * frame_rows * frame_columns else canvas

    def _tiles(self, height: int, width: int) -> int:
        return len(self._geometry.canvas(height, width).tiles)

    def _can_be_coded(self, canvas: Canvas) -> bool:
        if self._layout.patterns is None:
            return True  # tiles are as large as ever
        slots, _, _, channels = self._layout.structure
        lines, frames, _ = self._layout.dynamics_x
        elements = slots * canvas.rows * canvas.columns * channels + lines * frames * (canvas.rows + canvas.columns)
        return elements <= MAX_CLIP_ELEMENTS and max(map(abs, canvas.origin)) <= MAX_ORIGIN * self._patch


def can_follow(geometry: Geometry, layout: LatentLayout) -> bool:
    """Return whether clips may have canvases: one window, or overlapping tiles of a network without patterns."""
    if layout.patterns is not None:
        return len(geometry.tiles) == 1
    return not geometry.abutting and geometry.clip_frames == layout.dynamics_x[1]


def placed_geometry(geometry: Geometry, layout: LatentLayout, placement: Placement | None) -> Geometry:
    """Return the geometry of a clip, in which the canvas, if it has one, takes the place of the frame."""
    if placement is None:
        return geometry
    cell = cell_of(layout)
    return geometry.canvas(placement.rows * cell, placement.columns * cell)


def cut_out(canvases: Frames, placement: Placement | None, height: int, width: int) -> Frames:
    """Cut the frames ``[T, height, width, 3]`` of a clip out of its canvases ``[T, H, W, 3]``."""
    if placement is None:
        return canvases
    frames = np.empty((len(canvases), height, width, canvases.shape[3]), canvases.dtype)
    for frame, canvas, (y, x) in zip(frames, canvases, placement.corners.tolist(), strict=True):
        frame[:] = canvas[y : y + height, x : x + width]
    return frames


def seen_shares(
    placement: Placement | None, layout: LatentLayout, height: int, width: int, reach: int
) -> NDArray[np.float32]:
    """Return the share of each patch of a clip's grid that its frames show: float32 ``[rows, columns]``, 0 to 1.

    Args:
        placement: the placement of the clip; None if it has no canvas of its own.
        layout: layout of the video's windows.
        height: height of a frame in pixels.
        width: width of a frame in pixels.
        reach: pixels by which patches lap into their neighbours.
    """
    assert layout.patterns is not None
    size = layout.patterns.size
    if placement is None:
        (rows, columns), corners = layout.structure[1:3], np.zeros((1, 2), np.int16)
    else:
        rows, columns, corners = placement.rows, placement.columns, placement.corners
    down = _shares(corners[:, 0], height, rows, size, reach)
    across = _shares(corners[:, 1], width, columns, size, reach)
    shares: NDArray[np.float32] = (down.T @ across / len(corners)).astype(np.float32).clip(0, 1)
    return shares


def _shares(starts: NDArray[np.int16], length: int, patches: int, size: int, reach: int) -> NDArray[np.float64]:
    """Return the share of each patch's energy that is seen along one side, ``[frames, patches]``."""
    places = np.arange(-reach, size + reach)
    # lapping fades in and out: the energies of a patch and its neighbour add up to 1
    inner = np.minimum(places + 0.5, size - 0.5 - places)
    energy = np.clip((inner + reach) / (2 * reach), 0, 1) if reach else np.ones(size)
    at = np.arange(patches)[:, None] * size + places
    first, last = starts.astype(np.int64)[:, None, None], starts.astype(np.int64)[:, None, None] + length
    # beyond the grid nothing laps: the outermost patch has all of its border
    inside = np.where((at >= 0) & (at < patches * size), energy, 0)
    inside[0, reach : 2 * reach] = 1
    inside[-1, len(places) - 2 * reach : len(places) - reach] = 1
    seen = (at >= first) & (at < last)
    shares: NDArray[np.float64] = (seen * inside).sum(axis=2) / inside.sum(axis=1)
    return shares
