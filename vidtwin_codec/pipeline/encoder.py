"""A video as a stream of latents: frames read ahead, the network behind them. Quality plays no part yet."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from vidtwin_codec import weights
from vidtwin_codec.coding import GroupSpan, LatentArrays
from vidtwin_codec.media import FrameReader, MediaInfo
from vidtwin_codec.pipeline.codec import Codec, Frames
from vidtwin_codec.pipeline.geometry import scaled_size
from vidtwin_codec.pipeline.options import EncodeOptions, Reporter
from vidtwin_codec.pipeline.stages import Prefetch, depth_for


@dataclass(frozen=True, eq=False)
class Piece:
    """Consecutive clips of a video.

    Attributes:
        span: which part of the video they are.
        tiles: of each clip.
        latents: posterior means, float32 ``[clips · tiles, …]``, clip-major.
    """

    span: GroupSpan
    tiles: int
    latents: LatentArrays


class Encoder:
    """One video, ready to be turned into latents.

    Args:
        info: of the video.
        codec: the network's encoder.
        entry: the weights it was read from.
        options: of these ``short_side``, ``fps`` and ``overlap``.
        warned: is told what is remarkable about the video.

    Attributes:
        fps: frames a second that are coded.
        geometry: clips and tiles. layout: shapes of one tile's latents.
        clips_per_group: where the scene moves. most_clips_per_group: where it stands still; no group reaches across
            multiples of it.
    """

    def __init__(
        self,
        info: MediaInfo,
        codec: Codec,
        entry: weights.Entry,
        options: EncodeOptions,
        warned: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.info, self.codec, self.entry, self.options, self._warned = info, codec, entry, options, warned
        self.fps = options.fps or info.fps
        width, height = scaled_size(info.width, info.height, options.short_side)
        self.geometry = codec.geometry(width, height, options.overlap)
        self.layout = codec.layout_of(self.geometry)
        self.clips_per_group = self.geometry.clips_per_group(self.fps)
        self.most_clips_per_group = self.geometry.most_clips_per_group(self.fps)

    def pieces(
        self, reporter: Reporter | None = None, *, first: int = 0, count: int | None = None
    ) -> Generator[Piece, None, None]:
        """All clips in order, a few at a time; reads the video anew each time.

        Pieces do not reach across multiples of ``clips_per_group``.

        Args:
            first: the clip to begin with, a multiple of ``clips_per_group``. count: of clips, likewise; None: to the
                end. They are what they are in a run over the whole video, to the last bit.

        Raises:
            VidtwinError: the video cannot be read, or the memory does not suffice for one tile.
        """
        reporter = reporter or Reporter()
        for text in self.info.warnings:
            self._warned(text)
        geometry, at = self.geometry, GroupSpan(first * self.geometry.clip_frames, 0, first, 0)
        with self._open(at.first_frame, None if count is None else count * geometry.clip_frames) as frames:
            reporter.started(frames.frames, str(self.codec.device))
            clip_bytes = geometry.width * geometry.height * 3 * geometry.clip_frames
            with Prefetch(self._read(frames), depth_for(clip_bytes * self._at_once)) as pieces:
                for piece in pieces:
                    at = GroupSpan(at.end_frame, len(piece), at.end_clip, geometry.clips(len(piece)))
                    latents = self.codec.encode(piece, geometry)
                    reporter.advanced(len(piece))
                    yield Piece(at, len(geometry.tiles), latents)
        for text in frames.warnings[len(self.info.warnings) :]:
            self._warned(text)

    @property
    def _at_once(self) -> int:
        return min(self.codec.clips_at_once(self.geometry), self.clips_per_group)

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
        """Frames of a few whole clips at a time, up to the end of a group."""
        missing = self.clips_per_group
        while True:
            clips = min(self._at_once, missing)
            piece = frames.read(clips * self.geometry.clip_frames)
            if not len(piece):
                return
            missing = missing - clips or self.clips_per_group
            yield piece
