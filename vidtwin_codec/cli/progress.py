"""How far a verb is: a line that fits the terminal, lines now and then elsewhere, or events for programs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress import Progress, Task
from rich.progress_bar import ProgressBar
from rich.segment import Segment

from vidtwin_codec.cli.output import output_state
from vidtwin_codec.cli.screen import EventScreen, Screen, clock, counted
from vidtwin_codec.options import Reporter
from vidtwin_codec.text import printable

PLAIN_LINE_SECONDS = 10.0
EVENT_SECONDS = 0.5
_BAR = (8, 40)
"""Cells of a bar: where there are fewer, there is none."""
_LABEL = (8, 48)
"""Cells of what stands before it."""


@dataclass
class Meter:
    """Counts of one stage of a verb.

    Attributes:
        label: of the verb.
        doing: the stage, and the device it runs on; may be empty.
        unit: what is counted, in the singular.
        total: how many there are, if known.
        done: how many are finished.
        began: when the stage began, by the monotonic clock.
    """

    label: str
    doing: str = ""
    unit: str = "frame"
    total: int | None = None
    done: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Things a second, 0 before there is any."""
        return self.done / max(time.monotonic() - self.began, 1e-3)

    @property
    def left(self) -> float | None:
        """Seconds until the stage is done, at the rate so far; None where nothing tells."""
        if not self.total or not self.done:
            return None
        return max(0, self.total - self.done) / self.rate

    @property
    def notes(self) -> list[str]:
        """Count, rate and time left, from the longest to the shortest way of saying them."""
        of = f"{self.done}/{self.total}" if self.total else str(self.done)
        if not self.done:
            return [f"{of} {self.unit}s", of]
        speed = f"{self.rate:.1f} fps" if self.unit == "frame" else f"{_rounded(self.rate)} {self.unit}s/s"
        left = "" if self.left is None else f", {clock(self.left)} left"
        return [f"{of} {self.unit}s, {speed}{left}", f"{of}, {speed}{left}", f"{of}{left}", of]

    def event(self) -> dict[str, object]:
        """The values of a ``progress`` event."""
        values = {"verb": self.label, "stage": self.doing, "unit": self.unit, "done": self.done, "total": self.total}
        left = self.left
        return {**values, "rate": round(self.rate, 3), "seconds_left": None if left is None else round(left, 1)}


def _rounded(rate: float) -> str:
    return f"{rate:.{max(0, 1 - math.floor(math.log10(rate)))}f}" if 0 < rate < 10 else f"{rate:.0f}"


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
        yield _event_reporter(label) if isinstance(screen, EventScreen) else _silent_reporter(screen)
    elif not screen.is_terminal:
        yield _plain_reporter(label, screen)
    else:
        with Lines(console=screen, transient=True) as bars:
            yield _bar_reporter(label, screen, bars)


def _reporter(meter: Meter, began: Callable[[], None], moved: Callable[[], None], screen: Screen) -> Reporter:
    unit = "frame"

    def counting(thing: str) -> None:
        nonlocal unit
        unit = thing

    def started(total: int | None, doing: str) -> None:
        nonlocal unit
        # a verb of several stages starts each
        meter.unit, meter.total, meter.doing, meter.done, meter.began = unit, total, doing, 0, time.monotonic()
        unit = "frame"
        began()

    def advanced(count: int) -> None:
        meter.done += count
        moved()

    return Reporter(started, advanced, lambda text: screen.print(f"warning: {text}"), screen.print, counting)


def _bar_reporter(label: str, screen: Screen, bars: Lines) -> Reporter:
    meter = Meter(label)
    task = bars.add_task(label, total=None, notes=lambda: meter.notes)

    def began() -> None:
        doing = f" ({meter.doing})" if meter.doing else ""
        bars.reset(task, total=meter.total, description=f"{label}{doing}")

    return _reporter(meter, began, lambda: bars.update(task, completed=meter.done), screen)


def _plain_reporter(label: str, screen: Screen) -> Reporter:
    meter, due = Meter(label), time.monotonic() + PLAIN_LINE_SECONDS

    def began() -> None:
        parts = [meter.doing, counted(meter.total, meter.unit) if meter.total else ""]
        said = ", ".join(filter(None, parts))
        screen.print(f"{label}: {said}" if said else label)

    def moved() -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + PLAIN_LINE_SECONDS
            screen.print(f"{label}: {meter.notes[0].replace('/', ' of ', 1) if meter.total else meter.notes[0]}")

    return _reporter(meter, began, moved, screen)


def _silent_reporter(screen: Screen) -> Reporter:
    return Reporter(warned=lambda text: screen.print(f"warning: {text}"), said=screen.print)


def _event_reporter(label: str) -> Reporter:
    state, meter, due = output_state(), Meter(label), 0.0

    def tell(kind: str) -> None:
        nonlocal due
        due = time.monotonic() + EVENT_SECONDS
        state.event(kind, **meter.event())

    def moved() -> None:
        if time.monotonic() >= due or meter.done == meter.total:
            tell("progress")

    told = _reporter(meter, lambda: tell("started"), moved, Screen(stderr=True, quiet=True))
    return Reporter(
        told.started,
        told.advanced,
        lambda text: state.event("warning", text=text),
        lambda text: state.event("message", text=text),
        told.counting,
    )
