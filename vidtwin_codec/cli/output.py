"""What a verb says to programs: ``--json``, ``--progress`` and the state that they set for the whole command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from vidtwin_codec.text import to_json

F = TypeVar("F", bound=Callable[..., Any])
PROGRESS = ("auto", "json", "none")


@dataclass
class OutputState:
    """How the command that runs talks.

    Attributes:
        json: whether standard output is for programs.
        progress: one of :data:`PROGRESS`.
    """

    json: bool = False
    progress: str = "auto"

    def event(self, kind: str, **values: Any) -> None:
        """One line of JSON on standard error."""
        click.echo(to_json({"event": kind, **values}), err=True)


def output_state() -> OutputState:
    """That of the command that runs; the defaults where none does."""
    context = click.get_current_context(silent=True)
    return OutputState() if context is None else context.find_root().ensure_object(OutputState)


def _note_json(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    context.find_root().ensure_object(OutputState).json = value
    return value


def _note_progress(context: click.Context, parameter: click.Parameter, value: str) -> None:
    context.find_root().ensure_object(OutputState).progress = value


def json_option(
    help: str = "Print one JSON object a file on standard output; of a failure, its error.",
) -> Callable[[F], F]:
    """``--json``, as the argument ``as_json``; a failure is then told in JSON, too."""
    return click.option("--json", "as_json", is_flag=True, callback=_note_json, help=help)


def progress_option(function: F) -> F:
    """``--progress``; nothing is passed to the verb."""
    return click.option(
        "--progress",
        type=click.Choice(PROGRESS),
        default="auto",
        show_default=True,
        expose_value=False,
        callback=_note_progress,
        help="Show progress on standard error: auto draws a bar on a terminal and elsewhere writes a line every 10 "
        "seconds, json writes one JSON object a line, none is silent.",
    )(function)


def force_option(help: str = "Replace an existing output.") -> Callable[[F], F]:
    """``--force``."""
    return click.option("-f", "--force", is_flag=True, help=help)


def quiet_option(function: F) -> F:
    """``--quiet``."""
    return click.option("-q", "--quiet", is_flag=True, help="Print only errors.")(function)


def print_json(values: dict[str, Any]) -> None:
    """One line of JSON on standard output."""
    click.echo(to_json(values))
