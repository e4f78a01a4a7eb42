"""The constant frame rate of timestamps: exact where there is one, the best substitute where there is none."""

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
# No picture is shown further than this from its time, where its own rate does not put it there.
_NEAR_ENOUGH = 0.045
# Rates for pictures at long and uneven intervals: the first one that puts each of them at its time is taken. The
# lowest ones suit slides; half a frame of the last cheap one is near enough for anything.
_SLOW_RATES = tuple(Fraction(rate) for rate in (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 24, 25, 30))
_CHEAP_RATE = Fraction(12)
# A steady recording may become so many times as many frames by repeating over its gaps.
_MOST_REPEATS = 4
# The last picture of an animation may say that it stays for ever.
_LONGEST_HOLD = Fraction(3600)
# Rates beyond this stand for timestamps that are noise, not for pictures a second.
_LIMITS = (Fraction(1, 1000), Fraction(1000))


@dataclass(frozen=True)
class Rate:
    """A constant frame rate.

    Attributes:
        fps: exact frames a second.
        variable: whether frames must be repeated or dropped to keep the rate.
        frames: number of frames at that rate.
        shift: frames by which pictures come late, on the whole, on a grid that begins with the first one.
    """

    fps: Fraction
    variable: bool
    frames: int
    shift: float = 0.0


def measure_rate(
    pts: NDArray[np.int64],
    tick: Fraction,
    last_duration: int,
    stated: Fraction | None,
    *,
    cut: bool = False,
    certain: bool = False,
) -> Rate:
    """Find the constant rate of the frames shown at ``pts``.

    Args:
        pts: presentation times in ascending order, one per frame, in units of ``tick``.
        tick: unit of times in seconds.
        last_duration: duration of the last frame in ticks; 0 if unknown.
        stated: the rate that the container or the stream states.
        cut: whether the file ends in the middle, so that the last frames lack some of their neighbours.
        certain: whether ``last_duration`` is stored and not guessed; the last frame is then held for that time.

    A rate is the clip's own if no frame is as much as half a frame away from where that rate puts it: showing every
    frame once is then right, and jitter (a phone's, or a container that counts milliseconds) does not matter.
    """
    count = len(pts)
    claimed = _snap(stated) if stated and _LIMITS[0] <= stated <= _LIMITS[1] else None
    if cut and count > 2 * _REORDERED:
        whole = measure_rate(pts[:-_REORDERED], tick, last_duration, stated)
        if not whole.variable:
            return Rate(whole.fps, False, count, whole.shift)
    last_duration = min(last_duration, int(_LONGEST_HOLD / tick))
    held = Fraction(last_duration) * tick if certain and not cut else Fraction(0)
    span = int(pts[-1] - pts[0]) if count else 0
    if count < 2 or span <= 0:
        return _constant(pts, tick, claimed or _from_interval(last_duration, tick) or DEFAULT_FPS, held)
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
    own = _claimed_steps(steps, tick, claimed)
    if own is None:
        own = _steady_rate(steps, tick)
        loose = candidates if own is None else [own]
        for tolerance, rates in (
            (float(tick * mean) * 0.51, candidates),
            (float(tick * mean) * 1.1, candidates),
            (0.5, loose),
        ):
            for rate in rates:
                allowed = min(tolerance, 0.5, max(_NEAR_ENOUGH * float(rate), float(tick * rate) * 0.51))
                if _away(pts, tick, rate)[1] < allowed:
                    return _constant(pts, tick, rate, held)
    usual = int(np.median(steps))
    if not certain:
        last_duration = min(last_duration or usual, 2 * usual)
    return _substitute((pts - pts[0]) * float(tick), (span + (last_duration or usual)) * tick, own)


def _constant(pts: NDArray[np.int64], tick: Fraction, rate: Fraction, held: Fraction) -> Rate:
    """Return a rate that shows every frame once, and the last one for ``held`` seconds."""
    more = max(0, round(held * rate) - 1) if len(pts) > 1 else 0
    return Rate(rate, False, len(pts) + more, _away(pts, tick, rate)[0] if len(pts) > 1 else 0.0)


def _substitute(shown: NDArray[np.float64], seconds: Fraction, own: Fraction | None) -> Rate:
    """Return a constant rate for frames ``shown`` of ``seconds`` in all; ``own`` is the rate of most of them."""
    count = len(shown)
    mean = Fraction(count) / seconds
    cheap = own is not None and own <= _CHEAP_RATE and _fits(np.append(shown, float(seconds)), own)
    if own is not None and (cheap or (own > _CHEAP_RATE and own * seconds <= _MOST_REPEATS * count)):
        fps = own  # a steady recording with frames left out keeps its own rate
    elif mean >= _CHEAP_RATE:
        # anything else gets as many frames as it had
        fps = _snap(mean, Fraction(1, 200))
        if fps == mean:
            fps = _short(mean)
    else:
        fps = _slow_rate(np.append(shown, float(seconds)), seconds)
    last = int(shown[-1] * float(fps) + 0.5)
    return Rate(fps, True, max(1, int(seconds * fps + Fraction(1, 2)), last + 1))


def _slow_rate(times: NDArray[np.float64], seconds: Fraction) -> Fraction:
    for rate in _SLOW_RATES:
        if rate > _CHEAP_RATE and rate * seconds > 2 * _MOST_REPEATS * len(times):
            break
        if _fits(times, rate):
            return rate
    return _CHEAP_RATE


def _fits(times: NDArray[np.float64], rate: Fraction) -> bool:
    """Return whether each of these times has a frame of its own at ``rate``, near enough."""
    places = np.floor(times * float(rate) + 0.5)
    away = float(np.abs(places / float(rate) - times).max())
    return away <= _NEAR_ENOUGH and bool((np.diff(places) > 0).all())


def _claimed_steps(steps: NDArray[np.int64], tick: Fraction, claimed: Fraction | None) -> Fraction | None:
    """Return ``claimed`` if most frames follow each other at exactly that rate, and the others after multiples of it.

    Such multiples are gaps, even where ticks are as long as frames and a slightly lower rate would fit as well.
    """
    step = int(np.gcd.reduce(steps))
    if claimed is None or step <= 0 or _snap(Fraction(1) / (step * tick)) != claimed:
        return None
    alike = float(np.mean(steps == step))
    return claimed if 0.5 <= alike < 1 else None


def _steady_rate(steps: NDArray[np.int64], tick: Fraction) -> Fraction | None:
    """Return the rate at which nine in ten frames follow each other, or None."""
    usual = int(np.median(steps))
    if usual <= 0 or float(np.mean(np.abs(steps - usual) <= 0.15 * usual)) < 0.9:
        return None
    return _snap(Fraction(1) / (usual * tick), Fraction(1, 50))


def _away(pts: NDArray[np.int64], tick: Fraction, rate: Fraction) -> tuple[float, float]:
    """Return how late frames are at ``rate``, on the grid that fits best, and their largest deviation, in frames."""
    away = (pts - pts[0]) * float(tick * rate) - np.arange(len(pts))
    return float(away.max() + away.min()) / 2, float(away.max() - away.min()) / 2


def _snap(rate: Fraction, tolerance: Fraction = _SNAP) -> Fraction:
    nearest = min(STANDARD_RATES, key=lambda standard: abs(standard - rate))
    return nearest if abs(nearest - rate) <= tolerance * rate else rate


def _short(rate: Fraction) -> Fraction:
    return max(rate.limit_denominator(1001), _LIMITS[0])


def _from_interval(duration: int, tick: Fraction) -> Fraction | None:
    rate = Fraction(1) / (duration * tick) if duration > 0 else None
    return _snap(rate) if rate and _LIMITS[0] <= rate <= _LIMITS[1] else None
