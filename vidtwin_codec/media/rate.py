"""From timestamps to one constant frame rate: exact where there is one, the best substitute where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

DEFAULT_FPS = Fraction(25)

_NTSC = tuple(Fraction(rate * 1000, 1001) for rate in (24, 30, 48, 60, 72, 90, 120, 144, 240))
STANDARD_RATES = tuple(
    sorted(
        (*_NTSC, *(Fraction(rate) for rate in (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 72, 75, 90, 100, 120, 144, 240)))
    )
)
# Containers store rounded rates and durations (41.708 ms); neighbouring standards are 1e-3 apart.
_SNAP = Fraction(1, 4000)
# No codec shows a frame more than this many frames after it was stored.
_REORDERED = 16
# Rates beyond this stand for timestamps that are noise, not for pictures a second.
_LIMITS = (Fraction(1, 1000), Fraction(1000))


@dataclass(frozen=True)
class Rate:
    """``fps`` exact; ``variable`` if frames must be repeated or dropped to keep it; ``frames`` at that rate."""

    fps: Fraction
    variable: bool
    frames: int


def measure_rate(
    pts: NDArray[np.int64], tick: Fraction, last_duration: int, stated: Fraction | None, *, cut: bool = False
) -> Rate:
    """Find the constant rate of the frames shown at ``pts``.

    Args:
        pts: times of presentation in ascending order, one per frame, in units of ``tick``.
        tick: seconds.
        last_duration: how long the last frame is shown, in ticks; 0 if unknown.
        stated: the rate that the container or the stream claims.
        cut: the file ends in the middle, so that the last frames lack some of their neighbours.

    A rate is the clip's own if no frame is as much as half a frame away from where that rate puts it: showing every
    frame once is then right, and jitter (a phone's, or a container that counts milliseconds) does not matter.
    """
    count = len(pts)
    claimed = _snap(stated) if stated and _LIMITS[0] <= stated <= _LIMITS[1] else None
    if cut and count > 2 * _REORDERED:
        whole = measure_rate(pts[:-_REORDERED], tick, last_duration, stated)
        if not whole.variable:
            return Rate(whole.fps, False, count)
    span = int(pts[-1] - pts[0]) if count else 0
    if count < 2 or span <= 0:
        return Rate(claimed or _from_interval(last_duration, tick) or DEFAULT_FPS, False, count)
    mean = Fraction(count - 1) / (span * tick)
    steps = np.diff(pts)
    even = Fraction(1) / (int(steps[0]) * tick) if bool((steps == steps[0]).all()) else None
    near = sorted(STANDARD_RATES, key=lambda rate: abs(rate - mean))[:3]
    # Ticks nearly as long as a frame count frames: then an even step is the rate. Fine ticks may be rounded times.
    exact = even if tick * mean > Fraction(1, 20) else None
    simple = [mean.limit_denominator(limit) for limit in (10, 100, 1001)]
    candidates = [rate for rate in (exact, claimed, even and _snap(even), even, *near, *simple) if rate]
    # Times rounded to ticks first, then times rounded more than once, then anything that still is one frame each; but
    # not a rate that only spreads a gap in an otherwise steady recording over all its frames.
    own = _steady_rate(steps, tick)
    loose = candidates if own is None else [own]
    for tolerance, rates in (
        (float(tick * mean) * 0.51, candidates),
        (float(tick * mean) * 1.1, candidates),
        (0.5, loose),
    ):
        for rate in rates:
            if _furthest(pts, tick, rate) < min(tolerance, 0.5):
                return Rate(rate, False, count)
    return _substitute(pts, steps, tick, last_duration)


def _substitute(pts: NDArray[np.int64], steps: NDArray[np.int64], tick: Fraction, last_duration: int) -> Rate:
    usual = int(np.median(steps))
    seconds = (int(pts[-1] - pts[0]) + (last_duration or usual)) * tick
    mean = Fraction(len(pts)) / seconds
    fps = _snap(mean, Fraction(1, 200))
    if fps == mean:
        fps = _short(mean)
    # A steady recording with frames left out keeps its own rate; anything else gets as many frames as it had.
    own = _steady_rate(steps, tick)
    if own is not None and own * seconds <= 2 * len(pts):
        fps = own
    # What ffmpeg's fps filter makes of it: times rounded to the nearest frame, the end too.
    return Rate(fps, True, max(1, int(seconds * fps + Fraction(1, 2))))


def _steady_rate(steps: NDArray[np.int64], tick: Fraction) -> Fraction | None:
    """The rate that nine in ten frames follow each other at; None if there is none."""
    usual = int(np.median(steps))
    if usual <= 0 or float(np.mean(np.abs(steps - usual) <= 0.15 * usual)) < 0.9:
        return None
    return _snap(Fraction(1) / (usual * tick), Fraction(1, 50))


def _furthest(pts: NDArray[np.int64], tick: Fraction, rate: Fraction) -> float:
    """The largest distance, in frames, of any frame from its place at ``rate``, the grid shifted to fit best."""
    away = (pts - pts[0]) * float(tick * rate) - np.arange(len(pts))
    return float(away.max() - away.min()) / 2


def _snap(rate: Fraction, tolerance: Fraction = _SNAP) -> Fraction:
    nearest = min(STANDARD_RATES, key=lambda standard: abs(standard - rate))
    return nearest if abs(nearest - rate) <= tolerance * rate else rate


def _short(rate: Fraction) -> Fraction:
    return max(rate.limit_denominator(1001), _LIMITS[0])


def _from_interval(duration: int, tick: Fraction) -> Fraction | None:
    rate = Fraction(1) / (duration * tick) if duration > 0 else None
    return _snap(rate) if rate and _LIMITS[0] <= rate <= _LIMITS[1] else None
