"""A search for the setting that gives a wanted value, in few measurements."""

from __future__ import annotations

from collections.abc import Callable

from vidtwin_codec.options.target import Band

_STEP = 0.01
"""Distance between settings; a quality with two decimals can be typed in again."""
_MARGIN, _WIDE_MARGIN = 0.05, 0.3
"""Least distance of a guess from both ends of its interval, as a share of it, so that every measurement narrows it. The
wider margin holds after two guesses on the same side, which straight lines along a bent curve give (the idea of the
Illinois method)."""


def find(
    measure: Callable[[float], float],
    band: Band,
    known: dict[float, float],
    *,
    start: float,
    slope: float,
    low: float = 0.0,
    high: float = 100.0,
    tries: int = 8,
) -> float:
    """Find the position whose value lies in ``band``, or the nearest one that was measured.

    The search assumes that values grow about linearly with the position (pass logarithms of what grows exponentially).
    Where they do not, the result is worse, but there are still at most ``tries`` measurements.

    Args:
        measure: position → value; not called twice for the same position.
        band: values that will do.
        known: position → value of earlier measurements; new ones are added.
        start: first position, if nothing is known.
        slope: growth of the value per unit of the position, until two measurements tell.
        low: lowest position.
        high: highest position.
        tries: most measurements.
    """
    for _ in range(tries):
        guess = _guess(band, known, start, slope, low, high)
        if guess in known:
            break
        known[guess] = measure(guess)
    return min(known, key=lambda position: (_distance(band, known[position]), position))


def _guess(band: Band, known: dict[float, float], start: float, slope: float, low: float, high: float) -> float:
    if not known:
        return _rounded(start, low, high)
    nearest = min(known, key=lambda position: (_distance(band, known[position]), position))
    if band.holds(known[nearest]):
        return nearest
    below = [position for position, value in known.items() if value < band.aim]
    above = [position for position, value in known.items() if value >= band.aim]
    if below and above:
        # the values nearest to the aim on both sides; their positions are in order but for noise
        left, right = max(below, key=known.__getitem__), min(above, key=known.__getitem__)
        share = (band.aim - known[left]) / (known[right] - known[left])
        last = list(known)[-2:]
        margin = _WIDE_MARGIN if len(known) > 2 and len({position in below for position in last}) == 1 else _MARGIN
        return _rounded(left + (right - left) * min(max(share, margin), 1 - margin), low, high)
    rise = _rise(known, slope)
    return _rounded(nearest + (band.aim - known[nearest]) / rise, low, high)


def _rise(known: dict[float, float], slope: float) -> float:
    """Compute the slope between the outermost two measurements, within 1/4 to 4 times ``slope``."""
    first, last = min(known), max(known)
    if first == last:
        return slope
    return min(max((known[last] - known[first]) / (last - first), slope / 4), slope * 4)


def _distance(band: Band, value: float) -> float:
    return abs(value - band.aim)


def _rounded(position: float, low: float, high: float) -> float:
    return round(min(max(round(position / _STEP) * _STEP, low), high), 2)
