"""Where tiles lie along the sides of a frame: integers, the same for every reader (docs/FORMAT.md, Geometry)."""

from __future__ import annotations


def tile_count(size: int, tile: int, overlap: int) -> int:
    """Fewest tiles of ``tile`` pixels that cover ``size`` pixels when neighbours share at least ``overlap``."""
    return 1 if size <= tile else -(-(size - overlap) // (tile - overlap))


def tile_offsets(size: int, tile: int, overlap: int) -> list[int]:
    """Where tiles of ``tile`` pixels start so that they cover ``size`` pixels evenly, in as few as possible.

    Neighbours share ``overlap`` pixels or more. A side that one tile covers gives ``[0]``.
    """
    count = tile_count(size, tile, overlap)
    if count == 1:
        return [0]
    # integer rounding of i · (size − tile) / (count − 1), half up: every reader gets the same tiles
    return [(2 * i * (size - tile) + count - 1) // (2 * (count - 1)) for i in range(count)]


def abutting_offsets(size: int, tile: int) -> list[int]:
    """Where tiles of ``tile`` pixels that lie side by side start; the last one may reach beyond ``size``."""
    return list(range(0, size, tile))
