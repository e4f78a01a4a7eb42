"""The files beside this one: they are part of the package, and of every page."""

from __future__ import annotations

from importlib.resources import files


def resource(name: str) -> str:
    """The text of one of the HTML, CSS and JavaScript files."""
    return files("vidtwin_codec.evaluation.report").joinpath(name).read_text(encoding="utf-8")
