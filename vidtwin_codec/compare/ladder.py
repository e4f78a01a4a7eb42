"""vidtwin's side: every quality at every short side, through the same encode and decode that users call."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from vidtwin_codec.coding import DEFAULT_QUALITY
from vidtwin_codec.compare.measuring import Measured, measure
from vidtwin_codec.compare.options import CompareOptions
from vidtwin_codec.compare.reference import Reference
from vidtwin_codec.compare.results import VIDTWIN, Point, Series
from vidtwin_codec.metrics import Frames
from vidtwin_codec.pipeline.decoder import Decoder
from vidtwin_codec.pipeline.encode import encode
from vidtwin_codec.pipeline.options import DecodeOptions, EncodeOptions, Reporter


@dataclass(frozen=True)
class Rung:
    """One setting of the ladder; ``short_side`` in pixels, or None for the native size."""

    quality: float
    short_side: int | None

    @property
    def title(self) -> str:
        return f"quality {self.quality:g}" + (f", {self.short_side} px" if self.short_side else "")


def rungs(options: CompareOptions, width: int, height: int) -> list[Rung]:
    """Settings that differ on frames of this size: a short side that would not shrink it is the native one."""
    short = min(width, height)
    sides = dict.fromkeys(None if side is None or side >= short else side for side in options.short_sides)
    return [Rung(quality, side) for side in sides for quality in options.qualities]


def climb(
    reference: Reference,
    folder: Path,
    options: CompareOptions,
    wanted: Collection[int],
    advanced: Callable[[str], None],
) -> tuple[Series, dict[str, str]]:
    """Encode, decode and measure every rung.

    Args:
        reference: the frames.
        folder: for files that are deleted on the way.
        options: the ladder and the network.
        wanted: frames to keep of the matched rung.
        advanced: is told each rung that is done.

    Returns:
        The series, with its matched point (see :func:`matched_rung`), and metrics that could not be computed.

    Raises:
        VidtwinError: the weights cannot be read or the device is not there.
    """
    steps = rungs(options, reference.width, reference.height)
    matched = matched_rung(steps)
    found: list[tuple[Point, Measured]] = []
    for step in steps:
        found.append(_measure(step, reference, folder / "rung.vtw", options, wanted if step == matched else ()))
        advanced(f"vidtwin {step.title}")
    chosen = found[steps.index(matched)]
    found.sort(key=lambda pair: pair[0].bytes)
    points = [point for point, _ in found]
    series = Series(VIDTWIN, VIDTWIN, None, points, points.index(chosen[0]), views=chosen[1].views)
    return series, chosen[1].reasons


def matched_rung(steps: list[Rung]) -> Rung:
    """The setting whose bytes the viewer's other codecs come near to: the default quality, or the middle one."""
    first_side = [step for step in steps if step.short_side == steps[0].short_side]
    ordered = sorted(first_side, key=lambda step: step.quality)
    return next((step for step in ordered if step.quality == DEFAULT_QUALITY), ordered[len(ordered) // 2])


def _measure(
    step: Rung, reference: Reference, target: Path, options: CompareOptions, wanted: Collection[int]
) -> tuple[Point, Measured]:
    network = {name: getattr(options, name) for name in ("weights", "device", "precision", "batch")}
    settings = EncodeOptions(**network, quality=step.quality, short_side=step.short_side, audio="none", force=True)
    loaded: list[float] = []  # the moment the network is in memory: loading it does not grow with the video
    reporter = Reporter(started=lambda *_: loaded.append(time.perf_counter()))
    result = encode(reference.rgb, target, settings, reporter=reporter)
    encode_seconds = time.perf_counter() - loaded[0]
    stopwatch = _Stopwatch()
    with Decoder(target, DecodeOptions(**network)) as decoder:
        measured = measure(reference, stopwatch.watch(decoder.frames()), wanted)
    target.unlink()
    point = Point(
        setting=step.title,
        bytes=result.video_bytes,
        bits_per_pixel=8 * result.video_bytes / reference.pixels,
        kbps=8 * result.video_bytes / 1000 / float(reference.frames / reference.fps),
        metrics=measured.metrics,
        encode_seconds=encode_seconds,
        decode_seconds=stopwatch.seconds,
        short_side=step.short_side or min(reference.width, reference.height),
    )
    return point, measured


class _Stopwatch:
    """Counts only the time inside, not what others do with what comes out."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, frames: Iterator[Frames]) -> Iterator[Frames]:
        """The same frames."""
        while True:
            began = time.perf_counter()
            piece = next(frames, None)
            self.seconds += time.perf_counter() - began
            if piece is None:
                return
            yield piece
