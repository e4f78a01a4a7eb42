"""One decoded version beside the reference: its metrics, and the frames to look at."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.compare.reference import Reference
from vidtwin_codec.evaluation.compare.results import METRICS, Image, Point
from vidtwin_codec.metrics import Frames, MetricSet

MEASURING = ("evaluation/compare/measuring", "evaluation/compare/reference", "media", "metrics")
"""The code that decides about what any codec's measurement finds."""


@dataclass(frozen=True)
class Measured:
    """Means over frames (None with a reason where there is none), and the frames asked for."""

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
        """The point of a curve that ``size`` bytes and these metrics make."""
        return Point(
            setting=setting,
            bytes=size,
            bits_per_pixel=8 * size / reference.pixels,
            kbps=8 * size / 1000 / float(reference.frames / reference.fps),
            metrics=self.metrics,
            encode_seconds=encode_seconds,
            decode_seconds=decode_seconds,
            short_side=short_side,
        )


def measure(reference: Reference, decoded: Iterator[Frames], wanted: Collection[int] = ()) -> Measured:
    """Compare frame by frame, by index.

    Args:
        reference: what it should look like.
        decoded: uint8 ``[n, height, width, 3]`` of the reference's size, in pieces of any length.
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
    """Pieces of equal length, until either has no more."""
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
