"""The function ``decode``, .vtw to video: container → coding → network → geometry → media, on several threads."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from vidtwin_codec.container import MATROSKA, AudioInfo
from vidtwin_codec.decoding.decoder import Decoder
from vidtwin_codec.decoding.output import OpenOutput, PathLike, check_target, open_target, writing_options
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error, is_pipe, open_input, temporary_folder
from vidtwin_codec.media import AudioTrack, FrameWriter, open_audio_track, piped_input, spool_stdin
from vidtwin_codec.network.geometry import Frames
from vidtwin_codec.network.runner import LoadNetwork, NetworkRunner, announce_compiling
from vidtwin_codec.options import DecodeOptions, DecodeResult, Reporter
from vidtwin_codec.stages import Sink, depth_for


def decode(
    source: PathLike,
    output: PathLike,
    options: DecodeOptions | None = None,
    *,
    reporter: Reporter | None = None,
    load: LoadNetwork = NetworkRunner.load,
) -> DecodeResult:
    """Decode a .vtw file to a video.

    Args:
        source: the .vtw, a named pipe, or ``-`` for standard input. Pipes are decoded as they are read, except with
            ``options.recover``.
        output: the video to write, which appears when it is complete; numbered images (``frames_%04d.png``); or ``-``
            for standard output, which is written to as the video is decoded (as fragmented MP4, if no
            ``options.format`` is given). Named pipes are written to likewise.
        options: defaults for everything left out.
        reporter: receives progress and warnings.
        load: reads the network; :meth:`NetworkCache.load` of one object for many files reads it once.

    Raises:
        VidtwinError: the file is damaged (and ``recover`` is not set), its weights are not here, or the output
            cannot be written. Sound that cannot be read is left out, with a warning.
    """
    options, reporter = options or DecodeOptions(), reporter or Reporter()
    began = time.monotonic()
    container = check_target(output, source, options)
    with ExitStack() as stack:
        decoder = stack.enter_context(open_decoder(source, options, reporter, load))
        target = stack.enter_context(open_target(output, container, options))
        written = write_video(decoder, target, reporter, shown_name(source))
    header = decoder.header
    return DecodeResult(
        source=os.fspath(source),
        output=os.fspath(output),
        width=decoder.width,
        height=decoder.height,
        frames=decoder.last - decoder.first,
        fps=header.fps,
        vtw_bytes=decoder.reader.counts.vtw_bytes,
        output_bytes=written,
        weights=header.weights_name,
        device=str(decoder.network.device),
        seconds=time.monotonic() - began,
        warnings=decoder.warnings,
    )


@contextmanager
def open_decoder(
    source: PathLike, options: DecodeOptions, reporter: Reporter, load: LoadNetwork = NetworkRunner.load
) -> Iterator[Decoder]:
    """Open a .vtw, or ``-`` for standard input, and say that decoding begins.

    Raises:
        VidtwinError: as :func:`decode`.
    """
    with ExitStack() as stack:
        path, stream = source, None
        if is_pipe(source) and options.recover:
            path = stack.enter_context(spool_stdin())  # what is whole of a damaged file is looked for back and forth
        elif is_pipe(source):
            path, stream = shown_name(source), piped_input()
        elif Path(source).is_fifo():
            stream = stack.enter_context(open_input(source))
        decoder = stack.enter_context(Decoder(path, options, reporter.warned, load, stream))
        announce_compiling(decoder.header.layout, decoder.network.device, reporter)
        reporter.started(decoder.length, str(decoder.network.device))
        yield decoder


def shown_name(source: PathLike) -> str:
    """Return the user's name for a source."""
    return "standard input" if is_pipe(source) else os.fspath(source)


def decode_frames(source: PathLike, options: DecodeOptions | None = None) -> Iterator[Frames]:
    """Decode in memory, a clip at a time: uint8 ``[n, height, width, 3]`` RGB, n up to the clip's frames.

    Raises:
        VidtwinError: as :func:`decode`.
    """
    with Decoder(source, options or DecodeOptions()) as decoder:
        yield from decoder.frames()


def write_video(decoder: Decoder, target: OpenOutput, reporter: Reporter, name: str) -> int:
    """Write the frames of a decoder, with their audio where the output can hold it, and return the bytes written.

    Args:
        decoder: an open .vtw.
        target: an open output.
        reporter: receives progress.
        name: the user's name for the .vtw.

    Raises:
        VidtwinError: the .vtw is damaged (and ``recover`` is not set), or the output cannot be written.
        OSError: a stream does not take what is written.
    """
    header, options = decoder.header, decoder.options
    with ExitStack() as stack:
        audio = None
        if options.audio and header.audio is not None:
            if target.container.silent:
                decoder.warn(f"{target.container.muxer} output has no sound: that of the file is left out")
            else:
                folder = stack.enter_context(temporary_folder())
                audio = _audio_track(decoder, Path(folder), name)
        writer = FrameWriter(
            target.path,
            decoder.width,
            decoder.height,
            header.fps,
            options=writing_options(options),
            audio=audio,
            sample_aspect=header.sample_aspect,
            container=target.container,
            stream=target.stream,
        )
        stack.enter_context(writer)
        clip_bytes = decoder.width * decoder.height * 3 * header.clip_frames
        sink = stack.enter_context(Sink(writer.write, depth_for(clip_bytes)))
        for frames in decoder.frames():
            sink.put(frames)
            reporter.advanced(len(frames))
    if writer.audio_problem:
        decoder.warn(f"{name}: the sound is damaged ({writer.audio_problem})")
    return writer.streamed or target.file_bytes


def _audio_track(decoder: Decoder, folder: Path, name: str) -> AudioTrack | None:
    """Unpack the audio of the decoded frames to ``folder``; None, after a warning, where it cannot be read."""
    audio, fps = decoder.header.audio, decoder.header.fps
    assert audio is not None
    path = folder / "audio.mka"
    try:
        with path.open("wb") as stream:
            for chunk in decoder.reader.audio_chunks():
                stream.write(chunk)
        found = _open(audio, path)
    except OSError as error:
        raise explain_os_error(error, folder.parent) from error
    if isinstance(found, str):
        decoder.warn(f"{name}: the sound cannot be read and is left out ({found})")
        return None
    if found.problem:
        decoder.warn(f"{name}: the sound is damaged; what is whole of it is kept ({found.problem})")
    duration = None if decoder.length is None else decoder.length / fps
    return replace(found, start=decoder.first / fps, duration=duration)


def _open(audio: AudioInfo, path: Path) -> AudioTrack | str:
    """Open the audio in an unpacked file, or say why there is none."""
    if audio.container != MATROSKA:
        return f"it is stored as {audio.container}"
    if not path.stat().st_size:
        return "none of it is there"
    try:
        return open_audio_track(path)
    except VidtwinError as error:
        return error.message
