"""The report's tables, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from vidtwin_codec.evaluation.compare.bd import Delta, MeanDelta, clip_delta, mean_delta
from vidtwin_codec.evaluation.compare.results import CURVES, METRICS, VIDTWIN, Clip, Comparison, Point, Series, Variant
from vidtwin_codec.evaluation.report.plots import DIGITS
from vidtwin_codec.evaluation.report.text import NBSP, NO_VALUE, gop_name, percent, signed

NAMES = {"psnr": "PSNR", "psnr_y": "PSNR-Y", "ssim": "SSIM", "vmaf": "VMAF"}
_GAIN_DIGITS = {"psnr": 2, "ssim": 4, "vmaf": 1}


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls sideways on its own; cells are markup, the first of each row names it."""
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in rows
    )
    label = escape(caption, quote=True)
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table><caption>{escape(caption)}'
        f"</caption><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def mean_table(comparison: Comparison) -> str:
    """BD-rate and BD-quality of vidtwin against each codec in each way, means over clips."""
    rows = []
    for codec, variant, name in _ways(comparison):
        found = [mean_delta(comparison.clips, codec, variant, metric) for metric in CURVES]
        rows.append([name, *(cell for one, m in zip(found, CURVES, strict=True) for cell in _mean_cells(one, m))])
    over = ", mean over clips" if len(comparison.clips) > 1 else ""
    return table(f"vidtwin against each codec{over}", _delta_head(), rows)


def clip_table(comparison: Comparison, clip: Clip) -> str:
    """The same of one clip, with each overlap in its own units."""
    rows = []
    for codec, variant, name in _ways(comparison):
        found = [clip_delta(clip, codec, variant, metric) for metric in CURVES]
        rows.append([name, *(cell for one, m in zip(found, CURVES, strict=True) for cell in _clip_cells(one, m))])
    return table(f"vidtwin against each codec on {clip.name}", _delta_head(), rows)


def point_table(comparison: Comparison, clip: Clip) -> str:
    """Every measured encoding of a clip."""
    head = ["codec", "setting", "bytes", "bits/pixel", "kbit/s", *(NAMES[m] for m in METRICS)]
    rows = [_point_row(comparison, s, point, clip) for s in (clip.vidtwin, *clip.others) for point in s.points]
    return table(f"{clip.name}: every encoding", [*head, "encode, fps", "decode, fps"], rows)


def speed_table(comparison: Comparison) -> str:
    """Frames a second of encoding and decoding, all measured encodings together."""
    rows = []
    sides = sorted({point.short_side or 0 for clip in comparison.clips for point in clip.vidtwin.points}, reverse=True)
    for side in sides:
        made = [(c.frames, p) for c in comparison.clips for p in c.vidtwin.points if p.short_side == side]
        rows.append([f"{_named(VIDTWIN, VIDTWIN)} at short side {side}", *_speeds(made)])
    for codec, variant, name in _ways(comparison):
        of_codec = [(clip.frames, clip.of(codec, variant)) for clip in comparison.clips]
        rows.append([name, *_speeds([(n, point) for n, s in of_codec if s is not None for point in s.points])])
    return table("Speed, frames a second", ["codec", "encode", "decode"], rows)


def _ways(comparison: Comparison) -> Iterable[tuple[str, Variant, str]]:
    for codec, label in comparison.codecs.items():
        for variant in comparison.variants:
            way = f'<span class="way">{escape(variant.preset)}, {gop_name(variant, comparison.clip_frames)}</span>'
            yield codec, variant, f"{_named(codec, label)} {way}"


def _named(codec: str, label: str) -> str:
    return f'<span class="codec {escape(codec)}"><span class="name">{escape(label)}</span></span>'


def _delta_head() -> list[str]:
    pairs = [(f"BD-rate<br><small>{NAMES[m]}</small>", f"BD-{NAMES[m]}") for m in CURVES]
    return ["against", *(cell for pair in pairs for cell in pair)]


def _mean_cells(found: MeanDelta | None, metric: str) -> tuple[str, str]:
    if found is None:
        return _nothing("no result"), _nothing("no result")
    if found.rate is None or found.rate_overlap is None:
        side = "all of it better" if found.all_better > found.all_worse else "all of it worse"
        rate = _nothing(f"no overlap: {side}" if found.all_better or found.all_worse else found.reason or "")
    else:
        rate = _cell(
            f"{signed(found.rate, 0)}{NBSP}%", _under(found.rate_clips, found.clips, found.rate_overlap), found.rate < 0
        )
    if found.quality is None or found.quality_overlap is None:
        return rate, _nothing(found.reason or "")
    return rate, _cell(
        signed(found.quality, _GAIN_DIGITS[metric]) + (f"{NBSP}dB" if metric == "psnr" else ""),
        _under(found.quality_clips, found.clips, found.quality_overlap),
        found.quality > 0,
    )


def _under(some: int, every: int, overlap: float) -> str:
    """What a mean rests on."""
    return (f"{some} of {every} clips<br>" if every > 1 else "") + f"overlap {escape(percent(overlap))}"


def _clip_cells(found: Delta | None, metric: str) -> tuple[str, str]:
    if found is None:
        return _nothing("no result"), _nothing("no result")
    missing = _nothing(found.reason or "no overlap")
    rate, gain = missing, missing
    if found.rate is not None and found.rate_overlap is not None:
        over, digits = found.rate_overlap, min(DIGITS[metric], 3)
        span = f"{over.low:.{digits}f} to {over.high:.{digits}f}<br>overlap {escape(percent(over.share))}"
        rate = _cell(f"{signed(found.rate, 0)}{NBSP}%", span, found.rate < 0)
    elif found.outside:
        rate = _nothing(f"no overlap: all of it {found.outside}")
    if found.quality is not None and found.quality_overlap is not None:
        over = found.quality_overlap
        span = f"{over.low:.4f} to {over.high:.4f} bpp<br>overlap {escape(percent(over.share))}"
        unit = f"{NBSP}dB" if metric == "psnr" else ""
        gain = _cell(signed(found.quality, _GAIN_DIGITS[metric]) + unit, span, found.quality > 0)
    return rate, gain


def _cell(value: str, under: str, wins: bool) -> str:
    """A value and what it rests on; where vidtwin wins it is set in bold."""
    return f"{f'<strong>{value}</strong>' if wins else value}<small>{under}</small>"


def _nothing(reason: str) -> str:
    return f"{NO_VALUE}<small>{escape(reason)}</small>"


def _point_row(comparison: Comparison, series: Series, point: Point, clip: Clip) -> list[str]:
    way = ""
    if series.variant is not None:
        gop = gop_name(series.variant, comparison.clip_frames)
        way = f' <span class="way">{escape(series.variant.preset)}, {gop}</span>'
    values = [point.metrics.get(metric) for metric in METRICS]
    metrics = [NO_VALUE if v is None else f"{v:.{DIGITS[m]}f}" for m, v in zip(METRICS, values, strict=True)]
    speeds = [f"{clip.frames / seconds:.1f}" for seconds in (point.encode_seconds, point.decode_seconds)]
    numbers = [str(point.bytes), f"{point.bits_per_pixel:.4f}", f"{point.kbps:.1f}"]
    return [_named(series.codec, series.label) + way, escape(point.setting), *numbers, *metrics, *speeds]


def _speeds(made: Sequence[tuple[int, Point]]) -> list[str]:
    if not made:
        return [NO_VALUE, NO_VALUE]
    frames = sum(count for count, _ in made)
    totals = (sum(point.encode_seconds for _, point in made), sum(point.decode_seconds for _, point in made))
    return [f"{frames / seconds:.1f}" for seconds in totals]
