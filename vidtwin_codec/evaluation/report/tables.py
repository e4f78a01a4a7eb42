"""The report's tables, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vidtwin_codec.evaluation.compare.bd import Delta, MeanDelta, clip_delta, mean_delta
from vidtwin_codec.evaluation.compare.results import CURVES, METRICS, VIDTWIN, Clip, Comparison, Point, Series, Variant
from vidtwin_codec.evaluation.report.plots import DIGITS
from vidtwin_codec.evaluation.report.text import NBSP, NO_VALUE, fill, percent, signed, variant_name

NAMES = {"psnr": "PSNR", "psnr_y": "PSNR-Y", "ssim": "SSIM", "vmaf": "VMAF"}
_GAIN_DIGITS = {"psnr": 2, "ssim": 4, "vmaf": 1}


@dataclass(frozen=True)
class Cell:
    """A value, and in small print what it rests on, line by line; where vidtwin wins it is set in bold."""

    value: str
    under: tuple[str, ...]
    wins: bool = False


@dataclass(frozen=True)
class Name:
    """The subject of a row: a codec, the way it was run, or something else about it."""

    codec: str
    label: str
    way: str = ""
    rest: str = ""


Row = tuple[Name, Sequence[str | Cell]]


def table(caption: str, head: Sequence[str | Cell], rows: Sequence[Row]) -> Markup:
    """A table that scrolls sideways on its own."""
    return fill("table.html", caption=caption, head=head, rows=rows)


def mean_table(comparison: Comparison) -> Markup:
    """BD-rate and BD-quality of vidtwin against each codec in each way, means over clips."""
    rows: list[Row] = []
    for codec, variant, name in _ways(comparison):
        found = [mean_delta(comparison.clips, codec, variant, metric) for metric in CURVES]
        rows.append((name, [cell for one, m in zip(found, CURVES, strict=True) for cell in _mean_cells(one, m)]))
    over = ", mean over clips" if len(comparison.clips) > 1 else ""
    return table(f"vidtwin against each codec{over}", _delta_head(), rows)


def clip_table(comparison: Comparison, clip: Clip) -> Markup:
    """The same of one clip, with each overlap in its own units."""
    rows: list[Row] = []
    for codec, variant, name in _ways(comparison):
        found = [clip_delta(clip, codec, variant, metric) for metric in CURVES]
        rows.append((name, [cell for one, m in zip(found, CURVES, strict=True) for cell in _clip_cells(one, m)]))
    return table(f"vidtwin against each codec on {clip.name}", _delta_head(), rows)


def point_table(comparison: Comparison, clip: Clip) -> Markup:
    """Every measured encoding of a clip."""
    head = ["codec", "setting", "bytes", "bits/pixel", "kbit/s", *(NAMES[m] for m in METRICS)]
    rows = [_point_row(comparison, s, point, clip) for s in (clip.vidtwin, *clip.others) for point in s.points]
    return table(f"{clip.name}: every encoding", [*head, "encode, fps", "decode, fps"], rows)


def speed_table(comparison: Comparison) -> Markup:
    """Frames a second of encoding and decoding, all measured encodings together."""
    rows: list[Row] = []
    sides = sorted({point.short_side or 0 for clip in comparison.clips for point in clip.vidtwin.points}, reverse=True)
    for side in sides:
        made = [(c.frames, p) for c in comparison.clips for p in c.vidtwin.points if p.short_side == side]
        rows.append((Name(VIDTWIN, VIDTWIN, rest=f"at short side {side}"), _speeds(made)))
    for codec, variant, name in _ways(comparison):
        of_codec = [(clip.frames, clip.of(codec, variant)) for clip in comparison.clips]
        rows.append((name, _speeds([(n, point) for n, s in of_codec if s is not None for point in s.points])))
    return table("Speed, frames a second", ["codec", "encode", "decode"], rows)


def _ways(comparison: Comparison) -> Iterable[tuple[str, Variant, Name]]:
    for codec, label in comparison.codecs.items():
        for variant in comparison.variants:
            yield codec, variant, Name(codec, label, variant_name(variant, comparison.clip_frames))


def _delta_head() -> list[str | Cell]:
    return ["against", *(cell for m in CURVES for cell in (Cell("BD-rate", (NAMES[m],)), f"BD-{NAMES[m]}"))]


def _mean_cells(found: MeanDelta | None, metric: str) -> tuple[Cell, Cell]:
    if found is None:
        return _nothing("no result"), _nothing("no result")
    if found.rate is None or found.rate_overlap is None:
        side = "all of it better" if found.all_better > found.all_worse else "all of it worse"
        rate = _nothing(f"no overlap: {side}" if found.all_better or found.all_worse else found.reason or "")
    else:
        rate = Cell(
            f"{signed(found.rate, 0)}{NBSP}%", _under(found.rate_clips, found.clips, found.rate_overlap), found.rate < 0
        )
    if found.quality is None or found.quality_overlap is None:
        return rate, _nothing(found.reason or "")
    return rate, Cell(
        signed(found.quality, _GAIN_DIGITS[metric]) + (f"{NBSP}dB" if metric == "psnr" else ""),
        _under(found.quality_clips, found.clips, found.quality_overlap),
        found.quality > 0,
    )


def _under(some: int, every: int, overlap: float) -> tuple[str, ...]:
    """Say what a mean rests on."""
    return (*([f"{some} of {every} clips"] if every > 1 else []), f"overlap {percent(overlap)}")


def _clip_cells(found: Delta | None, metric: str) -> tuple[Cell, Cell]:
    if found is None:
        return _nothing("no result"), _nothing("no result")
    missing = _nothing(found.reason or "no overlap")
    rate, gain = missing, missing
    if found.rate is not None and found.rate_overlap is not None:
        over, digits = found.rate_overlap, min(DIGITS[metric], 3)
        span = (f"{over.low:.{digits}f} to {over.high:.{digits}f}", f"overlap {percent(over.share)}")
        rate = Cell(f"{signed(found.rate, 0)}{NBSP}%", span, found.rate < 0)
    elif found.outside:
        rate = _nothing(f"no overlap: all of it {found.outside}")
    if found.quality is not None and found.quality_overlap is not None:
        over = found.quality_overlap
        span = (f"{over.low:.4f} to {over.high:.4f} bpp", f"overlap {percent(over.share)}")
        unit = f"{NBSP}dB" if metric == "psnr" else ""
        gain = Cell(signed(found.quality, _GAIN_DIGITS[metric]) + unit, span, found.quality > 0)
    return rate, gain


def _nothing(reason: str) -> Cell:
    return Cell(NO_VALUE, (reason,))


def _point_row(comparison: Comparison, series: Series, point: Point, clip: Clip) -> Row:
    way = "" if series.variant is None else variant_name(series.variant, comparison.clip_frames)
    values = [point.metrics.get(metric) for metric in METRICS]
    metrics = [NO_VALUE if v is None else f"{v:.{DIGITS[m]}f}" for m, v in zip(METRICS, values, strict=True)]
    speeds = [f"{clip.frames / seconds:.1f}" for seconds in (point.encode_seconds, point.decode_seconds)]
    numbers = [str(point.bytes), f"{point.bits_per_pixel:.4f}", f"{point.kbps:.1f}"]
    return Name(series.codec, series.label, way), [point.setting, *numbers, *metrics, *speeds]


def _speeds(made: Sequence[tuple[int, Point]]) -> list[str]:
    if not made:
        return [NO_VALUE, NO_VALUE]
    frames = sum(count for count, _ in made)
    totals = (sum(point.encode_seconds for _, point in made), sum(point.decode_seconds for _, point in made))
    return [f"{frames / seconds:.1f}" for seconds in totals]
