"""Encode: media → geometry → network → coding → container, each on its own thread where that helps."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vidtwin_codec import __version__, weights
from vidtwin_codec.coding import Group, LatentArrays, pack_group, quality_scale, quantize
from vidtwin_codec.container import AudioInfo, Counts, Header, VtwWriter
from vidtwin_codec.files import atomic_path, check_output, is_pipe
from vidtwin_codec.media import FrameReader, MediaInfo, extract_audio, probe, spool_stdin
from vidtwin_codec.pipeline.codec import Codec, Frames
from vidtwin_codec.pipeline.geometry import scaled_size
from vidtwin_codec.pipeline.options import EncodeOptions, EncodeResult, Reporter
from vidtwin_codec.pipeline.stages import Prefetch, Sink

PathLike = str | os.PathLike[str]
AUDIO_CHUNK = 1 << 20


def encode(
    source: PathLike, output: PathLike, options: EncodeOptions | None = None, *, reporter: Reporter | None = None
) -> EncodeResult:
    """Encode a video to a .vtw file.

    Args:
        source: a video, an image sequence (``frames_%04d.png``) or ``-`` for standard input.
        output: the .vtw to write, or ``-`` for standard output. It appears when it is complete.
        options: defaults for everything left out.
        reporter: is told of progress and warnings.

    Raises:
        VidtwinError: the input holds no video, the output cannot be written, the weights cannot be read.
    """
    options, reporter = options or EncodeOptions(), reporter or Reporter()
    began = time.monotonic()
    check_output(output, source, force=options.force)
    warnings: list[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        reporter.warned(text)

    with ExitStack() as stack:
        path = stack.enter_context(spool_stdin()) if is_pipe(source) else source
        info = probe(path, fps=options.fps)
        entry = weights.resolve(options.weights)
        codec = Codec.load(entry, options, "encoder")
        temporary = stack.enter_context(atomic_path(output))
        with temporary.open("wb") as stream:
            counts, fps = _Encoder(info, codec, entry, options, warn).write(stream, reporter)
    return EncodeResult(
        source=os.fspath(source),
        output=os.fspath(output),
        width=info.width,
        height=info.height,
        frames=counts.frames,
        fps=fps,
        vtw_bytes=counts.vtw_bytes,
        video_bytes=counts.video_bytes,
        audio_bytes=counts.audio_bytes,
        source_bytes=info.file_bytes,
        weights=entry.name,
        device=str(codec.device),
        seconds=time.monotonic() - began,
        warnings=warnings,
    )


class _Encoder:
    """One video on its way into one stream."""

    def __init__(
        self, info: MediaInfo, codec: Codec, entry: weights.Entry, options: EncodeOptions, warn: Callable[[str], None]
    ) -> None:
        self.info, self.codec, self.entry, self.options, self.warn = info, codec, entry, options, warn
        self.fps = options.fps or info.fps
        width, height = scaled_size(info.width, info.height, options.short_side)
        self.geometry = codec.geometry(width, height, options.overlap)
        base = entry.metadata.steps
        assert base is not None  # weights without steps are not resolved
        self.steps = base.scaled(quality_scale(options.quality))

    def write(self, stream: BinaryIO, reporter: Reporter) -> tuple[Counts, Fraction]:
        geometry = self.geometry
        clips_per_group = geometry.clips_per_group(self.fps)
        for text in self.info.warnings:
            self.warn(text)
        with ExitStack() as stack:
            sound = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vidtwin-")), "audio.mka")
            writer = VtwWriter(stream, self._header(clips_per_group, self._extract_audio(sound)))
            if sound.exists():
                writer.write_audio(_chunks(sound))
            frames = FrameReader(self.info, width=geometry.width, height=geometry.height, fps=self.options.fps)
            stack.enter_context(frames)
            reporter.started(frames.frames, str(self.codec.device))
            sink = stack.enter_context(Sink(partial(self._pack, writer)))
            pieces = stack.enter_context(Prefetch(self._read(frames, clips_per_group)))
            group = _OpenGroup(0, 0, len(geometry.tiles))
            for piece, closes_group in pieces:
                group.add(self.codec.encode(piece, geometry), len(piece), geometry.clips(len(piece)))
                reporter.advanced(len(piece))
                if closes_group:
                    sink.put(group)
                    group = group.next()
            if group.clips:
                sink.put(group)
        for text in frames.warnings[len(self.info.warnings) :]:
            self.warn(text)
        return writer.finish(), self.fps

    def _read(self, frames: FrameReader, clips_per_group: int) -> Iterator[tuple[Frames, bool]]:
        """Frames of a few whole clips at a time, and whether they complete a group."""
        at_once = self.codec.clips_at_once(self.geometry)
        missing = clips_per_group
        while True:
            clips = min(at_once, missing)
            piece = frames.read(clips * self.geometry.clip_frames)
            if not len(piece):
                return
            missing -= clips
            yield piece, missing == 0
            missing = missing or clips_per_group

    def _pack(self, writer: VtwWriter, group: _OpenGroup) -> None:
        symbols = quantize(group.latents(), self.steps)
        packed = Group(group.first_frame, group.frames, group.first_clip, group.clips, group.tiles, symbols)
        writer.write_group(pack_group(packed, self.codec.layout, self.options.level), packed.span)

    def _extract_audio(self, target: Path) -> AudioInfo | None:
        """Sound goes first, so that a file that is cut short still has it."""
        mode = self.options.audio
        if mode == "none":
            return None
        sound = extract_audio(self.info, target, mode=mode, bitrate_kbps=self.options.audio_kbps)
        return None if sound is None else AudioInfo(sound.codec, sound.bytes, sound.container)

    def _header(self, clips_per_group: int, audio: AudioInfo | None) -> Header:
        info, geometry, options = self.info, self.geometry, self.options
        return Header(
            weights_name=self.entry.name,
            weights_sha256=self.entry.sha256,
            layout=self.codec.layout,
            steps=self.steps,
            width=info.width,
            height=info.height,
            coded_width=geometry.width,
            coded_height=geometry.height,
            fps=self.fps,
            sample_aspect=info.sample_aspect,
            clip_frames=geometry.clip_frames,
            tile_height=geometry.tile_height,
            tile_width=geometry.tile_width,
            overlap=geometry.overlap,
            clips_per_group=clips_per_group,
            audio=audio,
            options={"quality": options.quality, "short_side": options.short_side},
            source={"bytes": info.file_bytes},
            created_by=f"vidtwin {__version__}",
        )


class _OpenGroup:
    """Latents of consecutive clips until there are enough for a group."""

    def __init__(self, first_frame: int, first_clip: int, tiles: int) -> None:
        self.first_frame, self.first_clip, self.tiles = first_frame, first_clip, tiles
        self.frames = self.clips = 0
        self._parts: list[LatentArrays] = []

    def add(self, latents: LatentArrays, frames: int, clips: int) -> None:
        self._parts.append(latents)
        self.frames += frames
        self.clips += clips

    def next(self) -> _OpenGroup:
        """The empty group that follows this one."""
        return _OpenGroup(self.first_frame + self.frames, self.first_clip + self.clips, self.tiles)

    def latents(self) -> LatentArrays:
        """``[clips · tiles, …]``."""
        return LatentArrays(*(np.concatenate(column) for column in zip(*self._parts, strict=True)))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(AUDIO_CHUNK):
            yield chunk
