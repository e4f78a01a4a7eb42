"""Sphinx: the pages in docs/, and references made of docstrings and click commands. ``make docs`` builds them."""

from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

import vidtwin_codec

project = "vidtwin"
author = "the vidtwin authors"
release = vidtwin_codec.__version__

smartquotes = False  # commands can be copied
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_display_short_literal_types = True

html_theme = "furo"
html_title = f"vidtwin {release}"
html_show_sphinx = False

_SECTIONS = Config(napoleon_use_ivar=True)


def read_sections(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Args, Returns and Raises to fields.

    The extension napoleon would take what stands before a colon in an attribute's docstring for a type.
    """
    if what not in ("attribute", "property"):
        lines[:] = GoogleDocstring(lines, _SECTIONS, app, what, name, obj, options).lines()


def keep_stars(app: Sphinx, ctx: Any, lines: list[str]) -> None:
    """A command's help is plain text: a star in a pattern is not emphasis."""
    lines[:] = [line.replace("*", r"\*") for line in lines]


def setup(app: Sphinx) -> None:
    app.connect("sphinx-click-process-description", keep_stars)
    app.connect("autodoc-process-docstring", read_sections)
