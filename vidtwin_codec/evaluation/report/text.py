"""Numbers and settings in words, and the templates beside this file, which are part of the package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from vidtwin_codec.evaluation.compare.results import Variant

NO_VALUE = "–"
NBSP = "\N{NO-BREAK SPACE}"


def resource(name: str) -> str:
    """The text of one of the HTML, CSS and JavaScript files."""
    return files("vidtwin_codec.evaluation.report").joinpath(name).read_text(encoding="utf-8")


def fill(name: str, **values: Any) -> Markup:
    """A template with its values: text is escaped, `Markup` is taken as it is, and nothing may be missing."""
    return Markup(_templates().get_template(name).render(values))


@cache
def _templates() -> Environment:
    found = Environment(
        loader=FunctionLoader(resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["resource"] = lambda name: Markup(resource(name))  # a style or a script, not text
    return found


def kilobytes(count: int) -> str:
    """Bytes as people read them: 843 B, 12.4 kB."""
    return f"{count} B" if count < 1000 else f"{count / 1000:.1f} kB"


def signed(value: float, digits: int) -> str:
    """Write a number with its sign, and a real minus."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−")


def percent(share: float) -> str:
    """Whole percents; what is not nothing does not read as nothing."""
    return f"<1{NBSP}%" if 0 < share < 0.005 else f"{100 * share:.0f}{NBSP}%"


def variant_name(variant: Variant, clip_frames: int) -> str:
    """The way conventional codecs were run, for people."""
    return f"{variant.preset}, {gop_name(variant, clip_frames)}"


def gop_name(variant: Variant, clip_frames: int) -> str:
    """Name the GOP structure of a variant; closed GOPs have ``clip_frames`` frames."""
    return "whole-sequence GOP" if variant.gop == "sequence" else f"closed {clip_frames}-frame GOPs"
