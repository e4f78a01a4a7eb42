"""Which weights run, where, and how."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkOptions:
    """Which weights run where."""

    weights: str | None = None
    """A name, a file or the first digits of a SHA-256. None: ``mini`` for encoding; for decoding, those that the
    .vtw names."""
    device: str = "auto"
    precision: str = "auto"
    batch: int | None = None
    """Tiles in one call of the network; None chooses from the memory of the device."""
