"""Where progress and warnings go."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass


def _ignore(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Reporter:
    """Where progress and warnings go while a file is worked on; by default nowhere."""

    started: Callable[[int | None, str], None] = _ignore
    """Called once with the number of frames, if known, and the device and precision in use."""
    advanced: Callable[[int], None] = _ignore
    """Called with the number of frames just finished."""
    warned: Callable[[str], None] = _ignore

    def stage(self, name: str) -> Reporter:
        """The same, saying what is being done."""
        return dataclasses.replace(self, started=lambda total, device: self.started(total, f"{name} on {device}"))
