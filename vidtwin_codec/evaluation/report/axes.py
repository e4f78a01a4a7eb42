"""Scales and ticks of a plot, in its own units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Maps values from ``low`` … ``high`` to pixels ``start`` … ``end``, evenly or by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)


def log_range(values: Sequence[float]) -> tuple[float, float]:
    """A range that leaves room on both sides."""
    room = max((max(values) / min(values)) ** 0.05, 1.05)
    return min(values) / room, max(values) * room


def linear_range(values: Sequence[float]) -> tuple[float, float]:
    """Likewise, for even spacing."""
    room = max(0.06 * (max(values) - min(values)), 1e-3)
    return min(values) - room, max(values) + room


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of every decade in the range."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [tick for decade in decades for step in (1, 2, 5) if low <= (tick := step * 10.0**decade) <= high]


def linear_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, not many more than ``most``."""
    unit = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(unit * factor for factor in (1, 2, 5, 10) if (high - low) / (unit * factor) <= most)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Find places near the wanted ones, at least ``gap`` apart, from ``low`` to ``high`` as far as they fit."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    places = [0.0] * len(wanted)
    at = low - gap
    for index in order:
        at = places[index] = max(wanted[index], at + gap)
    limit = high
    for index in reversed(order):
        places[index] = min(places[index], limit)
        limit = places[index] - gap
    return places
