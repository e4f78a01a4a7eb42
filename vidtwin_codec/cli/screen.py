"""What people read on standard error and output."""

from __future__ import annotations

import textwrap
from typing import Any

from rich.console import Console
from rich.text import Text

from vidtwin_codec.cli.output import output_state
from vidtwin_codec.text import printable


class Screen(Console):
    """A console that shows texts as they are, but obeys none: no markup, no emoji names, no control characters."""

    def __init__(self, *, stderr: bool = False, quiet: bool = False, width: int | None = None) -> None:
        super().__init__(
            stderr=stderr, quiet=quiet, width=width, highlight=False, soft_wrap=True, markup=False, emoji=False
        )

    def render_str(self, text: str, **choices: Any) -> Text:
        """Every text that is printed as such, or stands in a table, passes here."""
        return super().render_str(printable(text), **choices)

    def print(self, *objects: Any, **choices: Any) -> None:
        """As rich's; on a terminal a line of text breaks between words."""
        if len(objects) == 1 and isinstance(objects[0], str) and self.is_terminal:
            objects = (Text("\n".join(broken(objects[0], self.width))),)
        super().print(*objects, **choices)


class EventScreen(Screen):
    """Standard error as lines of JSON: texts become events, tables are left out."""

    def print(self, *objects: Any, **choices: Any) -> None:
        """One event for each text."""
        for text in objects:
            if isinstance(text, str) and not self.quiet:
                output_state().event("message", text=text)


def console(quiet: bool = False) -> Screen:
    """Where people read: standard error."""
    wanted = EventScreen if output_state().progress == "json" else Screen
    return wanted(stderr=True, quiet=quiet)


def broken(text: str, width: int) -> list[str]:
    """The lines of a text that is broken between words; a word that is wider than ``width`` stays whole."""
    shown = printable(text)
    if len(shown) <= width:
        return [shown]
    lines = textwrap.wrap(shown, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return lines or [""]
