"""Running one conventional codec on one clip: rates are found by search, then each is decoded and measured."""

from __future__ import annotations

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.compare.codecs import ConventionalCodec, Gop, coarsest
from vidtwin_codec.evaluation.compare.job import ClipJob
from vidtwin_codec.evaluation.compare.measuring import MEASURING, Measured, measure
from vidtwin_codec.evaluation.compare.results import Point, Series, Variant
from vidtwin_codec.evaluation.compare.search import RateSearch, choose_rates
from vidtwin_codec.evaluation.compare.streams import Encoded, decode_seconds, decode_stream, encode_stream
from vidtwin_codec.evaluation.compare.work_folder import code_digest

_CODE = (*MEASURING, "evaluation/compare/streams")


def sweep(
    codec: ConventionalCodec,
    variant: Variant,
    job: ClipJob,
    ladder: Series,
    *,
    clip_frames: int,
    rates: int,
    machine: str,
) -> Series:
    """Encode at ``rates`` or more rates over the ladder's byte range, and once near the ladder's matched point.

    A codec that fails gives a series without points and a note that says why.

    Args:
        codec: the codec.
        variant: preset and GOP.
        job: the clip.
        ladder: vidtwin's points on the same frames.
        clip_frames: frames of a closed GOP.
        rates: number of encodings to measure.
        machine: description of the ffmpeg and the processor, on which results depend.
    """
    assert ladder.matched is not None
    goal = ladder.points[ladder.matched].bytes
    low, high = ladder.points[0].bytes, ladder.points[-1].bytes
    streams = _Streams(codec, variant, job, clip_frames, machine)
    search = RateSearch(streams.size, coarsest=coarsest(codec), step=codec.step, halving=codec.halving)
    series, finished = Series(codec.name, codec.label, variant, []), 0
    try:
        at_goal = search.nearest(goal)
        for crf in choose_rates(search, low, high, rates, at_goal):
            point, measured = streams.measured(crf, viewed=crf == at_goal)
            series.points.append(point)
            if crf == at_goal:
                matched, series.views = point, measured.views
            job.reporter.said(f"{codec.label} {variant.preset}, {variant.gop}, {point.setting}")
            finished += 1
            if finished <= rates:
                job.reporter.advanced(1)
    except VidtwinError as error:
        series.points, series.views, series.notes = [], [], [error.message]
        return series
    finally:
        # a codec that fails, or has fewer settings in this range, leaves some of the wanted encodings out
        job.reporter.advanced(rates - min(rates, finished))
        streams.delete()
    series.points.sort(key=lambda point: point.bytes)
    series.matched = series.points.index(matched)
    series.notes = _reach(search, low, high)
    return series


class _Streams:
    """Encodings of one clip by one codec and variant, each made when it is needed, and measured once."""

    def __init__(
        self, codec: ConventionalCodec, variant: Variant, job: ClipJob, clip_frames: int, machine: str
    ) -> None:
        self._codec, self._variant, self._job, self._clip_frames = codec, variant, job, clip_frames
        self._same = {"codec": codec.name, "machine": machine, "code": code_digest(*_CODE)}
        self._made: dict[float, Encoded] = {}

    def size(self, crf: float) -> int:
        """Return the bytes of the encoding at ``crf``."""
        return self._job.size(self._key(crf), lambda: self._encoded(crf).bytes)

    def measured(self, crf: float, *, viewed: bool) -> tuple[Point, Measured]:
        """Decode and measure the encoding at ``crf``; keep frames for viewing if ``viewed``."""

        def take(wanted: list[int]) -> tuple[Point, Measured]:
            codec, reference, encoded = self._codec, self._job.reference, self._encoded(crf)
            measured = measure(reference, decode_stream(codec, encoded.path, reference), wanted)
            point = measured.point(
                reference,
                f"{codec.dial} {crf:g}",
                encoded.bytes,
                encode_seconds=encoded.seconds,
                decode_seconds=decode_seconds(codec, encoded.path),
            )
            return point, measured

        return self._job.once(self._key(crf), take, viewed=viewed)

    def delete(self) -> None:
        """Delete all streams."""
        for encoded in self._made.values():
            encoded.path.unlink(missing_ok=True)

    def _encoded(self, crf: float) -> Encoded:
        if crf not in self._made:
            preset, gop = self._variant.preset, Gop(self._variant.gop)
            target = self._job.folder / f"{self._codec.name}-{crf:g}.bin"
            self._made[crf] = encode_stream(
                self._codec, self._job.reference, target, preset=preset, gop=gop, clip_frames=self._clip_frames, crf=crf
            )
        return self._made[crf]

    def _key(self, crf: float) -> dict[str, object]:
        arguments = self._codec.arguments(self._variant.preset, Gop(self._variant.gop), self._clip_frames, crf)
        return {**self._same, "arguments": arguments}


def _reach(search: RateSearch, low: int, high: int) -> list[str]:
    """Note which part of the ladder's range of bytes the codec cannot reach."""
    notes = []
    if search.fewest > high:
        notes.append(
            f"takes {search.fewest} bytes even at its coarsest setting, more than vidtwin's largest encoding ({high})"
        )
    elif search.fewest > low:
        notes.append(f"takes {search.fewest} bytes even at its coarsest setting; vidtwin's smallest takes {low}")
    return notes
