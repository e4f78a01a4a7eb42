"""Bjøntegaard deltas of vidtwin against another codec, each with the overlap that it is computed from."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import pairwise
from statistics import fmean
from typing import Any

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.compare.results import CURVES, Clip, Comparison, Point, Variant


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


LEAST_POINTS = 4
"""Fewest points of a curve; the method was defined for four."""
METHOD = "pchip"
"""Interpolation: piecewise cubic without overshoot, as in the common test conditions of HEVC and VVC."""

Curve = tuple[Sequence[float], Sequence[float]]
"""Bits per pixel, and the values of a metric there."""


@dataclass(frozen=True)
class Overlap:
    """The interval over which two curves can be compared.

    Attributes:
        low: lower end.
        high: upper end.
        share: its length over that of the union of both curves' intervals.
    """

    low: float
    high: float
    share: float


@dataclass(frozen=True)
class Delta:
    """The deltas of vidtwin against an anchor, by one metric.

    Attributes:
        rate: BD-rate, by which percentage vidtwin takes more bytes at equal quality; None without overlap.
        quality: BD-PSNR, or its analogue for another metric: by how much vidtwin is better at equal bytes; None without
            overlap.
        rate_overlap: interval of the metric that ``rate`` is a mean over.
        quality_overlap: interval of bits per pixel that ``quality`` is a mean over.
        reason: why ``rate`` or ``quality`` is None.
        outside: ``better`` or ``worse`` if all of the anchor's curve is so, and ``rate`` is None for that reason.
    """

    rate: float | None
    quality: float | None
    rate_overlap: Overlap | None = None
    quality_overlap: Overlap | None = None
    reason: str | None = None
    outside: str | None = None


@dataclass(frozen=True)
class MeanDelta:
    """Means of deltas over the clips that have a value.

    Attributes:
        clips: number of clips with the codec.
        rate: mean BD-rate in percent.
        rate_clips: number of clips with a BD-rate.
        quality: mean BD-PSNR, or its analogue for another metric.
        quality_clips: number of clips with such a value.
        rate_overlap: mean share of the overlap in the metric.
        quality_overlap: mean share of the overlap in bits per pixel.
        all_better: number of clips where all of the anchor's curve is better.
        all_worse: number of clips where all of the anchor's curve is worse.
        reason: why a clip has no value, if there is one.
    """

    clips: int
    rate: float | None
    rate_clips: int
    quality: float | None
    quality_clips: int
    rate_overlap: float | None
    quality_overlap: float | None
    all_better: int
    all_worse: int
    reason: str | None = None


def delta(anchor: Sequence[Point], test: Sequence[Point], metric: str) -> Delta:
    """Compute the deltas between two sets of points.

    Args:
        anchor: points of the other codec.
        test: points of vidtwin.
        metric: key of the metric.

    Raises:
        VidtwinError: the package bjontegaard is not installed.
    """
    one, other = ascending(anchor, metric), ascending(test, metric)
    for curve, whose in ((other, "vidtwin’s curve"), (one, "its curve")):
        if len(curve) < LEAST_POINTS:
            return Delta(None, None, reason=f"{whose} has too few points ({len(curve)} of {LEAST_POINTS})")
    rates = [[point.bits_per_pixel for point in curve] for curve in (one, other)]
    values = [[value(point, metric) for point in curve] for curve in (one, other)]
    return curve_delta((rates[0], values[0]), (rates[1], values[1]))


def curve_delta(anchor: Curve, test: Curve) -> Delta:
    """Compute the deltas between two curves, each of which rises in both.

    Raises:
        VidtwinError: the package bjontegaard is not installed.
    """
    rate_overlap, quality_overlap = _overlap(anchor[1], test[1]), _overlap(anchor[0], test[0])
    outside = None
    if rate_overlap is None:
        outside = "better" if anchor[1][0] >= test[1][-1] else "worse"
    package = _package()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of small overlaps, which are stated beside the values
        arguments: dict[str, Any] = {"method": METHOD, "require_matching_points": False, "min_overlap": 0}
        sets = (*anchor, *test)
        rate = float(package.bd_rate(*sets, **arguments)) if rate_overlap else None
        quality = float(package.bd_psnr(*sets, **arguments)) if quality_overlap else None
    reason = None if rate_overlap and quality_overlap else "no overlap"
    return Delta(rate, quality, rate_overlap, quality_overlap, reason, outside)


def clip_delta(clip: Clip, codec: str, variant: Variant, metric: str) -> Delta | None:
    """Compare the convex hull of vidtwin's ladder with one codec on one clip; None if that has no points."""
    anchor = clip.of(codec, variant)
    return None if anchor is None else delta(anchor.points, hull(clip.vidtwin.points, metric), metric)


def mean_delta(clips: Sequence[Clip], codec: str, variant: Variant, metric: str) -> MeanDelta | None:
    """Compute arithmetic means over clips, as is usual; None if no clip has the codec."""
    found = [one for clip in clips if (one := clip_delta(clip, codec, variant, metric)) is not None]
    if not found:
        return None
    rates = [(one.rate, one.rate_overlap.share) for one in found if one.rate is not None and one.rate_overlap]
    gains = [(o.quality, o.quality_overlap.share) for o in found if o.quality is not None and o.quality_overlap]
    return MeanDelta(
        clips=len(found),
        rate=fmean(rate for rate, _ in rates) if rates else None,
        rate_clips=len(rates),
        quality=fmean(gain for gain, _ in gains) if gains else None,
        quality_clips=len(gains),
        rate_overlap=fmean(share for _, share in rates) if rates else None,
        quality_overlap=fmean(share for _, share in gains) if gains else None,
        all_better=sum(one.outside == "better" for one in found),
        all_worse=sum(one.outside == "worse" for one in found),
        reason=next((one.reason for one in found if one.reason), None),
    )


def check_installed() -> None:
    """Make sure before hours of encoding that the package for the deltas is installed.

    Raises:
        VidtwinError: the package bjontegaard is not installed.
    """
    # found without being imported, because it imports matplotlib and scipy
    if find_spec("bjontegaard") is None:
        raise _missing()


def _overlap(one: Sequence[float], other: Sequence[float]) -> Overlap | None:
    low, high = max(one[0], other[0]), min(one[-1], other[-1])
    if low >= high:
        return None
    return Overlap(low, high, (high - low) / (max(one[-1], other[-1]) - min(one[0], other[0])))


def _package() -> Any:
    try:
        with warnings.catch_warnings():
            # it imports matplotlib, whose deprecation warnings do not concern the user
            warnings.simplefilter("ignore")
            import bjontegaard
    except ImportError as error:
        raise _missing() from error
    return bjontegaard


def _missing() -> VidtwinError:
    return VidtwinError("comparing needs the package bjontegaard", "install it: pip install 'vidtwin-codec[compare]'")


def all_numbers(comparison: Comparison) -> dict[str, Any]:
    """Collect the comparison's values, and as ``deltas`` the Bjøntegaard deltas by codec, variant and metric."""
    return {**comparison.to_json(), "deltas": _deltas(comparison)}


def _deltas(comparison: Comparison) -> list[dict[str, Any]]:
    found = []
    for codec in comparison.codecs:
        for variant in comparison.variants:
            for metric in CURVES:
                mean = mean_delta(comparison.clips, codec, variant, metric)
                each = {clip.name: clip_delta(clip, codec, variant, metric) for clip in comparison.clips}
                found.append(
                    {
                        "codec": codec,
                        "variant": asdict(variant),
                        "metric": metric,
                        "mean": asdict(mean) if mean else None,
                        "clips": {name: asdict(one) if one else None for name, one in each.items()},
                    }
                )
    return found
