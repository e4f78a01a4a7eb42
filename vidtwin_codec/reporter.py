"""Where progress and warnings go: the one model of everything that takes long. Needs nothing but Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass


def _ignore(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Reporter:
    """Where progress, messages and warnings go while something is worked on; by default nowhere.

    Everything that takes long takes one: encoding, decoding, measuring, comparing, batches, importing and fetching
    weights, calibration and training. A stage starts with a total, if that is known, and advances to it; what shows it
    makes count, rate and time left of that.
    """

    started: Callable[[int | None, str], None] = _ignore
    """Called as a stage begins: with the number of things, if known, and what is done or the device in use."""
    advanced: Callable[[int], None] = _ignore
    """Called with the number of things just finished."""
    warned: Callable[[str], None] = _ignore
    """Called with what went wrong and was worked around, in one line."""
    said: Callable[[str], None] = _ignore
    """Called with what has been done or is about to be, in one line."""
    counting: Callable[[str], None] = _ignore
    """Called before ``started`` where a stage counts other things than frames: with ``"step"``, ``"byte"`` or
    ``"second"``, say."""

    doing: str = ""
    """What stages within stages are part of, in words; see :meth:`stage`."""
    base: Reporter | None = None
    """The reporter that all stages were made of; None for this one itself."""

    def stage(self, name: str, unit: str = "frame") -> Reporter:
        """The same, saying what is being done.

        Args:
            name: what, in words; of a stage within a stage, beside the name of that.
            unit: what is counted, in the singular.
        """
        base, doing = self.base or self, f"{self.doing}, {name}" if self.doing else name

        def started(total: int | None, device: str) -> None:
            base.counting(unit)
            base.started(total, f"{doing} on {device}" if device else doing)

        return dataclasses.replace(self, started=started, doing=doing, base=base)
