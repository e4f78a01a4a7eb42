"""Bjøntegaard deltas of vidtwin against another codec, each with the overlap it rests on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import fmean
from typing import Any

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.compare.curves import ascending, hull, value
from vidtwin_codec.evaluation.compare.results import Clip, Point, Variant

LEAST_POINTS = 4
"""As the method was defined."""
METHOD = "pchip"
"""Piecewise cubic without overshoot, as in the common test conditions of HEVC and VVC."""


@dataclass(frozen=True)
class Overlap:
    """Where two curves can be compared: an interval, and its share of the interval that either covers."""

    low: float
    high: float
    share: float


@dataclass(frozen=True)
class Delta:
    """vidtwin against an anchor, by one metric.

    Attributes:
        rate: BD-rate in percent: how many more bytes vidtwin takes for equal quality. None without overlap.
        quality: BD-PSNR, or the same of another metric: how much better vidtwin is at equal bytes. None likewise.
        rate_overlap: the interval of the metric that ``rate`` is a mean over.
        quality_overlap: the interval of bits per pixel that ``quality`` is a mean over.
        reason: why ``rate`` or ``quality`` is None.
        outside: where ``rate`` is None for want of overlap: ``better`` or ``worse``, as all of the anchor is.
    """

    rate: float | None
    quality: float | None
    rate_overlap: Overlap | None = None
    quality_overlap: Overlap | None = None
    reason: str | None = None
    outside: str | None = None


@dataclass(frozen=True)
class MeanDelta:
    """Means over the clips that have a value, how many those are, and in how many the anchor is beyond reach.

    ``reason`` says why a clip has no value, if one has none.
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
    """Compare two sets of points.

    Raises:
        VidtwinError: the package bjontegaard is not installed.
    """
    one, other = ascending(anchor, metric), ascending(test, metric)
    for curve, whose in ((other, "vidtwin’s curve"), (one, "its curve")):
        if len(curve) < LEAST_POINTS:
            return Delta(None, None, reason=f"{whose} has too few points ({len(curve)} of {LEAST_POINTS})")
    rates = [[point.bits_per_pixel for point in curve] for curve in (one, other)]
    values = [[value(point, metric) for point in curve] for curve in (one, other)]
    rate_overlap, quality_overlap = _overlap(*values), _overlap(*rates)
    outside = None
    if rate_overlap is None:
        outside = "better" if values[0][0] >= values[1][-1] else "worse"
    package = _package()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of little overlap, which is stated beside the value
        arguments: dict[str, Any] = {"method": METHOD, "require_matching_points": False, "min_overlap": 0}
        sets = (rates[0], values[0], rates[1], values[1])
        rate = float(package.bd_rate(*sets, **arguments)) if rate_overlap else None
        quality = float(package.bd_psnr(*sets, **arguments)) if quality_overlap else None
    reason = None if rate_overlap and quality_overlap else "no overlap"
    return Delta(rate, quality, rate_overlap, quality_overlap, reason, outside)


def clip_delta(clip: Clip, codec: str, variant: Variant, metric: str) -> Delta | None:
    """The convex hull of vidtwin's ladder against one codec on one clip; None if that has no points."""
    anchor = clip.of(codec, variant)
    return None if anchor is None else delta(anchor.points, hull(clip.vidtwin.points, metric), metric)


def mean_delta(clips: Sequence[Clip], codec: str, variant: Variant, metric: str) -> MeanDelta | None:
    """Arithmetic means over clips, as is usual; None if no clip has the codec."""
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
    """Fail now rather than after hours of encoding.

    Raises:
        VidtwinError: the package bjontegaard is not installed.
    """
    # looked for, not imported: it brings matplotlib and scipy along
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
            # its plots pull in matplotlib, whose deprecations are none of ours
            warnings.simplefilter("ignore")
            import bjontegaard
    except ImportError as error:
        raise _missing() from error
    return bjontegaard


def _missing() -> VidtwinError:
    return VidtwinError("comparing needs the package bjontegaard", "install it: pip install 'vidtwin-codec[compare]'")
