"""What a caller may choose, and what comes back: the same for Python and for the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from vidtwin_codec.coding import DEFAULT_LEVEL, DEFAULT_QUALITY
from vidtwin_codec.coding.effort import DEFAULT_EFFORT, MAX_EFFORT
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.options.target import NAMES, Achieved, Target

AUDIO_MODES = ("opus", "copy", "none")
DEFAULT_OVERLAP = 16


@dataclass(frozen=True)
class NetworkOptions:
    """Which weights run where."""

    weights: str | None = None
    """A name, a file or the first digits of a SHA-256. None: ``mini`` for encoding; for decoding, those that the
    .vtw names."""
    device: str = "auto"
    precision: str = "auto"
    batch: int | None = None
    """Tiles in one call of the network; None chooses from the memory of the device."""


@dataclass(frozen=True)
class EncodeOptions(NetworkOptions):
    """Choices of :func:`vidtwin_codec.encode`."""

    quality: float = DEFAULT_QUALITY
    """0 (smallest) to 100 (no visible loss from quantisation); left alone where there is a target."""
    short_side: int | None = None
    """Scale the shorter side down to this many pixels before encoding. With a target and None, it is chosen, too."""
    target_kbps: float | None = None
    """Kilobits of the whole .vtw a second, sound included. Of the four targets at most one; see
    :class:`~vidtwin_codec.options.target.Target`."""
    target_ratio: float | None = None
    """Bytes of raw RGB over bytes of latents, as ``compression_ratio``."""
    target_size: float | None = None
    """Bytes of the whole .vtw, which it shall not exceed."""
    target_psnr: float | None = None
    """dB, RGB, at the video's own size."""
    fps: Fraction | None = None
    """Frame rate to resample to (of images: at which they follow each other); None keeps the source's."""
    audio: Literal["opus", "copy", "none"] = "opus"
    audio_kbps: int | None = None
    overlap: int = DEFAULT_OVERLAP
    """Least number of pixels that neighbouring tiles share."""
    effort: int = DEFAULT_EFFORT
    """0 rounds latents to symbols, 1 chooses symbols by what error and bits they cost together."""
    camera: bool = True
    """Let windows follow the camera, where the network sees whole frames: fewer bytes where the picture pans."""
    level: int = DEFAULT_LEVEL
    """zstd level, 1 to 22."""
    allow_playlists: bool = False
    """Take HLS, DASH, ffconcat and IMF playlists as sources, which read the other local files that they name."""
    force: bool = False
    """Replace an existing output."""

    def __post_init__(self) -> None:
        if self.audio not in AUDIO_MODES:
            raise VidtwinError(f"audio {self.audio!r} is none of {', '.join(AUDIO_MODES)}")
        if self.short_side is not None and self.short_side < 1:
            raise VidtwinError("the short side must be at least 1 pixel")
        if self.overlap < 0:
            raise VidtwinError("the overlap of tiles cannot be negative")
        if not 0 <= self.effort <= MAX_EFFORT:
            raise VidtwinError(f"effort {self.effort} is out of range", f"choose 0 (fastest) to {MAX_EFFORT} (best)")
        if not 1 <= self.level <= 22:
            raise VidtwinError(f"zstd level {self.level} is out of range", "choose 1 (fast) to 22 (smallest)")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise VidtwinError(f"a frame rate of {self.fps} is out of range")
        if self.target is not None and self.quality != DEFAULT_QUALITY:
            raise VidtwinError("a target chooses the quality", "give one or the other")

    @property
    def target(self) -> Target | None:
        """The one target that is set.

        Raises:
            VidtwinError: there are two, or its value is out of range.
        """
        values = {name: getattr(self, f"target_{name}") for name in NAMES}
        targets = [Target(name, value) for name, value in values.items() if value is not None]
        if len(targets) > 1:
            both = " and ".join(target.name for target in targets[:2])
            raise VidtwinError(f"a file cannot have targets of {both} at once", "choose one")
        return targets[0] if targets else None


@dataclass(frozen=True)
class DecodeOptions(NetworkOptions):
    """Choices of :func:`vidtwin_codec.decode`."""

    start: float = 0.0
    """Seconds to skip."""
    duration: float | None = None
    """Seconds to decode; None: to the end."""
    only: Literal["structure", "dynamics"] | None = None
    """Decode one branch alone."""
    coded_size: bool = False
    """Keep the size the network saw instead of scaling back to the display size."""
    recover: bool = False
    """Decode what is whole in a damaged file; lost stretches hold the last frame."""
    audio: bool = True
    codec: str = "auto"
    """ffmpeg's name of the video encoder; ``auto``: H.264, VP9 for odd sizes (see :class:`OutputOptions`)."""
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    lossless: bool = False
    """Store the decoded frames exactly (for measuring)."""
    force: bool = False

    def __post_init__(self) -> None:
        if self.start < 0 or (self.duration is not None and self.duration <= 0):
            raise VidtwinError("start must not be negative, and duration must be positive")


class Extent:
    """What follows from how large, long and fast a video is; for results that say so."""

    width: int
    height: int
    frames: int
    fps: Fraction

    @property
    def duration(self) -> float:
        """Seconds of video."""
        return float(self.frames / self.fps)

    @property
    def raw_bytes(self) -> int:
        """Width · height · 3 · frames: what the video is as 8-bit RGB."""
        return self.width * self.height * 3 * self.frames


@dataclass(frozen=True)
class EncodeResult(Extent):
    """Counts of one encoded file; sizes in bytes, times in seconds."""

    source: str
    output: str
    width: int
    height: int
    frames: int
    fps: Fraction
    vtw_bytes: int
    video_bytes: int
    """Bytes of latents: headers, index and checksums included, audio not."""
    audio_bytes: int
    source_bytes: int | None
    quality: float
    short_side: int | None
    """What was asked for or, with a target, chosen; None: not scaled down."""
    weights: str
    device: str
    seconds: float
    target: Achieved | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def compression_ratio(self) -> float:
        """Raw bytes over bytes of latents."""
        return self.raw_bytes / self.video_bytes

    @property
    def ratio_to_source(self) -> float | None:
        """Bytes of the source file over bytes of the whole .vtw."""
        return None if self.source_bytes is None else self.source_bytes / self.vtw_bytes

    @property
    def bits_per_pixel(self) -> float:
        """Bits of latents per pixel of the display size."""
        return 8 * self.video_bytes / (self.width * self.height * self.frames)

    @property
    def kbps(self) -> float:
        """Kilobits of the whole .vtw, audio included, per second."""
        return 8 * self.vtw_bytes / 1000 / self.duration

    def to_json(self) -> dict[str, Any]:
        """The keys that ``--json`` prints."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        derived = ("duration", "raw_bytes", "compression_ratio", "ratio_to_source", "bits_per_pixel", "kbps")
        values |= {"fps": str(self.fps), "target": self.target and self.target.to_json()}
        return values | {name: getattr(self, name) for name in derived}


@dataclass(frozen=True)
class DecodeResult(Extent):
    """Counts of one decoded file; sizes in bytes, times in seconds."""

    source: str
    output: str
    width: int
    height: int
    frames: int
    fps: Fraction
    vtw_bytes: int
    output_bytes: int
    weights: str
    device: str
    seconds: float
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The keys that ``--json`` prints."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**values, "fps": str(self.fps), "duration": self.duration}


def _ignore(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Reporter:
    """Where progress and warnings go while a file is worked on; by default nowhere."""

    started: Callable[[int | None, str], None] = _ignore
    """Called once with the number of frames, if known, and the device and precision in use."""
    advanced: Callable[[int], None] = _ignore
    """Called with the number of frames just finished."""
    warned: Callable[[str], None] = _ignore

    def stage(self, name: str) -> Reporter:
        """The same, saying what is being done."""
        return dataclasses.replace(self, started=lambda total, device: self.started(total, f"{name} on {device}"))
