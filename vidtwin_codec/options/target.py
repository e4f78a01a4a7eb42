"""Targets of a file, in bytes or quality, and how near is near enough."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from vidtwin_codec.errors import VidtwinError

Name = Literal["kbps", "ratio", "size", "psnr", "vmaf"]
NAMES: tuple[Name, ...] = ("kbps", "ratio", "size", "psnr", "vmaf")
_UNITS = {"kbps": " kbit/s", "ratio": ":1", "size": " bytes", "psnr": " dB", "vmaf": " VMAF"}
TOLERANCE = 0.05
"""A target is met when the file is within this of it, as a ratio."""
_AIMED = 0.02
"""Once this near, a file is not packed again."""
SCORE_TOLERANCES: dict[Name, float] = {"psnr": 0.1, "vmaf": 0.5}
"""Most by which the score of the sample may miss, in dB or points of VMAF."""
_MAX_VMAF = 100
_SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


class Band(NamedTuple):
    """Values that will do, and the one to aim at."""

    least: float
    aim: float
    most: float

    def holds(self, value: float) -> bool:
        """Whether ``value`` will do."""
        return self.least <= value <= self.most


@dataclass(frozen=True)
class FrameSize:
    """The extent of a video, which targets refer to.

    Attributes:
        width: width of the decoded video in pixels.
        height: height of the decoded video in pixels.
        frames: number of frames.
        fps: frame rate, in frames a second.
        audio_bytes: bytes of sound in the file.
    """

    width: int
    height: int
    frames: int
    fps: Fraction
    audio_bytes: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return float(self.frames / self.fps)


@dataclass(frozen=True)
class Target:
    """One wanted value.

    Attributes:
        name: ``kbps``: kilobits (1000) of the whole .vtw a second, sound and headers included. ``size``: bytes of the
            whole .vtw, which it shall not exceed. ``ratio``: bytes of raw RGB over bytes of latents, the
            ``compression_ratio`` of every result, sound left out. ``psnr``: of RGB in dB at the video's own size, mean
            over frames, as ``vidtwin measure`` has it. ``vmaf``: likewise, 0 to 100.
        value: in those units.

    Raises:
        VidtwinError: the value is not positive.
    """

    name: Name
    value: float

    def __post_init__(self) -> None:
        if not 0 < self.value < float("inf"):
            raise VidtwinError(f"a target of {self.value:g}{_UNITS[self.name]} is out of range", "choose more than 0")
        if self.name == "vmaf" and self.value > _MAX_VMAF:
            raise VidtwinError(f"a target of {self.value:g} VMAF is out of range", f"VMAF ends at {_MAX_VMAF}")

    def __str__(self) -> str:
        return self.show(self.value)

    def show(self, value: float) -> str:
        """A value with the target's unit."""
        return f"{value:.0f} bytes" if self.name == "size" else f"{value:.4g}{_UNITS[self.name]}"

    @property
    def json(self) -> dict[str, float]:
        """For the header: name and value."""
        return {self.name: self.value}

    def video_bytes(self, frame: FrameSize, tolerance: float = _AIMED) -> Band:
        """Bytes of latents (headers and index included) that meet a target of bytes; not above 0 if sound takes all."""
        if self.name == "ratio":
            raw = frame.width * frame.height * 3 * frame.frames
            return Band(raw / self.value * (1 - tolerance), raw / self.value, raw / self.value * (1 + tolerance))
        whole = self.value if self.name == "size" else self.value * 125 * frame.duration
        # a size is a limit: what exceeds it may not fit where it is to go
        most = whole if self.name == "size" else whole * (1 + tolerance)
        least = whole * (1 - (2 if self.name == "size" else 1) * tolerance)
        return Band(*(value - frame.audio_bytes for value in (least, (least + most) / 2, most)))

    @property
    def is_score(self) -> bool:
        """Whether it is about what comes back, not about bytes."""
        return self.name in SCORE_TOLERANCES

    @property
    def score_band(self) -> Band:
        """Scores that will do."""
        tolerance = SCORE_TOLERANCES[self.name]
        return Band(self.value - tolerance, self.value, self.value + tolerance)

    def left_over(self, achieved: float) -> bool:
        """Whether bytes that the file may have are left, more than the nearest quality would explain."""
        return self.name in ("size", "kbps") and achieved < self.value * (1 - TOLERANCE)

    def achieved(self, video_bytes: int, frame: FrameSize) -> float:
        """The value, in the target's unit, of a file with so many bytes of latents."""
        if self.name == "ratio":
            return frame.width * frame.height * 3 * frame.frames / video_bytes
        whole = video_bytes + frame.audio_bytes
        return float(whole) if self.name == "size" else kbps(whole, frame.duration)

    def met_by(self, achieved: float) -> bool:
        """Whether it is near enough to what was wanted; a size has to be kept to."""
        if self.name in SCORE_TOLERANCES:
            return abs(achieved - self.value) <= 2 * SCORE_TOLERANCES[self.name]
        if self.name == "size":
            return achieved <= self.value
        return abs(achieved / self.value - 1) <= TOLERANCE


def kbps(size: float, seconds: float) -> float:
    """Compute the bit rate of ``size`` bytes in kilobits (1000) a second."""
    return 8 * size / 1000 / seconds


def bits_per_pixel(size: float, pixels: float) -> float:
    """Compute the bits a pixel of ``size`` bytes, over the pixels of all frames together."""
    return 8 * size / pixels


@dataclass(frozen=True)
class Achieved:
    """How near a target the file came.

    Attributes:
        target: what was wanted.
        value: what it came to, in the same unit; of a PSNR or VMAF, the mean over the sampled frames.
        standard_error: of these, in their unit: how far the whole video's may be from that of the sample; else 0.
        reason: why the target cannot be met; None when it was.
        ceiling: fewer bytes than the target allows are all that the weights have a use for: a higher quality would gain
            nothing. The target counts as met.
    """

    target: Target
    value: float
    standard_error: float = 0.0
    reason: str | None = None
    ceiling: bool = False

    def to_json(self) -> dict[str, Any]:
        """The value of ``target`` in ``--json``."""
        return {
            "name": self.target.name,
            "wanted": self.target.value,
            "achieved": self.value,
            "standard_error": self.standard_error,
            "met": self.reason is None,
            "ceiling": self.ceiling,
        }


def parse_size(text: str) -> float:
    """Bytes: ``700k``, ``5M``, ``1.5MB`` in powers of 1000, ``4MiB`` in powers of 1024, or a plain number.

    Raises:
        ValueError: it is none of these.
    """
    lower = text.strip().lower()
    number = lower.rstrip("bkmgi ")
    suffix = lower[len(number) :].strip().removesuffix("b")
    if suffix not in _SUFFIXES:
        raise ValueError(f"{text!r} is not a size; try 700k, 1.5MB or 4MiB")
    try:
        size = float(number) * _SUFFIXES[suffix]
    except ValueError:
        raise ValueError(f"{text!r} is not a size; try 700k, 1.5MB or 4MiB") from None
    if not 1 <= size < float("inf"):
        raise ValueError(f"{text!r} is not a size that a file can have")
    return size
