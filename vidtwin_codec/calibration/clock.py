"""The time limit of a calibration, and reports of its progress."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from vidtwin_codec.reporter import Reporter

T = TypeVar("T")


class Clock:
    """A clock that starts when it is made.

    Args:
        seconds: time limit; None for none.
        reporter: receives progress.

    Attributes:
        seconds: the time limit; None for none.
        late: whether something was left out for lack of time.
        reporter: receives progress.
    """

    def __init__(self, seconds: float | None = None, reporter: Reporter | None = None) -> None:
        self.seconds, self.reporter = seconds, reporter or Reporter()
        self.late = False
        self._began = time.monotonic()

    def within(
        self, things: Sequence[T], until: float, doing: str, least: int = 1, *, unit: str = "clip"
    ) -> Iterator[T]:
        """Yield things one after another until a share of the time is over.

        Args:
            things: what to go through.
            until: share of the time limit, counted from the start of the clock, 0 to 1.
            doing: what is done with the things, in words.
            least: number of things that are gone through however long it takes.
            unit: what each of them is.
        """
        self.reporter.stage(doing, unit).started(len(things), "")
        for number, thing in enumerate(things):
            if number >= least and self.seconds is not None and self._passed() >= until * self.seconds:
                self.late = True
                return
            yield thing
            self.reporter.advanced(1)

    def _passed(self) -> float:
        return time.monotonic() - self._began
