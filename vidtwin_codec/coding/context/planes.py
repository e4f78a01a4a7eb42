"""The latents of a group as planes [step, channel, place], coded step after step and channel after channel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.context.tokens import Ints
from vidtwin_codec.coding.layout import LatentArrays, LatentLayout


class Plane(NamedTuple):
    """The structure or the dynamics of a group.

    Attributes:
        values: int32 ``[steps, channels, places]``: a step is a clip of the structure or a frame of the dynamics.
        classes: the index of the group's scale that each channel and place uses, ``[channels, places]``.
        lags: how many steps back the values are that may predict a value.
    """

    values: NDArray[np.int32]
    classes: Ints
    lags: tuple[int, ...]


def split(symbols: LatentArrays, layout: LatentLayout, clips: int, tiles: int) -> tuple[Plane, Plane]:
    """Return the planes of structure (places: tile, row, column) and dynamics (x by tile and position, then y)."""
    slots, height, width, channels = layout.structure
    structure = symbols.structure.reshape(clips, tiles, slots, height, width, channels).transpose(0, 2, 5, 1, 3, 4)
    structure_classes = np.arange(slots * channels)[:, None]
    sides = []
    for array in (symbols.dynamics_x, symbols.dynamics_y):
        side = array.reshape(clips, tiles, *array.shape[1:]).transpose(0, 3, 2, 1, 4)
        sides.append(side.reshape(-1, array.shape[1], tiles * array.shape[3]))
    dynamics_channels, frames, _ = layout.dynamics_x
    side_of_place = np.repeat([0, 1], [side.shape[2] for side in sides])
    dynamics_classes = slots * channels + np.arange(dynamics_channels)[:, None] + dynamics_channels * side_of_place
    return (
        Plane(structure.reshape(clips, slots * channels, -1), structure_classes, (1,)),
        Plane(np.concatenate(sides, axis=2), dynamics_classes, (frames, 1)),
    )


def empty(layout: LatentLayout, clips: int, tiles: int) -> tuple[Plane, Plane]:
    """Return planes of zeros, which a decoder fills."""
    return split(layout.shapes().zeros(clips * tiles), layout, clips, tiles)


def join(planes: tuple[Plane, Plane], layout: LatentLayout, clips: int, tiles: int) -> LatentArrays:
    """Put the planes together to symbols again: the inverse of `split`."""
    slots, height, width, channels = layout.structure
    structure = planes[0].values.reshape(clips, slots, channels, tiles, height, width).transpose(0, 3, 1, 4, 5, 2)
    sides = np.split(planes[1].values, [tiles * layout.dynamics_x[2]], axis=2)
    arrays = [structure.reshape(-1, *layout.structure)]
    for side, (depth, frames, positions) in zip(sides, (layout.dynamics_x, layout.dynamics_y), strict=True):
        split_side = side.reshape(clips, frames, depth, tiles, positions).transpose(0, 3, 2, 1, 4)
        arrays.append(split_side.reshape(-1, depth, frames, positions))
    return LatentArrays(*map(np.ascontiguousarray, arrays))
