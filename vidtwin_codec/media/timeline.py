"""The place of each decoded picture on the grid of a constant rate, by its own timestamp.

Counting is not enough: packets may yield no picture (duplicates, damage), and ffmpeg rebuilds its filters, with their
counters, wherever pictures change their size or format.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vidtwin_codec.media.info import MediaInfo

# A picture shown for more places than this is worth remembering: whoever reads from the middle has to begin with it.
_LONG = 4
# The least distance, in places, from the picture before that is taken for jitter: nearer ones stand for the same place.
_APART = 0.25


@dataclass(frozen=True)
class Timeline:
    """The timestamps of a video's packets, beyond its rate; times are in seconds after the first picture.

    Attributes:
        shift: places of the constant rate by which pictures come late, on the whole.
        last: time of the last picture.
        pictures: number of packets that hold a picture.
        holds: start and end of each picture that is shown for unusually long.
    """

    shift: float = 0.0
    last: float = 0.0
    pictures: int = 0
    holds: tuple[tuple[float, float], ...] = ()

    @staticmethod
    def of(seconds: NDArray[np.float64], end: float, fps: Fraction, shift: float) -> Timeline:
        """Build the timeline from the ascending times of packets with a picture, and the end of the video."""
        if not len(seconds):
            return Timeline(shift)
        ends = np.append(seconds[1:], end)
        long = (ends - seconds) * float(fps) > _LONG
        held = zip(seconds[long].tolist(), ends[long].tolist(), strict=True)
        return Timeline(shift, float(seconds[-1]), len(seconds), tuple(held))

    def begin(self, second: float, fps: Fraction) -> float:
        """Return the time from which pictures are needed, so that the one shown at ``second`` is among them."""
        begin = second - (_LONG + 1) / float(fps)
        for since, until in self.holds:
            if since <= second and until >= begin:
                return min(begin, since - 1 / float(fps))
        return begin


class Placer:
    """Assigns each picture, in order, its place at the rate of reading; it is shown up to the next one's place."""

    def __init__(self, info: MediaInfo, fps: Fraction) -> None:
        self._info, self._fps = info, fps
        self._own = -1  # the place at the video's own rate of the latest picture

    def place(self, time: Fraction | None) -> int:
        """Return the place of the picture shown at ``time``, in seconds on the file's clock; None if it has no time."""
        info = self._info
        if info.variable_rate:
            after = Fraction(0) if time is None else time - info.start_time
            place = _near(after * self._fps)
            self._own = max(self._own, place)
            return self._own
        place = self._own + 1
        if time is not None:
            exact = float((time - info.start_time) * info.fps) - info.timeline.shift
            place = math.floor(exact + 0.5)
            if place == self._own and exact >= place + _APART:
                place += 1  # each picture exactly once
        self._own = max(self._own, place, 0)
        return self._own if self._fps == info.fps else _near(self._own / info.fps * self._fps)


def window(info: MediaInfo, fps: Fraction, runs: Sequence[tuple[int, int | None]]) -> str:
    """Return an expression for ffmpeg's ``select`` that passes the pictures that some places need, and few others.

    Args:
        info: the video.
        fps: rate of reading.
        runs: first place and number of places (None for all that follow) of each run, in order.
    """
    parts = []
    for number, (first, count) in enumerate(runs):
        start, late = float(info.start_time), info.timeline.shift / float(info.fps)
        begin = start + late + info.timeline.begin(float(first / fps), min(fps, info.fps))
        # After the last run one more picture is needed, whenever it comes: it ends the one before.
        if number == len(runs) - 1 or count is None:
            parts.append(f"not(lt(t,{begin:.6f}))")
        else:
            end = start + late + float((first + count + 1) / fps)
            parts.append(f"between(t,{begin:.6f},{end:.6f})")
    return "+".join(parts)


def _near(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))
