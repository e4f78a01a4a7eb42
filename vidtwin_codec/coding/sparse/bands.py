"""A layout in the order of the walk: patterns, bands of similar frequency, neighbours in the frequency plane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.layout import LatentLayout
from vidtwin_codec.coding.patterns import COLOURS, Patterns

# Rings of 4 (u + v) + min(u, v), as `Patterns` orders them, in units of a patch of 32 pixels.
# From the fifth on, each has three sectors.
RING_STARTS = (0, 4, 8, 12, 16, 24, 32, 44, 56, 72, 88, 108, 128)
RINGS = len(RING_STARTS)
UNDIVIDED = 4
SECTORS = 3
BANDS = RINGS * SECTORS
NEIGHBOURS = 9
SIDE = 32
MOST_START = 1023

# Indices into the kernels' table of sizes.
(SLOTS, CHANNELS, NBANDS, STRIDE, PLACE, HEIGHT, WIDTH, AT_NEIGHBOUR, AT_CELL, AT_COARSE, AT_BAND, AT_RING,
 AT_COLOUR, AT_PERM, AT_EXPECTED, AT_SLOT, AT_START) = range(17)  # fmt: skip
SIZES = 32
FLAGS_OF_PLACE = 3  # flags at the end of a place's record: it holds nothing, slot 0 is a difference, it was coded
BAND_FIELDS = 8  # start, end, colour, ring, sector, canonical number, inner band, same band of the first colour


@dataclass(frozen=True)
class Bands:
    """Tables of one set of patterns, in the walk's order of channels.

    Attributes:
        permutation: the layout's channel at each position of the walk, ``[C]``.
        neighbours: ``[C, 9]``, the positions of (u-1, v), (u, v-1), (u-1, v-1), (u-2, v), (u, v-2), (u+1, v), (u, v+1),
            and the same frequencies of the first and second colour where the walk is past them; C where there is none.
        cells: colour, row and column frequency as one number below 3 * 32 * 32, ``[C]``.
        coarse: class of the radius, 0 to 5, ``[C]``.
        bands: the fields of each band, ``[B, 8]``; see `BAND_FIELDS`.
        rings: the first band of each ring that has any, and the end; the three colours one after the other.
        colours: the index at which the rings of each colour begin, and the end, ``[4]``.
    """

    permutation: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    cells: NDArray[np.int64]
    coarse: NDArray[np.int64]
    bands: NDArray[np.int64]
    rings: NDArray[np.int64]
    colours: NDArray[np.int64]


@lru_cache(maxsize=8)
def bands_of(patterns: Patterns) -> Bands:
    """Return the tables of these patterns."""
    colour, u, v = patterns.frequencies.T
    radius = (4 * (u + v) + np.minimum(u, v)) * SIDE // patterns.size
    ring = np.minimum(np.searchsorted(RING_STARTS, radius, side="right") - 1, RINGS - 1)
    sector = np.where(ring < UNDIVIDED, 0, np.where(v >= 2 * u, 0, np.where(u >= 2 * v, 1, 2)))
    permutation = np.lexsort((np.arange(len(u)), sector, ring, colour))
    colour, u, v, ring, sector = (each[permutation] for each in (colour, u, v, ring, sector))
    count = len(permutation)
    side = patterns.size + 4
    place = np.full((COLOURS, side, side), count)
    place[colour, u + 2, v + 2] = np.arange(count)
    steps = ((-1, 0), (0, -1), (-1, -1), (-2, 0), (0, -2), (1, 0), (0, 1))
    near = [place[colour, u + 2 + du, v + 2 + dv] for du, dv in steps]
    near += [np.where(colour > other, place[other, u + 2, v + 2], count) for other in (0, 1)]
    cells = (colour * SIDE + u * SIDE // patterns.size) * SIDE + v * SIDE // patterns.size
    coarse = np.asarray((0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5))[ring]
    table, rings, colours = _divide(colour, ring, sector)
    return Bands(permutation, np.stack(near, axis=1), cells, coarse, table, rings, colours)


def _divide(
    colour: NDArray[np.int64], ring: NDArray[np.int64], sector: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    number = (colour * RINGS + ring) * SECTORS + sector
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    ends = np.append(starts[1:], len(number))
    index = {int(number[start]): band for band, start in enumerate(starts)}
    none = len(starts)
    rows: list[tuple[int, ...]] = []
    rings: list[int] = []
    colours: list[int] = []
    last = -1
    for band, (start, end) in enumerate(zip(starts, ends, strict=True)):
        c, r, k = int(colour[start]), int(ring[start]), int(sector[start])
        inner = (c * RINGS + r - 1) * SECTORS + (k if r > UNDIVIDED else 0) if r else -1
        first = r * SECTORS + k if c else -1
        rows.append(
            (
                int(start),
                int(end),
                c,
                r,
                k,
                (c * RINGS + r) * SECTORS + k,
                index.get(inner, none),
                index.get(first, none),
            )
        )
        while len(colours) <= c:
            colours.append(len(rings))
        if c * RINGS + r != last:
            rings.append(band)
            last = c * RINGS + r
    while len(colours) <= COLOURS:
        colours.append(len(rings))
    return np.array(rows, np.int64).reshape(-1, BAND_FIELDS), np.array([*rings, none], np.int64), np.array(colours)


def starts_of(slots: int, steps: tuple[int, int]) -> NDArray[np.int64]:
    """Return what one step of each temporal frequency adds at a clip's first frame, in 64ths of the peak, ``[slots]``.

    Args:
        slots: number of temporal frequencies.
        steps: level of the step of slot 0, and of that of the others.
    """
    values: NDArray[np.int64] = np.rint(64 * np.cos(np.pi * np.arange(slots) / (2 * slots))).astype(np.int64)
    first, other = ((8 + (level & 7)) << (level >> 3) for level in steps)
    values[0] = min(MOST_START, (181 * first + 2 * other) // (4 * other))  # 64 / sqrt(2)
    return values


def layout_tables(
    layout: LatentLayout, sigmas: NDArray[np.uint8], steps: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return what kernels read of a layout: its sizes and one table.

    Args:
        layout: a layout with patterns.
        sigmas: expected size of each slot's bands, ``[16, 3 * BANDS]``, in eighths of an octave (see `step_levels`).
        steps: level of the step of slot 0, and of that of the others, in the same unit.
    """
    assert layout.patterns is not None
    bands = bands_of(layout.patterns)
    slots, height, width, channels = layout.structure
    sizes = np.zeros(SIZES, np.int64)
    of_slot = np.minimum(np.arange(slots), len(sigmas) - 1)
    number = np.repeat(bands.bands[:, 5], bands.bands[:, 1] - bands.bands[:, 0])
    step = np.where(np.arange(slots) == 0, *steps)[:, None]
    expected = np.clip((sigmas[of_slot][:, number].astype(np.int64) - step + 40) >> 2, 0, 23)
    parts = (bands.neighbours, bands.cells, bands.coarse, bands.bands, bands.rings, bands.colours, bands.permutation)
    at, pieces = 0, []
    for name, part in zip(
        range(AT_NEIGHBOUR, AT_START + 1), (*parts, expected, of_slot, starts_of(slots, steps)), strict=True
    ):
        sizes[name] = at
        pieces.append(part.ravel())
        at += part.size
    count = len(bands.bands)
    stride = channels + 1 + count + 1 + COLOURS + 1
    sizes[[SLOTS, CHANNELS, NBANDS, STRIDE]] = slots, channels, count, stride
    sizes[[PLACE, HEIGHT, WIDTH]] = slots * stride + FLAGS_OF_PLACE, height, width
    return sizes, np.concatenate(pieces).astype(np.int32)
