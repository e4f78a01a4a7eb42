"""The time that calibrating may take, and word of how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

TELL_EVERY = 5.0
"""Seconds."""


class Clock:
    """Runs from its making.

    Attributes:
        seconds: there are in all; None for no end.
        late: whether something was left out.
    """

    def __init__(self, seconds: float | None = None, say: Callable[[str], None] = lambda line: None) -> None:
        self.seconds, self._say = seconds, say
        self.late = False
        self._began = self._told = time.monotonic()

    def within(self, things: Sequence[T], until: float, doing: str, least: int = 1) -> Iterator[T]:
        """Things one after another until a share of the time is up.

        Args:
            things: to go through.
            until: share of the time, counted from the beginning of the clock.
            doing: what is done with them, in words.
            least: so many are gone through however long that takes.
        """
        for number, thing in enumerate(things):
            if number >= least and self.seconds is not None and self._passed() >= until * self.seconds:
                self.late = True
                return
            self.tell(f"{doing}, {number} of {len(things)}")
            yield thing

    def tell(self, doing: str) -> None:
        """Say what is done, if nothing has been said for some seconds."""
        now = time.monotonic()
        if now - self._told >= TELL_EVERY:
            self._told = now
            self._say(f"calibrating: {doing} ({self._passed():.0f} s)")

    def _passed(self) -> float:
        return time.monotonic() - self._began
