"""Who wins, by how much, in sentences."""

from __future__ import annotations

from vidtwin_codec.evaluation.compare.bd import MeanDelta, mean_delta
from vidtwin_codec.evaluation.compare.results import Comparison, Variant
from vidtwin_codec.evaluation.report.text import NBSP, gop_name, percent
from vidtwin_codec.text import counted

LITTLE = 0.1
"""Curves that share less of their range than this give no mean worth saying in a sentence; it stands in the table."""


def introduction(comparison: Comparison) -> str:
    """Say what the verdicts are about."""
    clips = comparison.clips
    means = "On the one clip" if len(clips) == 1 else f"Means over {len(clips)} clips, unless fewer are named"
    return (
        f"{means}. Differences at equal bytes are BD-PSNR and BD-VMAF, those at equal PSNR are BD-rates; both are "
        "means over what two curves share, and a small overlap makes them less telling."
    )


def verdicts(comparison: Comparison) -> list[tuple[str, str]]:
    """For each conventional codec its label and a few sentences, also for those that were left out. Plain text."""
    found = [(label, _verdict(comparison, codec, label)) for codec, label in comparison.codecs.items()]
    return found + [(label, f"was left out: {reason}.") for label, reason in comparison.missing.items()]


def _verdict(comparison: Comparison, codec: str, label: str) -> str:
    first, *rest = (_of_variant(comparison, codec, label, variant) for variant in comparison.variants)
    return " ".join([first, *(f"{label} {sentence}" for sentence in rest)])


def _of_variant(comparison: Comparison, codec: str, label: str, variant: Variant) -> str:
    psnr = mean_delta(comparison.clips, codec, variant, "psnr")
    vmaf = mean_delta(comparison.clips, codec, variant, "vmaf")
    way = f"{variant.preset}, {gop_name(variant, comparison.clip_frames)}"
    if psnr is None:
        return f"({way}) gave no result."
    if psnr.quality is None:
        return (
            "; ".join([f"({way}) cannot be compared with vidtwin at equal bytes: {psnr.reason}", *_bytes(psnr)]) + "."
        )
    parts = [_winner(psnr.quality, way)]
    if vmaf is not None and vmaf.quality is not None:
        same = (psnr.quality > 0) == (vmaf.quality > 0)
        ahead = "vidtwin" if vmaf.quality > 0 else label
        points = f"{abs(vmaf.quality):.1f} points of VMAF"
        parts[0] += f" and {points}" if same else f", but {ahead} is {points} ahead"
    return "; ".join([parts[0] + _reach(psnr.quality_clips, psnr.clips), *_bytes(psnr)]) + "."


def _winner(ahead: float, way: str) -> str:
    by = f"by {abs(ahead):.2f}{NBSP}dB of PSNR"
    return f"({way}) {'loses to' if ahead > 0 else 'beats'} vidtwin at equal bytes {by}"


def _bytes(found: MeanDelta) -> list[str]:
    parts = []
    if found.rate is not None:
        times = 1 + found.rate / 100
        if times > 2:
            takes = f"{times:.1f} times the bytes"
        else:
            takes = f"{abs(found.rate):.0f}{NBSP}% {'more' if found.rate > 0 else 'fewer'} bytes"
        reach, overlap = _reach(found.rate_clips, found.clips), percent(found.rate_overlap or 0)
        if (found.rate_overlap or 0) < LITTLE:
            parts.append(
                f"the curves share too little quality ({overlap}{reach}) to say how many bytes equal PSNR takes"
            )
        else:
            parts.append(f"for equal PSNR vidtwin takes {takes}{reach}, where the curves overlap by {overlap}")
    for number, side in ((found.all_better, "better than vidtwin’s best"), (found.all_worse, "worse than its worst")):
        if number:
            where = "" if number == found.clips else f" on {number} of {counted(found.clips, 'clip')}"
            parts.append(f"every encoding measured{where} is {side}, so no bytes at equal PSNR can be given")
    return parts


def _reach(some: int, every: int) -> str:
    return "" if some == every else f" (over {some} of {every} clips)"
