"""Rate-distortion curves: choosing their points, and interpolating between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from vidtwin_codec.evaluation.compare.results import Point


def ascending(points: Sequence[Point], metric: str) -> list[Point]:
    """Choose the points that have a value and are better than every smaller one, smallest first.

    Codecs are not strictly monotonic, but interpolation needs curves that are.
    """
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (point.bytes, -value(point, metric))):
        if point.metrics.get(metric) is None or (kept and value(point, metric) <= value(kept[-1], metric)):
            continue
        kept.append(point)
    return kept


def hull(points: Sequence[Point], metric: str) -> list[Point]:
    """Find the corners of the upper convex hull over bytes, from the smallest point to the best.

    Metrics are means over frames, so coding a part of a video with one setting and the rest with another gives every
    point on the line between the two. A setting below such a line is therefore never worth using.
    """
    corners: list[Point] = []
    for point in ascending(points, metric):
        while len(corners) > 1 and _slope(corners[-2], corners[-1], metric) <= _slope(corners[-1], point, metric):
            corners.pop()
        corners.append(point)
    return corners


def interpolate(points: Sequence[Point], metric: str, size: float) -> float | None:
    """Interpolate a metric at ``size`` bytes, linearly over the logarithm of the bytes; None outside the points."""
    curve = ascending(points, metric)
    for left, right in pairwise(curve):
        if left.bytes <= size <= right.bytes:
            share = math.log(size / left.bytes) / math.log(right.bytes / left.bytes)
            return value(left, metric) + share * (value(right, metric) - value(left, metric))
    return value(curve[0], metric) if len(curve) == 1 and curve[0].bytes == size else None


def value(point: Point, metric: str) -> float:
    """Return a metric of a point; NaN if it has none."""
    found = point.metrics.get(metric)
    return math.nan if found is None else found


def _slope(left: Point, right: Point, metric: str) -> float:
    return (value(right, metric) - value(left, metric)) / (right.bytes - left.bytes)
