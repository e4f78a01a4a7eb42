"""Search for the short side and quality that meet a target: the best point of the convex hull, in few measurements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from vidtwin_codec.coding import DEFAULT_QUALITY
from vidtwin_codec.encoding.rate.probes import TRIES, Probe, Probes
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


_FEWER = 0.7
"""Share of the tiles that the next smaller size has at most; sizes closer together hardly differ in bytes."""


def candidate_sides(short_side: int, tiles: Callable[[int], int]) -> list[int]:
    """List short sides worth trying, smallest first; the last is the video's own.

    Bytes are about proportional to tiles, so of all sizes with the same number of tiles only the largest is listed. The
    smallest one fits into one tile.

    Args:
        short_side: short side of the video in pixels.
        tiles: short side in pixels → number of tiles of a frame.
    """
    found = [short_side]
    for side in range(short_side - 1, 0, -1):
        if tiles(found[-1]) == 1:
            break
        if tiles(side) <= _FEWER * tiles(found[-1]):
            found.append(side)
    return found[::-1]


def climb(better: Callable[[int, int], bool], count: int, start: int) -> int:
    """Find the best index on a curve with one peak, in as few comparisons as possible.

    Args:
        better: says whether its first argument is better than its second.
        count: number of indices.
        start: index to begin with.
    """
    best = start
    for step in (1, -1):
        while 0 <= best + step < count and better(best + step, best):
            best += step
        if best != start:
            break
    return best


BYTES_SLOPE = 0.025
"""Growth of the natural logarithm of bytes per point of quality, about; bytes double in 28 points."""
SCORE_START = 40.0
"""Quality to start from, in the bend of the usual curve, from where either end is found in the fewest decodings."""
_SCORE_SLOPES = {"psnr": 0.15, "vmaf": 0.8}
"""Growth of the score, in dB or points of VMAF, per point of quality, about."""
_FITTING = 0.05
"""Distance from the band, as a logarithm, up to which a search has not ended at a limit of the quality scale."""


class SizeChoice(NamedTuple):
    """A short side, as an index, and a quality."""

    side: int
    quality: float


def choose_for_bytes(probes: Probes, tiles: Sequence[int], band: Band) -> SizeChoice:
    """Choose the best PSNR at the wanted bytes.

    Args:
        probes: bytes and PSNR by index of the short side.
        tiles: tiles of a frame at each short side, ascending.
        band: wanted bytes of the whole video's latents.
    """
    if len(tiles) == 1:
        return SizeChoice(0, quality_for_bytes(probes.at(0), band))

    def misfit(index: int) -> float:
        """Distance of the nearest bytes that can be reached from the band, as a logarithm; 0 within it."""
        probe = probes.at(index)
        size = probe.video_bytes(quality_for_bytes(probe, band))
        return max(math.log(size / band.most), math.log(band.least / size), 0.0)

    def better(one: int, other: int) -> bool:
        misfits = misfit(one), misfit(other)
        if max(misfits) > _FITTING:  # one of the two cannot meet the target, so PSNR does not matter
            return misfits[0] < misfits[1]
        scores = [probes.at(index).score(quality_for_bytes(probes.at(index), band)) for index in (one, other)]
        return scores[0] > scores[1]

    # bytes are about proportional to tiles, so sizes that could not use up the wanted bytes are not probed
    most = probes.at(0).video_bytes(100)
    start = next((index for index, count in enumerate(tiles) if most * count / tiles[0] >= band.aim), len(tiles) - 1)
    best = climb(better, len(tiles), start)
    return SizeChoice(best, quality_for_bytes(probes.at(best), band))


def choose_for_score(probes: Probes, count: int, band: Band, name: str = "psnr") -> SizeChoice:
    """Choose the fewest bytes at the wanted score.

    Args:
        probes: bytes and score by index of the short side.
        count: number of short sides.
        band: wanted score.
        name: ``psnr`` or ``vmaf``.
    """

    def better(one: int, other: int) -> bool:
        first, second = ((probes.at(index), quality_for_score(probes.at(index), band, name)) for index in (one, other))
        reached = [min(probe.score(quality), band.least) for probe, quality in (first, second)]
        if reached[0] != reached[1]:
            return reached[0] > reached[1]
        return first[0].video_bytes(first[1]) < second[0].video_bytes(second[1])

    best = climb(better, count, 0)
    return SizeChoice(best, quality_for_score(probes.at(best), band, name))


def quality_for_bytes(probe: Probe, band: Band) -> float:
    """Find the quality at which the video takes about the wanted bytes."""
    known: dict[float, float] = {}
    return find(
        lambda quality: math.log(probe.video_bytes(quality)),
        logarithms(band),
        known,
        start=DEFAULT_QUALITY,
        slope=BYTES_SLOPE,
        tries=TRIES,
    )


def quality_for_score(probe: Probe, band: Band, name: str = "psnr", start: float = SCORE_START) -> float:
    """Find the quality at which the decoded video has about the wanted score."""
    known: dict[float, float] = {}
    return find(probe.score, band, known, start=start, slope=_SCORE_SLOPES[name], tries=TRIES)


def logarithms(band: Band) -> Band:
    """Take the logarithms of a band of bytes, which grow about exponentially with quality."""
    return Band(*(math.log(max(value, 1)) for value in band))
