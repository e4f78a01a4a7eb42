"""The files beside this one: they are part of the package, and of every page."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup


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
