"""A video as a stream of latents: frames read ahead, the network behind them. Quality plays no part yet."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vidtwin_codec import weights
from vidtwin_codec.coding import GroupSpan, LatentArrays
from vidtwin_codec.media import FrameReader, MediaInfo
from vidtwin_codec.pipeline.codec import Codec, Frames
from vidtwin_codec.pipeline.geometry import scaled_size
from vidtwin_codec.pipeline.options import EncodeOptions, Reporter
from vidtwin_codec.pipeline.stages import Prefetch
from vidtwin_codec.refinement.refiner import Refiner
from vidtwin_codec.refinement.symbols import Alternative


@dataclass(frozen=True, eq=False)
class LatentGroup:
    """Consecutive clips that will be packed together.

    Attributes:
        span: which part of the video it is.
        tiles: of each clip.
        latents: posterior means, or what was made of them, float32 ``[clips · tiles, …]``, clip-major.
        sensitivity: what an error in a channel does to the picture, shaped to broadcast; None: not measured.
        alternative: the posterior means, where ``latents`` are not those.
    """

    span: GroupSpan
    tiles: int
    latents: LatentArrays
    sensitivity: LatentArrays | None = None
    alternative: Alternative | None = None


class Encoder:
    """One video, ready to be turned into latents.

    Args:
        info: of the video.
        codec: the network's encoder.
        entry: the weights it was read from.
        options: of these ``short_side``, ``fps`` and ``overlap``.
        refiner: improves the latents, where the effort asks for it.
        warned: is told what is remarkable about the video.

    Attributes:
        fps: frames a second that are coded.
        geometry: clips and tiles.
        clips_per_group: of every group but the last. most_clips_per_group: once groups are joined in packing.
    """

    def __init__(
        self,
        info: MediaInfo,
        codec: Codec,
        entry: weights.Entry,
        options: EncodeOptions,
        warned: Callable[[str], None] = lambda _: None,
        refiner: Refiner | None = None,
    ) -> None:
        self.info, self.codec, self.entry, self.options, self._warned = info, codec, entry, options, warned
        self._refiner = refiner
        self.fps = options.fps or info.fps
        width, height = scaled_size(info.width, info.height, options.short_side)
        self.geometry = codec.geometry(width, height, options.overlap)
        self.clips_per_group = self.geometry.clips_per_group(self.fps)
        self.most_clips_per_group = self.geometry.most_clips_per_group(self.fps)

    def groups(
        self, reporter: Reporter | None = None, *, first: int = 0, count: int | None = None
    ) -> Generator[LatentGroup, None, None]:
        """Every group in order; reads the video anew each time.

        Args:
            first: number of the group to begin with. count: of groups; None: to the end. They are what they are in a
                run over the whole video, to the last bit.

        Raises:
            VidtwinError: the video cannot be read, or the memory does not suffice for one tile.
        """
        reporter = reporter or Reporter()
        for text in self.info.warnings:
            self._warned(text)
        geometry = self.geometry
        first_clip = first * self.clips_per_group
        if first_clip and self._refiner is not None:
            self._measure_beginning(self._refiner)
        limit = None if count is None else count * self.clips_per_group * geometry.clip_frames
        with self._open(first_clip * geometry.clip_frames, limit) as frames:
            reporter.started(frames.frames, str(self.codec.device))
            with Prefetch(self._read(frames)) as pieces:
                group = _OpenGroup(first_clip * geometry.clip_frames, first_clip, len(geometry.tiles))
                for piece, closes_group in pieces:
                    group.add(*self._latents(piece), len(piece), geometry.clips(len(piece)))
                    reporter.advanced(len(piece))
                    if closes_group:
                        yield self._closed(group)
                        group = group.next()
            if group.clips:
                yield self._closed(group)
        for text in frames.warnings[len(self.info.warnings) :]:
            self._warned(text)

    def _open(self, first_frame: int, limit: int | None) -> FrameReader:
        return FrameReader(
            self.info,
            width=self.geometry.width,
            height=self.geometry.height,
            fps=self.options.fps,
            start=first_frame / self.fps,
            max_frames=limit,
        )

    def _measure_beginning(self, refiner: Refiner) -> None:
        """What refining a video from its beginning measures there."""
        clips = min(self.codec.clips_at_once(self.geometry), self.clips_per_group)
        with self._open(0, clips * self.geometry.clip_frames) as frames:
            piece = frames.read(clips * self.geometry.clip_frames)
        refiner.measure(self.codec.encode(piece, self.geometry))

    def _latents(self, frames: Frames) -> tuple[LatentArrays, Alternative | None]:
        """What is to be coded, and the posterior means where they are not the same."""
        means = self.codec.encode(frames, self.geometry)
        if self._refiner is None:
            return means, None
        refined = self._refiner.refine(frames, means, self.geometry)
        return refined.latents, None if refined.latents is means else Alternative(means, refined.saved)

    def _closed(self, group: _OpenGroup) -> LatentGroup:
        sensitivity = None if self._refiner is None else self._refiner.sensitivity
        return replace(group.closed(), sensitivity=sensitivity)

    def _read(self, frames: FrameReader) -> Iterator[tuple[Frames, bool]]:
        """Frames of a few whole clips at a time, and whether they complete a group."""
        at_once = self.codec.clips_at_once(self.geometry)
        missing = self.clips_per_group
        while True:
            clips = min(at_once, missing)
            piece = frames.read(clips * self.geometry.clip_frames)
            if not len(piece):
                return
            missing -= clips
            yield piece, missing == 0
            missing = missing or self.clips_per_group


class _OpenGroup:
    """Latents of consecutive clips until there are enough for a group."""

    def __init__(self, first_frame: int, first_clip: int, tiles: int) -> None:
        self.first_frame, self.first_clip, self.tiles = first_frame, first_clip, tiles
        self.frames = self.clips = 0
        self._parts: list[LatentArrays] = []
        self._alternatives: list[Alternative] = []

    def add(self, latents: LatentArrays, alternative: Alternative | None, frames: int, clips: int) -> None:
        self._parts.append(latents)
        if alternative is not None:
            self._alternatives.append(alternative)
        self.frames += frames
        self.clips += clips

    def next(self) -> _OpenGroup:
        """The empty group that follows this one."""
        return _OpenGroup(self.first_frame + self.frames, self.first_clip + self.clips, self.tiles)

    def closed(self) -> LatentGroup:
        span = GroupSpan(self.first_frame, self.frames, self.first_clip, self.clips)
        alternative = None
        if self._alternatives:
            parts, errors = zip(*self._alternatives, strict=True)
            alternative = Alternative(_concatenated(parts), sum(errors))
        return LatentGroup(span, self.tiles, _concatenated(self._parts), alternative=alternative)


def _concatenated(parts: Sequence[LatentArrays]) -> LatentArrays:
    return LatentArrays(*(np.concatenate(column) for column in zip(*parts, strict=True)))
