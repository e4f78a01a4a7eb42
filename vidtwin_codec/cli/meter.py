"""How far a verb is, in numbers, in lines now and then, and as events for programs. Needs nothing but click."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from vidtwin_codec.cli.output import output_state
from vidtwin_codec.reporter import Reporter
from vidtwin_codec.text import clock, counted, human_bytes

PLAIN_LINE_SECONDS = 10.0
EVENT_SECONDS = 0.5


@dataclass
class Meter:
    """Counts of one stage of a verb.

    Attributes:
        label: of the verb.
        doing: the stage, and the device it runs on; may be empty.
        unit: what is counted, in the singular; bytes and seconds are put in words of their own.
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
        show = {"byte": human_bytes, "second": clock}.get(self.unit, str)
        units = "" if self.unit in ("byte", "second") else f" {self.unit}s"
        of = f"{show(self.done)}/{show(self.total)}" if self.total else show(self.done)
        if not self.done:  # before the first stage there is nothing to tell
            return [f"{of}{units}", of] if self.total or self.doing else []
        speed = {"frame": f", {self.rate:.1f} fps", "byte": f", {human_bytes(self.rate)}/s", "second": ""}.get(
            self.unit, f", {_rounded(self.rate)} {self.unit}s/s"
        )
        left = "" if self.left is None else f", {clock(self.left)} left"
        return [f"{of}{units}{speed}{left}", f"{of}{speed}{left}", f"{of}{left}", of]

    @property
    def start(self) -> str:
        """What begins, in words; empty where nothing is known."""
        total = self.total or 0
        size = {"byte": human_bytes, "second": clock}.get(self.unit, lambda count: counted(count, self.unit))(total)
        return ", ".join(filter(None, [self.doing, size if total else ""]))

    def event(self) -> dict[str, object]:
        """The values of a ``progress`` event."""
        values = {"verb": self.label, "stage": self.doing, "unit": self.unit, "done": self.done, "total": self.total}
        left = self.left
        return {**values, "rate": round(self.rate, 3), "seconds_left": None if left is None else round(left, 1)}


def _rounded(rate: float) -> str:
    return f"{rate:.{max(0, 1 - math.floor(math.log10(rate)))}f}" if 0 < rate < 10 else f"{rate:.0f}"


def metered(meter: Meter, began: Callable[[], None], moved: Callable[[], None], say: Callable[[str], None]) -> Reporter:
    """A reporter that keeps a meter.

    Args:
        meter: counts the stage that runs; a verb of several stages starts each.
        began: called when a stage has begun.
        moved: called when it has advanced.
        say: receives warnings and messages.
    """
    unit = "frame"

    def counting(thing: str) -> None:
        nonlocal unit
        unit = thing

    def started(total: int | None, doing: str) -> None:
        nonlocal unit
        meter.unit, meter.total, meter.doing, meter.done, meter.began = unit, total, doing, 0, time.monotonic()
        unit = "frame"
        began()

    def advanced(count: int) -> None:
        meter.done += count
        moved()

    return Reporter(started, advanced, lambda text: say(f"warning: {text}"), say, counting)


def line_reporter(label: str, say: Callable[[str], None]) -> Reporter:
    """A reporter that writes a line when a stage begins, and then one now and then.

    Args:
        label: of the verb.
        say: receives the lines.
    """
    meter, due = Meter(label), time.monotonic() + PLAIN_LINE_SECONDS

    def began() -> None:
        say(f"{label}: {meter.start}" if meter.start else label)

    def moved() -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + PLAIN_LINE_SECONDS
            say(f"{label}: {meter.notes[0].replace('/', ' of ', 1) if meter.total else meter.notes[0]}")

    return metered(meter, began, moved, say)


def silent_reporter(say: Callable[[str], None]) -> Reporter:
    """A reporter of warnings and messages alone."""
    return Reporter(warned=lambda text: say(f"warning: {text}"), said=say)


def event_reporter(label: str) -> Reporter:
    """A reporter that writes events on standard error.

    Args:
        label: of the verb.
    """
    state, meter, due = output_state(), Meter(label), 0.0

    def tell(kind: str) -> None:
        nonlocal due
        due = time.monotonic() + EVENT_SECONDS
        state.event(kind, **meter.event())

    def moved() -> None:
        if time.monotonic() >= due or meter.done == meter.total:
            tell("progress")

    told = metered(meter, lambda: tell("started"), moved, lambda text: None)
    return Reporter(
        told.started,
        told.advanced,
        lambda text: state.event("warning", text=text),
        lambda text: state.event("message", text=text),
        told.counting,
    )
