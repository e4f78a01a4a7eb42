"""Short side and quality from probes: the point of the convex hull that meets a target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from vidtwin_codec.coding import DEFAULT_QUALITY
from vidtwin_codec.encoding.rate.search import find
from vidtwin_codec.encoding.rate.sides import climb
from vidtwin_codec.options.target import Band

BYTES_SLOPE = 0.025
"""Growth of the logarithm of bytes with one point of quality, about: bytes double in 28."""
PSNR_START, _PSNR_SLOPE = 40.0, 0.15
"""In the bend of the usual curve, from where both ends are found in the fewest decodings; dB for a point of quality."""
_TRIES = 8
_FITTING = 0.05
"""A search that ended so near the band, as a logarithm, has not met a limit of the dial."""


class Sampled(Protocol):
    """What is known about one short side; see :class:`vidtwin_codec.encoding.rate.probes.Probe`."""

    def video_bytes(self, quality: float) -> float: ...

    def psnr(self, quality: float) -> float: ...


class SampledSides(Protocol):
    """What is known about all of them."""

    def at(self, index: int) -> Sampled: ...


class Choice(NamedTuple):
    """The short side, as an index, and the quality."""

    side: int
    quality: float


def choose_for_bytes(probes: SampledSides, tiles: Sequence[int], band: Band) -> Choice:
    """The best PSNR at the wanted bytes.

    Args:
        probes: by index of the short side.
        tiles: of a frame at each short side, ascending. band: bytes of the whole video's latents.
    """
    if len(tiles) == 1:
        return Choice(0, quality_for_bytes(probes.at(0), band))

    def misfit(index: int) -> float:
        """How far, in logarithms, the nearest bytes that can be had are beyond the band; 0 within it."""
        probe = probes.at(index)
        size = probe.video_bytes(quality_for_bytes(probe, band))
        return max(math.log(size / band.most), math.log(band.least / size), 0.0)

    def better(one: int, other: int) -> bool:
        misfits = misfit(one), misfit(other)
        if max(misfits) > _FITTING:  # decoding would tell nothing
            return misfits[0] < misfits[1]
        scores = [probes.at(index).psnr(quality_for_bytes(probes.at(index), band)) for index in (one, other)]
        return scores[0] > scores[1]

    # bytes go about with tiles: sizes that could not use up the wanted bytes need no probing
    most = probes.at(0).video_bytes(100)
    start = next((index for index, count in enumerate(tiles) if most * count / tiles[0] >= band.aim), len(tiles) - 1)
    best = climb(better, len(tiles), start)
    return Choice(best, quality_for_bytes(probes.at(best), band))


def choose_for_psnr(probes: SampledSides, count: int, band: Band) -> Choice:
    """The fewest bytes at the wanted PSNR.

    Args:
        probes: by index of the short side. count: of short sides. band: dB.
    """

    def better(one: int, other: int) -> bool:
        first, second = ((probes.at(index), quality_for_psnr(probes.at(index), band)) for index in (one, other))
        reached = [min(probe.psnr(quality), band.least) for probe, quality in (first, second)]
        if reached[0] != reached[1]:
            return reached[0] > reached[1]
        return first[0].video_bytes(first[1]) < second[0].video_bytes(second[1])

    best = climb(better, count, 0)
    return Choice(best, quality_for_psnr(probes.at(best), band))


def quality_for_bytes(probe: Sampled, band: Band) -> float:
    """The quality at which the video takes about the wanted bytes."""
    known: dict[float, float] = {}
    return find(
        lambda quality: math.log(probe.video_bytes(quality)),
        logarithms(band),
        known,
        start=DEFAULT_QUALITY,
        slope=BYTES_SLOPE,
        tries=_TRIES,
    )


def quality_for_psnr(probe: Sampled, band: Band, start: float = PSNR_START) -> float:
    """The quality at which what comes back has about the wanted PSNR."""
    known: dict[float, float] = {}
    return find(probe.psnr, band, known, start=start, slope=_PSNR_SLOPE, tries=_TRIES)


def logarithms(band: Band) -> Band:
    """Of a band of bytes; bytes grow about exponentially with quality."""
    return Band(*(math.log(max(value, 1)) for value in band))
