"""Which short sides are worth trying, and a climb along them."""

from __future__ import annotations

from collections.abc import Callable

_FEWER = 0.7
"""The next smaller size has at most this part of the tiles; sizes closer together hardly differ in bytes."""


def candidate_sides(short_side: int, tiles: Callable[[int], int]) -> list[int]:
    """Short sides, smallest first; the last is the video's own.

    Bytes go with tiles, so of all sizes cut into the same number of tiles only the largest counts. The smallest fits
    into one tile.

    Args:
        short_side: of the video, in pixels.
        tiles: of a frame whose short side has so many pixels.
    """
    found = [short_side]
    for side in range(short_side - 1, 0, -1):
        if tiles(found[-1]) == 1:
            break
        if tiles(side) <= _FEWER * tiles(found[-1]):
            found.append(side)
    return found[::-1]


def climb(better: Callable[[int, int], bool], count: int, start: int) -> int:
    """The best index, of ``count``, on a curve with one peak; looks at no more than it needs.

    Args:
        better: whether its first argument is better than its second.
        count: of indices. start: where to begin.
    """
    best = start
    for step in (1, -1):
        while 0 <= best + step < count and better(best + step, best):
            best += step
        if best != start:
            break
    return best
