"""Facts about an input, which are known before its frames are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from vidtwin_codec.media.source import Source
from vidtwin_codec.media.timeline import Timeline


@dataclass(frozen=True)
class ColorInfo:
    """The colour tags of a video by ffmpeg's names; ``unknown`` where the input has none."""

    range: str = "unknown"
    matrix: str = "unknown"
    primaries: str = "unknown"
    transfer: str = "unknown"

    @property
    def hdr(self) -> bool:
        """Whether the transfer is one of the two HDR curves, PQ or HLG."""
        return self.transfer in ("smpte2084", "arib-std-b67")


@dataclass(frozen=True)
class AudioStream:
    """One audio stream: ``index`` counts all streams of the file; zero where a number is unknown."""

    index: int
    codec: str
    sample_rate: int
    channels: int
    layout: str
    language: str | None = None


@dataclass(frozen=True)
class Part:
    """A stretch of a video that stands for the whole.

    Attributes:
        begin: seconds from the video's first frame to the part's.
        limit: most seconds that the part lasts; None: to the end of the video.
        whole_frames: frames of the whole video at its own rate; None if only decoding can tell.
    """

    begin: Fraction
    limit: Fraction | None
    whole_frames: int | None


@dataclass(frozen=True)
class MediaInfo:
    """A video input, or a part of one.

    Attributes:
        path: name of the input, as the user gave it.
        width: width in stored pixels after rotation; the sample aspect is not applied.
        height: height in stored pixels after rotation.
        rotation: degrees clockwise by which pictures are turned for display (width and height include it).
        sample_aspect: width over height of one pixel, after rotation.
        fps: exact frames a second; for variable input, the constant rate at which it will be read.
        variable_rate: whether frames will be repeated or dropped to keep ``fps`` in step with the audio.
        frames: number of frames that a reader gives at ``fps``; None if only decoding can tell.
        duration: seconds of video at ``fps``; None where ``frames`` is.
        start_time: seconds from the start of the file to the first frame that can be shown.
        pix_fmt: pixel format of the decoded pictures, by ffmpeg's name.
        codec: codec of the video, by ffmpeg's name.
        color: colour tags of the decoded pictures.
        alpha: whether the pictures are transparent.
        interlaced: whether the pictures are interlaced.
        audio_streams: all audio streams, of which the first is kept.
        file_bytes: size of the input in bytes, of all images of a sequence together; 0 for a stream read as it comes.
        warnings: facts that a user should know before relying on the result; a reader's warnings begin with them.
        stream_index: index of the video stream in the file.
        source: the arguments with which ffmpeg opens the input.
        decoder: the decoder that ffmpeg has to use; None leaves the choice to it.
        hwaccel: the hardware that decodes the frames, by ffmpeg's name; ``auto`` is one that works here, or ``none``.
        timeline: the times at which its pictures are shown.
        part: which part of the file is meant; ``frames`` and ``duration`` are the part's then, all else is the file's.
    """

    path: Path
    width: int
    height: int
    rotation: int
    sample_aspect: Fraction
    fps: Fraction
    variable_rate: bool
    frames: int | None
    duration: Fraction | None
    start_time: Fraction
    pix_fmt: str
    codec: str
    color: ColorInfo
    alpha: bool
    interlaced: bool
    audio_streams: tuple[AudioStream, ...]
    file_bytes: int
    warnings: tuple[str, ...]
    stream_index: int
    source: Source
    decoder: str | None = None
    hwaccel: str = "none"
    timeline: Timeline = field(default_factory=Timeline)
    part: Part | None = None

    @property
    def hdr(self) -> bool:
        """Whether the input is PQ or HLG and will be tone-mapped."""
        return self.color.hdr

    @property
    def own_bytes(self) -> int | None:
        """Bytes of the input; None for a part, whose share of them is not known."""
        return self.file_bytes if self.part is None else None
