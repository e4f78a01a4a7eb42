"""Candidates for the short side, and hill climbing along them."""

from __future__ import annotations

from collections.abc import Callable

_FEWER = 0.7
"""Share of the tiles that the next smaller size has at most; sizes closer together hardly differ in bytes."""


def candidate_sides(short_side: int, tiles: Callable[[int], int]) -> list[int]:
    """List short sides worth trying, smallest first; the last is the video's own.

    Bytes are about proportional to tiles, so of all sizes with the same number of tiles only the largest is listed. The
    smallest one fits into one tile.

    Args:
        short_side: short side of the video in pixels.
        tiles: short side in pixels → number of tiles of a frame.
    """
    found = [short_side]
    for side in range(short_side - 1, 0, -1):
        if tiles(found[-1]) == 1:
            break
        if tiles(side) <= _FEWER * tiles(found[-1]):
            found.append(side)
    return found[::-1]


def climb(better: Callable[[int, int], bool], count: int, start: int) -> int:
    """Find the best index on a curve with one peak, in as few comparisons as possible.

    Args:
        better: says whether its first argument is better than its second.
        count: number of indices.
        start: index to begin with.
    """
    best = start
    for step in (1, -1):
        while 0 <= best + step < count and better(best + step, best):
            best += step
        if best != start:
            break
    return best
