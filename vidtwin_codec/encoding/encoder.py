"""The encoder turns a video into a stream of latents, before quantisation; frames are read ahead of the network."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec import weights
from vidtwin_codec.coding import GroupSpan, LatentArrays, Steps
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.media import FrameReader, MediaInfo
from vidtwin_codec.network.following import Follower, Stretch, can_follow, placed_geometry, seen_shares
from vidtwin_codec.network.geometry import Frames, scaled_size
from vidtwin_codec.network.memory import check_frames
from vidtwin_codec.network.runner import NetworkRunner
from vidtwin_codec.options import EncodeOptions, Reporter
from vidtwin_codec.stages import Prefetch, ahead, depth_for

Placements = tuple[Placement | None, ...]


@dataclass(frozen=True, eq=False)
class Piece:
    """Latents of consecutive clips of a video.

    Attributes:
        span: the part of the video that the clips cover.
        tiles: tiles of each clip.
        latents: posterior means, float32 ``[clips · tiles, …]``, clip-major.
        placement: canvas of a clip that has one of its own, and is alone in its piece; its latents have the canvas'
            grid, or are of the canvas' tiles.
    """

    span: GroupSpan
    tiles: int
    latents: LatentArrays
    placement: Placement | None = None

    @property
    def clips(self) -> Iterator[LatentArrays]:
        """Split the latents by clip, ``[tiles, …]`` each."""
        for start in range(0, self.span.clips * self.tiles, self.tiles):
            yield self.latents.map(itemgetter(slice(start, start + self.tiles)))


@dataclass(frozen=True, eq=False)
class EncodeJob:
    """A video that is to be encoded, and how.

    Attributes:
        info: what probing the video found.
        network: the network's encoder.
        entry: the weights it was read from.
        options: options of the encoding.
        warned: receives warnings about the video.
    """

    info: MediaInfo
    network: NetworkRunner
    entry: weights.Entry
    options: EncodeOptions
    warned: Callable[[str], None] = lambda _: None

    @property
    def base_steps(self) -> Steps:
        """Quantisation steps of the weights, which qualities scale."""
        steps = self.entry.metadata.steps
        assert steps is not None  # weights without steps are not resolved
        return steps

    def at_side(self, short_side: int | None) -> EncodeJob:
        """Return the same job at another short side in pixels; None stands for the video's own size."""
        return replace(self, options=replace(self.options, short_side=short_side))


class Encoder:
    """An encoder of one video.

    Args:
        job: the video; of its options, this reads ``short_side``, ``fps``, ``overlap`` and ``camera``.

    Attributes:
        job: the same.
        fps: frame rate that is coded, in frames a second.
        geometry: clips and tiles of the video.
        layout: shapes of the latents of one tile.
        clips_per_group: clips of a group where the scene moves.
        most_clips_per_group: most clips of a group, where the scene stands still; no group crosses a multiple of it.
        follows: whether clips may have canvases of their own, which follow the camera.
    """

    def __init__(self, job: EncodeJob) -> None:
        self.job, self.info, self.network, self.options = job, job.info, job.network, job.options
        info, network, options = job.info, job.network, job.options
        self.fps = options.fps or info.fps
        width, height = scaled_size(info.width, info.height, options.short_side)
        self.geometry = network.geometry(width, height, options.overlap)
        check_frames(width, height, self.geometry.clip_frames, hint="pass --short-side to make them smaller")
        self.layout = network.layout_of(self.geometry)
        self.clips_per_group = self.geometry.clips_per_group(self.fps)
        self.most_clips_per_group = self.geometry.most_clips_per_group(self.fps)
        self.follows = options.camera and can_follow(self.geometry, self.layout)

    def pieces(
        self, reporter: Reporter | None = None, *, first: int = 0, count: int | None = None
    ) -> Generator[Piece, None, None]:
        """Run the network, and yield clips in order, a few at a time; each call reads the video again.

        Pieces do not cross multiples of ``clips_per_group``. A part of the video gives the same latents, to the last
        bit, as the whole of it.

        Args:
            reporter: receives progress.
            first: index of the first clip, a multiple of ``most_clips_per_group``.
            count: number of clips, such a multiple, too; None for all to the end.

        Raises:
            VidtwinError: the video cannot be read, or there is not enough memory for one tile.
        """
        reporter = reporter or Reporter()
        for text in self.info.warnings:
            self.job.warned(text)
        geometry, at = self.geometry, GroupSpan(first * self.geometry.clip_frames, 0, first, 0)
        with self._open(at.first_frame, None if count is None else count * geometry.clip_frames) as frames:
            reporter.started(frames.frames, str(self.network.device))
            clip_bytes = geometry.width * geometry.height * 3 * geometry.clip_frames
            seen, feed = self._seen(frames, first), self.info.source.feed
            with (
                Prefetch(seen, depth_for(clip_bytes * self.clips_at_once)) as stretches,
                nullcontext() if feed is None else feed.stopping(),
            ):
                for count_frames, tiles, placements, latents in ahead(
                    map(self._begun, stretches), self.network.calls_ahead
                ):
                    at = GroupSpan(at.end_frame, count_frames, at.end_clip, geometry.clips(count_frames))
                    found = latents()
                    reporter.advanced(count_frames)
                    yield from self._pieces(at, tiles, found, placements)
        for text in frames.warnings[len(self.info.warnings) :]:
            self.job.warned(text)

    def weights_of(self, placement: Placement | None) -> NDArray[np.float32] | None:
        """Compute the share of each patch of a clip that is seen, ``[rows, columns]``; None where all of it is."""
        if self.layout.patterns is None or len(self.geometry.tiles) > 1:
            return None
        return seen_shares(
            placement, self.layout, self.geometry.height, self.geometry.width, self.network.model.config.lapping
        )

    def _begun(self, seen: tuple[int, Stretch]) -> tuple[int, int, Placements, Callable[[], LatentArrays]]:
        """Begin to encode a stretch; return frames, tiles of a clip, placements and what waits for the latents."""
        count_frames, stretch = seen
        of_clip = placed_geometry(self.geometry, self.layout, stretch.placements[0])
        latents = self.network.begin_encoding(stretch.frames, of_clip)
        return count_frames, len(of_clip.tiles), stretch.placements, latents

    def _pieces(self, span: GroupSpan, tiles: int, latents: LatentArrays, placements: Placements) -> Iterator[Piece]:
        length = self.geometry.clip_frames
        whole = Piece(span, tiles, latents)
        if not any(placements):
            yield whole
            return
        for number, (clip, placement) in enumerate(zip(whole.clips, placements, strict=True)):
            frames = min(length, span.frames - number * length)
            of_clip = GroupSpan(span.first_frame + number * length, frames, span.first_clip + number, 1)
            yield Piece(of_clip, tiles, clip, placement)

    def _seen(self, frames: FrameReader, first: int) -> Iterator[tuple[int, Stretch]]:
        """Yield clips as the network sees them, each with its number of frames of the video."""
        follower = Follower(self.geometry, self.layout, self.most_clips_per_group) if self.follows else None
        for piece in self._read(frames):
            if follower is None:
                yield len(piece), Stretch(piece, (None,))
                continue
            left = len(piece)
            for stretch in follower.follow(piece, first):
                clips = len(stretch.placements)
                count_frames = min(left, clips * self.geometry.clip_frames)
                yield count_frames, stretch
                left -= count_frames
                first += clips

    @property
    def clips_at_once(self) -> int:
        """Largest number of clips of a piece."""
        return min(self.network.clips_at_once(self.geometry), self.clips_per_group)

    def _open(self, first_frame: int, limit: int | None) -> FrameReader:
        return FrameReader(
            self.info,
            width=self.geometry.width,
            height=self.geometry.height,
            fps=self.options.fps,
            start=first_frame / self.fps,
            max_frames=limit,
        )

    def _read(self, frames: FrameReader) -> Iterator[Frames]:
        """Read frames of a few whole clips at a time, up to the end of a group."""
        missing = self.clips_per_group
        while True:
            clips = min(self.clips_at_once, missing)
            piece = frames.read_full(clips * self.geometry.clip_frames)
            if not len(piece):
                return
            missing = missing - clips or self.clips_per_group
            yield piece
