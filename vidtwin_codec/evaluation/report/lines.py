"""From points to the lines of a plot: one clip's, and the mean over clips at equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from vidtwin_codec.evaluation.compare.bd import hull, interpolate, value
from vidtwin_codec.evaluation.compare.results import VIDTWIN, Clip, Point, Variant
from vidtwin_codec.evaluation.report.plots import DIGITS, Curve, Dot
from vidtwin_codec.evaluation.report.text import kilobytes


def clip_lines(clip: Clip, codecs: dict[str, str], variant: Variant, metric: str) -> list[Curve]:
    """vidtwin's hull (with the rest of its ladder aside) and every codec run in this way, on one clip."""
    corners = hull(clip.vidtwin.points, metric)
    others = [point for point in clip.vidtwin.points if point not in corners and point.metrics.get(metric) is not None]
    lines = [Curve(VIDTWIN, VIDTWIN, _dots(corners, metric), _dots(others, metric))]
    for codec, label in codecs.items():
        series = clip.of(codec, variant)
        points = [] if series is None else [p for p in series.points if p.metrics.get(metric) is not None]
        lines.append(Curve(codec, label, _dots(points, metric), []))
    return lines


def mean_lines(clips: Sequence[Clip], codecs: dict[str, str], variant: Variant, metric: str) -> list[Curve]:
    """Means over clips, every codec at exactly vidtwin's bytes on each of them (interpolated).

    vidtwin's points are settings that all clips have, on the hull of the means. A codec's value is left out where it
    cannot be had on every clip: a mean over fewer clips would not be comparable.
    """
    settings = [point.setting for point in clips[0].vidtwin.points]
    common = [s for s in settings if all(_find(clip, s, metric) is not None for clip in clips)]
    means = [_mean_point([_known(clip, s, metric) for clip in clips], s, metric) for s in common]
    corners = hull(means, metric)
    aside = [point for point in means if point not in corners]
    lines = [Curve(VIDTWIN, VIDTWIN, _dots(corners, metric), _dots(aside, metric))]
    for codec, label in codecs.items():
        dots = []
        for corner in corners:
            at_equal_bytes = [
                None
                if (series := clip.of(codec, variant)) is None
                else interpolate(series.points, metric, _known(clip, corner.setting, metric).bytes)
                for clip in clips
            ]
            known = [value for value in at_equal_bytes if value is not None]
            if len(known) == len(clips):
                y = fmean(known)
                text = f"at vidtwin's {corner.setting}|{corner.bits_per_pixel:.4f} bpp|{_value(y, metric)}"
                dots.append(Dot(corner.bits_per_pixel, y, text))
        lines.append(Curve(codec, label, dots, []))
    return lines


def _mean_point(points: Sequence[Point], setting: str, metric: str) -> Point:
    return Point(
        setting=setting,
        bytes=round(fmean(point.bytes for point in points)),
        bits_per_pixel=fmean(point.bits_per_pixel for point in points),
        kbps=fmean(point.kbps for point in points),
        metrics={metric: fmean(value(point, metric) for point in points)},
        encode_seconds=sum(point.encode_seconds for point in points),
        decode_seconds=sum(point.decode_seconds for point in points),
    )


def _find(clip: Clip, setting: str, metric: str) -> Point | None:
    points = (point for point in clip.vidtwin.points if point.setting == setting)
    return next((point for point in points if point.metrics.get(metric) is not None), None)


def _known(clip: Clip, setting: str, metric: str) -> Point:
    point = _find(clip, setting, metric)
    assert point is not None
    return point


def _dots(points: Sequence[Point], metric: str) -> list[Dot]:
    return [
        Dot(
            point.bits_per_pixel,
            value(point, metric),
            f"{point.setting}|{point.bits_per_pixel:.4f} bpp, {kilobytes(point.bytes)}|"
            + _value(value(point, metric), metric),
        )
        for point in sorted(points, key=lambda point: point.bytes)
    ]


def _value(number: float, metric: str) -> str:
    names = {"psnr": "{} dB", "ssim": "SSIM {}", "vmaf": "VMAF {}"}
    return names[metric].format(f"{number:.{DIGITS[metric]}f}")
