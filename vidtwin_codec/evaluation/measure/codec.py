"""The protocol ``codec``: frames of a .vtw are compared with those of its source, at the source's size and rate."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from vidtwin_codec.decoding.decoder import Decoder
from vidtwin_codec.encoding.encode import encode
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.measure.options import Measurement, MeasureOptions, Sizes
from vidtwin_codec.evaluation.measure.side_by_side import side_by_side
from vidtwin_codec.files import is_pipe, temporary_folder
from vidtwin_codec.media import FrameReader, MediaInfo, probe, spool_stdin
from vidtwin_codec.media.color import luma_matrix
from vidtwin_codec.metrics import ClipBoundaries, MetricSet, Scores
from vidtwin_codec.network.geometry import Frames
from vidtwin_codec.network.runner import LoadNetwork, NetworkRunner
from vidtwin_codec.options import DecodeOptions, Reporter
from vidtwin_codec.stages import Sink

PathLike = str | os.PathLike[str]
OTHER_SOURCE = "name the video that this .vtw was encoded from"


def measure_codec(
    source: PathLike,
    vtw: PathLike | None,
    options: MeasureOptions,
    reporter: Reporter,
    load: LoadNetwork = NetworkRunner.load,
) -> Measurement:
    """Measure one .vtw, or what encoding ``source`` would give; see :func:`vidtwin_codec.measure`.

    Args:
        source: the video.
        vtw: what it was encoded to; None encodes it to a temporary file.
        options: options of the measurement, and of encoding if there is no .vtw.
        reporter: receives progress and warnings.
        load: reads the networks.

    Raises:
        VidtwinError: a file cannot be read, or the two do not belong together.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        path = stack.enter_context(spool_stdin()) if is_pipe(source) else source
        packed, warnings = vtw, []
        if packed is None:
            packed = stack.enter_context(temporary_folder()) / "measured.vtw"
            warnings += encode(path, packed, options, reporter=reporter.stage("encoding"), load=load).warnings
        decoder = stack.enter_context(Decoder(packed, DecodeOptions(**options.network()), reporter.warned, load))
        header = decoder.header
        info = probe(
            path,
            fps=header.fps,
            playlists=options.allow_playlists,
            hwaccel=options.hwaccel,
            **_part(header.options),
        )
        _check_size(decoder, info, packed)
        if vtw is not None:
            warnings += info.warnings
            for text in info.warnings:
                reporter.warned(text)
        reporter = reporter.stage("comparing")
        reporter.started(decoder.last, str(decoder.network.device))
        matrix = luma_matrix(info)
        scores = _compare(decoder, info, matrix, options, reporter, str(packed))
    counts, psnr = decoder.reader.counts, scores.per_frame.get("psnr")
    return Measurement(
        source=os.fspath(source),
        output=None if vtw is None else os.fspath(vtw),
        protocol="codec",
        width=decoder.width,
        height=decoder.height,
        frames=scores.frames,
        clips=sum(group.clips for group in decoder.reader.groups),
        fps=header.fps,
        source_bytes=info.own_bytes,
        sizes=Sizes(counts.vtw_bytes, counts.video_bytes, counts.audio_bytes),
        quality=_number(header.options.get("quality")),
        short_side=_number(header.options.get("short_side")),
        weights=header.weights_name,
        device=str(decoder.network.device),
        seconds=time.monotonic() - began,
        scores=scores,
        boundaries=None if psnr is None else ClipBoundaries.of(psnr, header.clip_frames),
        luma_matrix=matrix,
        warnings=warnings,
    )


def _compare(
    decoder: Decoder, info: MediaInfo, matrix: str, options: MeasureOptions, reporter: Reporter, name: str
) -> Scores:
    """Compare both streams a clip at a time, with the metrics on a thread of their own."""
    width, height, fps = decoder.width, decoder.height, decoder.header.fps
    with ExitStack() as stack:
        metrics = stack.enter_context(MetricSet(options.metrics, width, height, fps=fps, matrix=matrix))
        shown = stack.enter_context(
            side_by_side(options.side_by_side, width, height, fps, info.sample_aspect, force=options.force)
        )
        reader = stack.enter_context(FrameReader(info, fps=fps))

        def take(decoded: Frames) -> None:
            reference = reader.read_full(len(decoded))
            if len(reference) < len(decoded):
                message = f"{name}: has {decoder.last} frames, {info.path} only {metrics.frames + len(reference)}"
                raise VidtwinError(message, OTHER_SOURCE)
            metrics.add(reference, decoded)
            shown.add(reference, decoded)
            reporter.advanced(len(decoded))

        with Sink(take) as sink:
            for decoded in decoder.frames():
                sink.put(decoded)
        if len(reader.read(1)):
            raise VidtwinError(f"{name}: has {decoder.last} frames, {info.path} has more", OTHER_SOURCE)
        return metrics.finish()


def _check_size(decoder: Decoder, info: MediaInfo, name: PathLike) -> None:
    if (decoder.width, decoder.height) != (info.width, info.height):
        raise VidtwinError(
            f"{name}: its frames are {decoder.width} x {decoder.height}, those of {info.path} {info.width} x "
            f"{info.height}",
            OTHER_SOURCE,
        )


def _part(options: Mapping[str, Any]) -> dict[str, float]:
    """Find the part of its source that a .vtw was made from, if its header states one."""
    part = {name: _number(options.get(name)) for name in ("start", "duration")}
    return {name: value for name, value in part.items() if value is not None and 0 < value < math.inf}


def _number(value: Any) -> Any:
    """Take a number from the header's options; None for anything else that another encoder may have put there."""
    return value if isinstance(value, int | float) else None
