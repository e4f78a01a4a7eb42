"""Measuring one decoded version against the reference: its metrics, and frames for viewing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.compare.reference import Reference
from vidtwin_codec.evaluation.compare.results import METRICS, Image, Point
from vidtwin_codec.metrics import Frames, MetricSet
from vidtwin_codec.options.target import bits_per_pixel, kbps

MEASURING = ("evaluation/compare/measuring", "evaluation/compare/reference", "media", "metrics")
"""Packages and modules on which the measurement of any codec depends."""


@dataclass(frozen=True)
class Measured:
    """The result of a measurement.

    Attributes:
        metrics: means over frames; None where a metric cannot be computed.
        reasons: metric → why it cannot be computed.
        views: the frames that were asked for, uint8 ``[H, W, 3]``.
    """

    metrics: dict[str, float | None]
    reasons: dict[str, str]
    views: list[Image]

    def point(
        self,
        reference: Reference,
        setting: str,
        size: int,
        *,
        encode_seconds: float,
        decode_seconds: float,
        short_side: int | None = None,
    ) -> Point:
        """Make a point of a curve from these metrics and ``size`` bytes."""
        return Point(
            setting=setting,
            bytes=size,
            bits_per_pixel=bits_per_pixel(size, reference.pixels),
            kbps=kbps(size, float(reference.frames / reference.fps)),
            metrics=self.metrics,
            encode_seconds=encode_seconds,
            decode_seconds=decode_seconds,
            short_side=short_side,
        )


def measure(reference: Reference, decoded: Iterator[Frames], wanted: Collection[int] = ()) -> Measured:
    """Compare frame by frame, by index.

    Args:
        reference: the original frames.
        decoded: decoded frames in pieces of any length, uint8 ``[n, height, width, 3]`` of the reference's size.
        wanted: indices of decoded frames to keep.

    Raises:
        VidtwinError: there are more or fewer frames than in the reference.
    """
    views: list[Image] = []
    at = 0
    with MetricSet(METRICS, reference.width, reference.height, fps=reference.fps) as meter:
        for original, made in _in_step(reference.read(), decoded):
            meter.add(original, made)
            views += [made[index - at].copy() for index in sorted(wanted) if at <= index < at + len(made)]
            at += len(made)
        extra = sum(map(len, decoded))
        if at + extra != reference.frames:
            raise VidtwinError(f"{at + extra} frames came back for {reference.frames}")
        scores = meter.finish()
    return Measured(scores.means, scores.reasons, views)


def _in_step(left: Iterator[Frames], right: Iterator[Frames]) -> Iterator[tuple[Frames, Frames]]:
    """Yield pairs of pieces of equal length, until either side has no more."""
    ahead: Frames | None = None
    for piece in left:
        behind = piece
        while len(behind):
            if ahead is None or not len(ahead):
                ahead = next(right, None)
                if ahead is None:
                    return
            count = min(len(behind), len(ahead))
            yield behind[:count], ahead[:count]
            behind, ahead = behind[count:], ahead[count:]
