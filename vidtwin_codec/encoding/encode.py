"""The function ``encode``, video to .vtw: media → geometry → network → coding → container, on several threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from vidtwin_codec import weights
from vidtwin_codec.container import Counts
from vidtwin_codec.encoding.audio import AudioFile, audio_alongside, extract_audio_file, too_many_kbps
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder
from vidtwin_codec.encoding.rate.control import Controller
from vidtwin_codec.encoding.rate.wide import WideController
from vidtwin_codec.encoding.writing import Written, write_before_audio, write_vtw
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import (
    atomic_path,
    check_output,
    is_pipe,
    is_written_to,
    open_stream,
    renamed,
    temporary_folder,
)
from vidtwin_codec.media import MediaInfo, open_piped, probe
from vidtwin_codec.network.runner import LoadNetwork, NetworkRunner, announce_compiling
from vidtwin_codec.options import EncodeOptions, EncodeResult, Reporter

PathLike = str | os.PathLike[str]
WriteVideo = Callable[[BinaryIO, Encoder, AudioFile | None], Counts]
"""A function that writes a whole .vtw to a stream, of a video that the encoder describes, with its sound if any."""


def encode(
    source: PathLike,
    output: PathLike,
    options: EncodeOptions | None = None,
    *,
    reporter: Reporter | None = None,
    load: LoadNetwork = NetworkRunner.load,
    info: MediaInfo | None = None,
    write: WriteVideo | None = None,
) -> EncodeResult:
    """Encode a video to a .vtw file.

    Args:
        source: a video, an image sequence (``frames_%04d.png``) or ``-`` for standard input. What comes down a pipe is
            encoded as it comes where it can be read from front to back (Matroska, MPEG-TS, fragmented MP4, YUV4MPEG2),
            its rate is constant and there is no target; else it is stored first.
        output: the .vtw to write, which appears when it is complete; or ``-`` for standard output or a named pipe,
            which gets groups as they are packed, unless there is a target or sound from a pipe, which stands before
            the groups and is known at the end.
        options: defaults for everything left out.
        reporter: receives progress and warnings.
        load: reads the network; :meth:`NetworkCache.load` of one object for many files reads it once.
        info: what probing the source found, with the rate and part that ``options`` have; None probes it.
        write: writes the .vtw without the network, from a video that was encoded before with the same ``options``,
            which have no target; None for the usual way.

    Raises:
        VidtwinError: the input holds no video, the output cannot be written, or the weights cannot be read.
    """
    options, reporter = options or EncodeOptions(), reporter or Reporter()
    began = time.monotonic()
    check_output(output, source, force=options.force)
    warnings: list[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        reporter.warned(text)

    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        if is_pipe(source):
            info = stack.enter_context(_from_pipe(folder, options))
        info = info or look(source, options)
        entry = weights.resolve(options.weights)
        network = load(entry, options, "encoder")
        announce_compiling(network.layout, network.device, reporter)
        if text := too_many_kbps(info, options):
            warn(text)
        # what comes down a pipe is read once, pictures and audio together
        alongside = info.source.feed is not None and options.audio != "none" and bool(info.audio_streams)
        audio = None if alongside else extract_audio_file(info, folder, options)
        stream = stack.enter_context(_open_output(output, options))
        job = EncodeJob(info, network, entry, options, warn)
        if write is not None:
            for text in info.warnings:
                warn(text)
            encoder = Encoder(job)
            written = Written(write(stream, encoder, audio), encoder, options.quality)
        elif alongside:
            written = _write_alongside(stream, Encoder(job), folder, reporter)
        elif options.target is None:
            written = _write(stream, Encoder(job), audio, reporter)
        else:
            by_sample = network.layout.patterns is None or options.target.name == "vmaf"
            steer = Controller if by_sample else WideController
            controller = steer(job, audio=audio, load=load, folder=folder, reporter=reporter)
            written = controller.write(stream)
    counts, encoder = written.counts, written.encoder
    return EncodeResult(
        source=os.fspath(source),
        output=os.fspath(output),
        width=info.width,
        height=info.height,
        frames=counts.frames,
        fps=encoder.fps,
        vtw_bytes=counts.vtw_bytes,
        video_bytes=counts.video_bytes,
        audio_bytes=counts.audio_bytes,
        source_bytes=info.source.feed.bytes if info.source.feed else info.own_bytes,
        quality=written.quality,
        short_side=encoder.options.short_side,
        weights=entry.name,
        device=str(network.device),
        seconds=time.monotonic() - began,
        target=written.achieved,
        warnings=warnings,
    )


def look(source: PathLike, options: EncodeOptions) -> MediaInfo:
    """Probe what is to be encoded, a video or the part of it that is wanted.

    Raises:
        VidtwinError: it cannot be read, or ends before the part begins.
    """
    return probe(
        source,
        fps=options.fps,
        playlists=options.allow_playlists,
        start=options.start,
        duration=options.duration,
        hwaccel=options.hwaccel,
    )


@contextmanager
def _from_pipe(folder: Path, options: EncodeOptions) -> Iterator[MediaInfo]:
    """Standard input, stored first where it cannot be read as it comes; errors within say its name."""
    whole = options.target is not None or options.allow_playlists or bool(options.start) or options.duration is not None
    with open_piped(folder, sound=options.audio != "none", fps=options.fps, whole=whole) as piped:
        try:
            live = piped.info and replace(piped.info, hwaccel=options.hwaccel)
            yield live or look(piped.path, options)
        except VidtwinError as error:
            raise renamed(error, piped.path, "standard input") from error


@contextmanager
def _open_output(output: PathLike, options: EncodeOptions) -> Iterator[BinaryIO]:
    """A file that appears when it is complete; or a pipe, which is written to as groups are packed."""
    if is_written_to(output) and options.target is None:
        with open_stream(output) as stream:
            yield stream
        return
    with atomic_path(output, force=options.force) as temporary, temporary.open("wb") as stream:
        yield stream


def _write(stream: BinaryIO, encoder: Encoder, audio: AudioFile | None, reporter: Reporter) -> Written:
    quality = encoder.options.quality
    # packing overlaps with the network, which overlaps with reading
    with closing(encoder.pieces(reporter)) as pieces:
        return Written(write_vtw(stream, encoder, pieces, quality=quality, audio=audio), encoder, quality)


def _write_alongside(stream: BinaryIO, encoder: Encoder, folder: Path, reporter: Reporter) -> Written:
    with (
        audio_alongside(encoder.info, folder, encoder.options) as audio,
        closing(encoder.pieces(reporter)) as pieces,
    ):
        return Written(write_before_audio(stream, encoder, pieces, folder, audio), encoder, encoder.options.quality)
