"""Offsets of tiles along a side of a frame: integers, the same for every reader (docs/FORMAT.md, Geometry)."""

from __future__ import annotations


def tile_count(size: int, tile: int, overlap: int) -> int:
    """Return the fewest tiles of ``tile`` pixels that cover ``size`` pixels with at least ``overlap`` shared."""
    return 1 if size <= tile else -(-(size - overlap) // (tile - overlap))


def tile_offsets(size: int, tile: int, overlap: int) -> list[int]:
    """Return the offsets of the fewest tiles of ``tile`` pixels that cover ``size`` pixels evenly.

    Neighbours share ``overlap`` pixels or more. A side that one tile covers gives ``[0]``.
    """
    count = tile_count(size, tile, overlap)
    if count == 1:
        return [0]
    # integer rounding of i · (size − tile) / (count − 1), half up: every reader gets the same tiles
    return [(2 * i * (size - tile) + count - 1) // (2 * (count - 1)) for i in range(count)]


def abutting_offsets(size: int, tile: int) -> list[int]:
    """Return the offsets of tiles of ``tile`` pixels side by side; the last one may reach beyond ``size``."""
    return list(range(0, size, tile))
