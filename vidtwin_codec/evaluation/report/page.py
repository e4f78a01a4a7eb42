"""The HTML page: one file that needs nothing else and asks nothing of the network."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from vidtwin_codec.evaluation.compare.bd import LEAST_POINTS
from vidtwin_codec.evaluation.compare.results import CURVES, Clip, Comparison, Series, Variant
from vidtwin_codec.evaluation.report.lines import clip_lines, mean_lines
from vidtwin_codec.evaluation.report.plots import DIGITS, TITLES, rd_plot
from vidtwin_codec.evaluation.report.tables import NAMES, clip_table, mean_table, point_table, speed_table
from vidtwin_codec.evaluation.report.text import NBSP, fill, kilobytes, variant_name
from vidtwin_codec.evaluation.report.verdicts import introduction, verdicts
from vidtwin_codec.media.ffmpeg import video_encoders
from vidtwin_codec.media.images import LONGEST_SIDE, data_uri
from vidtwin_codec.text import counted, to_json


def render(comparison: Comparison) -> str:
    """The whole page.

    Raises:
        VidtwinError: ffmpeg cannot write an image.
    """
    clips = comparison.clips
    every = sum(clip.frames for clip in clips)
    labels = list(comparison.codecs.values())
    page = fill(
        "page.html",
        title=f"vidtwin against {_listed(labels)}",
        lede=f"{counted(len(clips), 'clip')}, {counted(every, 'frame')}. "
        f"Network weights: {comparison.used['weights']}; "
        f"run on {comparison.used['device']}.",
        introduction=introduction(comparison),
        verdicts=verdicts(comparison),
        clips=clips,
        variants=[(one.key, variant_name(one, comparison.clip_frames)) for one in comparison.variants],
        figures=_figures(comparison),
        means=mean_table(comparison),
        by_clip=[clip_table(comparison, clip) for clip in clips],
        machine=comparison.used["processor"],
        device=comparison.used["device"],
        longest_side=LONGEST_SIDE,
        image_format="WebP" if "libwebp" in video_encoders() else "JPEG",
        speed=speed_table(comparison),
        method=method(comparison),
        numbers=[(clip.name, point_table(comparison, clip)) for clip in clips],
        views=_script_safe(_views(comparison)),
    )
    return str(page)


def _figures(comparison: Comparison) -> list[dict[str, Any]]:
    """Plots of every clip and variant; the script shows one set at a time."""
    parts = []
    for variant in comparison.variants:
        if len(comparison.clips) > 1:
            note = (
                "Every codec at exactly vidtwin’s bytes on each clip, interpolated between its encodings; left out "
                "where it cannot be had on every clip."
            )
            lines = {metric: mean_lines(comparison.clips, comparison.codecs, variant, metric) for metric in CURVES}
            parts.append(_figure("all", f"All {len(comparison.clips)} clips", note, variant, lines, comparison))
        for number, clip in enumerate(comparison.clips):
            lines = {metric: clip_lines(clip, comparison.codecs, variant, metric) for metric in CURVES}
            parts.append(_figure(str(number), clip.name, _clip_note(clip, variant), variant, lines, comparison))
    return parts


def _figure(
    key: str, name: str, note: str, variant: Variant, lines: dict[str, Any], comparison: Comparison
) -> dict[str, Any]:
    way = variant_name(variant, comparison.clip_frames)
    plots = [
        (TITLES[metric], Markup(rd_plot(lines[metric], metric, f"{TITLES[metric]} of {name}, {way}")))
        for metric in CURVES
    ]
    return {"key": key, "variant": variant.key, "name": name, "way": way, "note": note, "plots": plots}


def _clip_note(clip: Clip, variant: Variant) -> str:
    notes = [f"{s.label} {note}." for s in clip.others if s.variant == variant for note in s.notes]
    notes += [f"{NAMES[metric]} could not be computed: {reason}." for metric, reason in clip.reasons.items()]
    return " ".join([f"{clip.width} × {clip.height}, {counted(clip.frames, 'frame')}.", *notes])


def _views(comparison: Comparison) -> list[dict[str, Any]]:
    """Collect for the viewer the versions of each clip, each with its images and a line of facts."""
    found = []
    for clip in comparison.clips:
        versions: list[dict[str, Any]] = [
            {"name": "source", "codec": "source", "facts": "The source.", "images": clip.views}
        ]
        versions += [_version(comparison, clip, series) for series in (clip.vidtwin, *clip.others) if series.views]
        for version in versions:
            version["images"] = [data_uri(image) for image in version["images"]]
        frames = [f"Frame {index + 1} of {clip.frames}" for index in clip.view_frames]
        found.append(
            {"name": clip.name, "width": clip.width, "height": clip.height, "frames": frames, "versions": versions}
        )
    return found


def _version(comparison: Comparison, clip: Clip, series: Series) -> dict[str, Any]:
    assert series.matched is not None
    assert clip.vidtwin.matched is not None
    point = series.points[series.matched]
    name, beside = series.label, ""
    if series.variant is not None:
        name += f" ({variant_name(series.variant, comparison.clip_frames)})"
        ratio = point.bytes / clip.vidtwin.points[clip.vidtwin.matched].bytes
        beside = f", {ratio:.2f}{NBSP}× vidtwin’s bytes"
        if ratio > 1.1:
            beside += " (it cannot go lower)" if series.matched == 0 else ""
    values = [
        f"{NAMES[metric]} {value:.{DIGITS[metric]}f}{' dB' if metric == 'psnr' else ''}"
        for metric in CURVES
        if (value := point.metrics.get(metric)) is not None
    ]
    facts = f"{name}, {point.setting}: {kilobytes(point.bytes)}{beside}; over all frames {', '.join(values)}"
    return {"name": name, "codec": series.codec, "facts": facts, "images": series.views}


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _script_safe(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    return Markup(to_json(value).replace("<", "\\u003c"))


def method(comparison: Comparison) -> Markup:
    """Paragraphs and a list of settings, as HTML."""
    paragraphs = {
        "Frames": f"The first {comparison.excerpt} of each source (all of a shorter one) are decoded once to 8-bit "
        "RGB. vidtwin encodes exactly these frames; conventional codecs get them as BT.709 4:2:0, and their pictures "
        "are converted back, which costs them some detail of colour. Every version is compared with the RGB frames at "
        "the source’s size, also where vidtwin coded a smaller one: it is scaled back first.",
        "Bytes": "A .vtw is counted whole, with its header, checksums and index, and holds no sound. Conventional "
        "codecs are counted as bare elementary streams with their parameter sets: no container, no informative "
        "messages, no access unit or temporal delimiters. Bits per pixel are per pixel of the source.",
        "Rates": "vidtwin is run at every quality and short side. Each conventional codec is then run at five or more "
        "rates, spread by equal ratios over the same bytes as far as its quality setting reaches; where it does not, "
        "the text under the plots says so.",
        "Settings": "Encoders are tuned for PSNR where they have such a tuning, and use one pass of constant quality. "
        "“Whole-sequence GOP” puts key frames at the start and where the encoder finds a cut; "
        f"“closed {comparison.clip_frames}-frame GOPs” cut where the clips of a .vtw are cut, each decodable alone.",
        "Metrics": "Means over frames: PSNR and SSIM of RGB, PSNR-Y and VMAF of luma (model vmaf_v0.6.1).",
        "Bjøntegaard deltas": "By the Python package bjontegaard, with piecewise cubic interpolation (PCHIP) over the "
        f"logarithm of the rate, of vidtwin’s convex hull, where both curves have {LEAST_POINTS} points or more. The "
        "mean over clips is arithmetic.",
    }
    settings = [
        (f"{label}, {variant_name(variant, comparison.clip_frames)}", ways[variant.key])
        for label, ways in comparison.settings.items()
        for variant in comparison.variants
    ]
    lists = [
        ("Left out", [*comparison.missing.items(), *comparison.failed.items()]),
        ("Warnings", [(clip.name, warning) for clip in comparison.clips for warning in clip.warnings]),
    ]
    return fill("method.html", paragraphs=paragraphs, used=comparison.used, settings=settings, lists=lists)
