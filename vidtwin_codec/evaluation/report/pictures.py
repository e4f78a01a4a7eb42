"""Latents as pictures: uint8 RGB arrays, blue for negative, orange for positive values, white for none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
