"""The time limit of a calibration, and reports of its progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

TELL_EVERY = 5.0
"""Seconds between two reports."""


class Clock:
    """A clock that starts when it is made.

    Args:
        seconds: time limit; None for none.
        say: receives reports of progress.

    Attributes:
        seconds: the time limit; None for none.
        late: whether something was left out for lack of time.
    """

    def __init__(self, seconds: float | None = None, say: Callable[[str], None] = lambda line: None) -> None:
        self.seconds, self._say = seconds, say
        self.late = False
        self._began = self._told = time.monotonic()

    def within(self, things: Sequence[T], until: float, doing: str, least: int = 1) -> Iterator[T]:
        """Yield things one after another until a share of the time is over.

        Args:
            things: what to go through.
            until: share of the time limit, counted from the start of the clock, 0 to 1.
            doing: what is done with the things, in words.
            least: number of things that are gone through however long it takes.
        """
        for number, thing in enumerate(things):
            if number >= least and self.seconds is not None and self._passed() >= until * self.seconds:
                self.late = True
                return
            self.tell(f"{doing}, {number} of {len(things)}")
            yield thing

    def tell(self, doing: str) -> None:
        """Report what is being done, if the last report is some seconds old."""
        now = time.monotonic()
        if now - self._told >= TELL_EVERY:
            self._told = now
            self._say(f"calibrating: {doing} ({self._passed():.0f} s)")

    def _passed(self) -> float:
        return time.monotonic() - self._began
