"""Choices of encoding and decoding, and of the network that both run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, Literal

from vidtwin_codec.coding import DEFAULT_LEVEL, DEFAULT_QUALITY
from vidtwin_codec.coding.effort import DEFAULT_EFFORT, MAX_EFFORT
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.options.target import NAMES, Target


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
    postfilter: bool = True
    """Whether decoded frames are filtered, where the weights have a filter for that; without, decoding is faster."""

    def network(self) -> dict[str, Any]:
        """Return these choices alone, to make other options with."""
        return {each.name: getattr(self, each.name) for each in fields(NetworkOptions)}


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
    format: str | None = None
    """Container to write: ``mp4``, ``mkv``, ``y4m`` and others; None goes by the output's name."""
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


AUDIO_MODES = ("opus", "copy", "none")
DEFAULT_OVERLAP = 16


@dataclass(frozen=True)
class EncodeOptions(NetworkOptions):
    """Choices of :func:`vidtwin_codec.encode`."""

    quality: float = DEFAULT_QUALITY
    """0 (smallest) to 100 (no visible loss from quantisation); left alone where there is a target."""
    short_side: int | None = None
    """Scale the shorter side down to this many pixels before encoding. With a target and None, it is chosen, too."""
    target_kbps: float | None = None
    """Kilobits of the whole .vtw a second, sound included. Of all targets at most one; see
    :class:`~vidtwin_codec.options.target.Target`."""
    target_ratio: float | None = None
    """Bytes of raw RGB over bytes of latents, as ``compression_ratio``."""
    target_size: float | None = None
    """Bytes of the whole .vtw, which it shall not exceed."""
    target_psnr: float | None = None
    """dB, RGB, at the video's own size."""
    target_vmaf: float | None = None
    """VMAF, 0 to 100, at the video's own size; needs an ffmpeg that has libvmaf."""
    fps: Fraction | None = None
    """Frame rate to resample to (of images: at which they follow each other); None keeps the source's."""
    start: float = 0.0
    """Seconds of the source to skip; the nearest frame is the first."""
    duration: float | None = None
    """Seconds of the source to encode; None: to the end."""
    audio: Literal["opus", "copy", "none"] = "opus"
    audio_kbps: int | None = None
    overlap: int = DEFAULT_OVERLAP
    """Least number of pixels that neighbouring tiles share."""
    effort: int = DEFAULT_EFFORT
    """0 rounds latents to symbols, 1 chooses symbols by what error and bits they cost together."""
    camera: bool = True
    """Let windows and tiles follow the camera: fewer bytes, or a better picture, where it pans."""
    level: int = DEFAULT_LEVEL
    """zstd level, 1 to 22."""
    allow_playlists: bool = False
    """Take HLS, DASH, ffconcat and IMF playlists as sources, which read the other local files that they name."""
    hwaccel: str = "none"
    """Hardware that decodes the source: ``none``, ``auto``, or what ``ffmpeg -hwaccels`` lists."""
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
        if not 0 <= self.start < float("inf") or not 0 < (1 if self.duration is None else self.duration) < float("inf"):
            raise VidtwinError("start must not be negative, and duration must be positive")
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
