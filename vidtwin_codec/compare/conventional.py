"""One conventional codec on one clip: rates found by search, then each decoded and measured."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from vidtwin_codec.compare.codecs import ConventionalCodec, Gop, coarsest
from vidtwin_codec.compare.measuring import measure
from vidtwin_codec.compare.reference import Reference
from vidtwin_codec.compare.results import Point, Series, Variant
from vidtwin_codec.compare.search import RateSearch, choose_rates
from vidtwin_codec.compare.streams import Encoded, decode_seconds, decode_stream, encode_stream
from vidtwin_codec.errors import VidtwinError


def sweep(
    codec: ConventionalCodec,
    variant: Variant,
    reference: Reference,
    folder: Path,
    ladder: Series,
    *,
    clip_frames: int,
    rates: int,
    wanted: Collection[int],
    advanced: Callable[[str], None],
) -> Series:
    """Encode at ``rates`` or more rates over the ladder's byte range, and once near the ladder's matched point.

    A codec that fails gives a series without points and a note that says why.

    Args:
        codec: which.
        variant: preset and GOP.
        reference: the frames.
        folder: for the streams, which are deleted.
        ladder: vidtwin's points on the same frames.
        clip_frames: frames of a closed GOP.
        rates: encodings to measure.
        wanted: frames to keep of the matched point.
        advanced: is told each encoding that is measured.
    """
    streams: dict[float, Encoded] = {}
    series = Series(codec.name, codec.label, variant, [])

    def encode(crf: float) -> int:
        target = folder / f"{codec.name}-{crf:g}.bin"
        streams[crf] = encode_stream(
            codec, reference, target, preset=variant.preset, gop=Gop(variant.gop), clip_frames=clip_frames, crf=crf
        )
        return streams[crf].bytes

    assert ladder.matched is not None
    goal = ladder.points[ladder.matched].bytes
    low, high = ladder.points[0].bytes, ladder.points[-1].bytes
    search = RateSearch(encode, coarsest=coarsest(codec), step=codec.step, halving=codec.halving)
    try:
        at_goal = search.nearest(goal)
        chosen = choose_rates(search, low, high, rates, at_goal)
        for crf in chosen:
            encoded = streams[crf]
            views = wanted if crf == at_goal else ()
            measured = measure(reference, decode_stream(codec, encoded.path, reference), views)
            series.points.append(
                Point(
                    setting=f"{codec.dial} {crf:g}",
                    bytes=encoded.bytes,
                    bits_per_pixel=8 * encoded.bytes / reference.pixels,
                    kbps=8 * encoded.bytes / 1000 / float(reference.frames / reference.fps),
                    metrics=measured.metrics,
                    encode_seconds=encoded.seconds,
                    decode_seconds=decode_seconds(codec, encoded.path),
                )
            )
            series.views = measured.views or series.views
            advanced(f"{codec.label} {variant.preset}, {variant.gop}, {series.points[-1].setting}")
    except VidtwinError as error:
        series.points, series.views, series.notes = [], [], [error.message]
        return series
    finally:
        for encoded in streams.values():
            encoded.path.unlink(missing_ok=True)
    matched = series.points[chosen.index(at_goal)]
    series.points.sort(key=lambda point: point.bytes)
    series.matched = series.points.index(matched)
    series.notes = _reach(search, low, high)
    return series


def _reach(search: RateSearch, low: int, high: int) -> list[str]:
    """What of the ladder's range the codec cannot reach."""
    notes = []
    if search.fewest > high:
        notes.append(
            f"takes {search.fewest} bytes even at its coarsest setting, more than vidtwin's largest encoding ({high})"
        )
    elif search.fewest > low:
        notes.append(f"takes {search.fewest} bytes even at its coarsest setting; vidtwin's smallest takes {low}")
    return notes
