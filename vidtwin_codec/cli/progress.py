"""How far a verb is: a line that fits the terminal, lines now and then elsewhere, or events for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress import Progress, Task
from rich.progress_bar import ProgressBar
from rich.segment import Segment

from vidtwin_codec.cli.meter import Meter, event_reporter, line_reporter, metered, silent_reporter
from vidtwin_codec.cli.output import output_state
from vidtwin_codec.cli.screen import EventScreen, Screen
from vidtwin_codec.reporter import Reporter
from vidtwin_codec.text import printable

_BAR = (8, 40)
"""Cells of a bar: where there are fewer, there is none."""
_LABEL = (8, 48)
"""Cells of what stands before it."""


@dataclass(frozen=True)
class Line:
    """One line: a label, a bar, and a note, which together are never wider than the terminal.

    Attributes:
        label: what is worked on.
        share: how much of it is done, 0 to 1; None: unknown.
        notes: what to say of it, the longest first; the first that fits is shown.
    """

    label: str
    share: float | None
    notes: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Fit it to the width there is."""
        label, width, note = self.layout(options.max_width)
        yield Segment(label)
        if width:
            bar = ProgressBar(1.0, self.share or 0.0, width=width, pulse=self.share is None)
            yield Segment("  ")
            yield from console.render(bar, options.update(width=width))
        yield Segment(f"  {note}" if note else "")
        yield Segment.line()

    def layout(self, room: int) -> tuple[str, int, str]:
        """The label, the cells of the bar (0: none) and the note that fit into ``room`` cells."""
        label = printable(self.label)
        wanted = min(cell_len(label), _LABEL[1])
        notes = list(self.notes) or [""]
        # where room is short, the label is cut first, then the bar goes, then the note is shortened
        note = next((note for note in notes if room - cell_len(note) - 2 >= min(wanted, _LABEL[0])), "")
        beside = room - cell_len(note) - 4
        for least in (wanted, min(wanted, _LABEL[0] * 2)):
            if beside - least >= _BAR[0]:
                return _cut(label, least), min(_BAR[1], beside - least), note
        return _cut(label, max(1, min(wanted, room - cell_len(note) - 2))), 0, note


def _cut(text: str, cells: int) -> str:
    """``text``, with an ellipsis in place of what does not fit."""
    return text if cell_len(text) <= cells else set_cell_size(text, cells - 1) + "…"


class Lines(Progress):
    """rich's progress, drawn as :class:`Line` of each task: fields ``label`` and ``notes``, a list or what makes it."""

    def make_tasks_table(self, tasks: Iterable[Task]) -> RenderableType:  # type: ignore[override]
        """All visible tasks, one a line."""
        return Group(*(_line(task) for task in tasks if task.visible))


def _line(task: Task) -> Line:
    notes = task.fields["notes"]
    share = task.completed / task.total if task.total else None
    return Line(task.description, share, notes() if callable(notes) else notes)


@contextmanager
def progress(label: str, screen: Screen) -> Iterator[Reporter]:
    """A reporter of a verb's progress.

    It draws a line on a terminal, writes one now and then elsewhere, and with ``--progress json`` writes events.

    Args:
        label: of the verb.
        screen: standard error.
    """
    wanted = output_state().progress
    if isinstance(screen, EventScreen) or wanted == "none":
        yield event_reporter(label) if isinstance(screen, EventScreen) else silent_reporter(screen.print)
    elif not screen.is_terminal:
        yield line_reporter(label, screen.print)
    else:
        with Lines(console=screen, transient=True) as bars:
            yield _bar_reporter(label, screen, bars)


def _bar_reporter(label: str, screen: Screen, bars: Lines) -> Reporter:
    meter = Meter(label)
    task = bars.add_task(label, total=None, notes=lambda: meter.notes)

    def began() -> None:
        doing = f" ({meter.doing})" if meter.doing else ""
        bars.reset(task, total=meter.total, description=f"{label}{doing}")

    return metered(meter, began, lambda: bars.update(task, completed=meter.done), screen.print)
