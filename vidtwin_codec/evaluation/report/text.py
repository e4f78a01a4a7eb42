"""Numbers and settings in words."""

from __future__ import annotations

from vidtwin_codec.evaluation.compare.results import Variant

NO_VALUE = "–"
NBSP = "\N{NO-BREAK SPACE}"


def kilobytes(count: int) -> str:
    """Bytes as people read them: 843 B, 12.4 kB."""
    return f"{count} B" if count < 1000 else f"{count / 1000:.1f} kB"


def signed(value: float, digits: int) -> str:
    """With its sign, and a real minus."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−")


def percent(share: float) -> str:
    """Whole percents; what is not nothing does not read as nothing."""
    return f"<1{NBSP}%" if 0 < share < 0.005 else f"{100 * share:.0f}{NBSP}%"


def count(number: int, thing: str) -> str:
    """1 clip, 2 clips."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def variant_name(variant: Variant, clip_frames: int) -> str:
    """The way conventional codecs were run, for people."""
    return f"{variant.preset}, {gop_name(variant, clip_frames)}"


def gop_name(variant: Variant, clip_frames: int) -> str:
    """Name the GOP structure of a variant; closed GOPs have ``clip_frames`` frames."""
    return "whole-sequence GOP" if variant.gop == "sequence" else f"closed {clip_frames}-frame GOPs"
