"""Results of encoding and decoding."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from vidtwin_codec.options.display import extent, html_table
from vidtwin_codec.options.target import Achieved, bits_per_pixel, kbps
from vidtwin_codec.text import counted


class Extent(ABC):
    """Rates that follow from the size, length and frame rate of a video; the base of results that have these."""

    source: str
    width: int
    height: int
    frames: int
    fps: Fraction

    @property
    def duration(self) -> float:
        """Seconds of video."""
        return float(self.frames / self.fps)

    @property
    def pixels(self) -> int:
        """Pixels of all frames together."""
        return self.width * self.height * self.frames

    @property
    def raw_bytes(self) -> int:
        """Bytes of the video as 8-bit RGB."""
        return 3 * self.pixels

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Every number, by its name."""

    def _line(self, said: str, warnings: list[str]) -> str:
        """For a prompt: from what, to what, how large, and what else there is to say."""
        output = getattr(self, "output", None)
        files = self.source if output is None else f"{self.source} → {output}"
        told = f", {counted(len(warnings), 'warning')}" if warnings else ""
        shown = extent(self.width, self.height, self.frames, self.fps)
        return f"<{type(self).__name__} {files}: {shown}, {said}{told}>"

    def _repr_html_(self) -> str:
        values = {name: value for name, value in self.to_json().items() if not isinstance(value, dict)}
        return html_table(type(self).__name__, values)


@dataclass(frozen=True)
class FileResult(Extent):
    """Counts that encoding and decoding of a file have in common."""

    source: str
    output: str
    width: int
    height: int
    frames: int
    fps: Fraction
    vtw_bytes: int

    def to_json(self) -> dict[str, Any]:
        """The keys that ``--json`` prints."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**values, "fps": str(self.fps), "duration": self.duration}


@dataclass(frozen=True)
class EncodeResult(FileResult):
    """Counts of one encoded file; sizes in bytes, times in seconds."""

    video_bytes: int
    """Bytes of latents: headers, index and checksums included, audio not."""
    audio_bytes: int
    source_bytes: int | None
    quality: float
    short_side: int | None
    """The short side that was asked for or, with a target, chosen, in pixels; None: not scaled down."""
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
        return bits_per_pixel(self.video_bytes, self.pixels)

    @property
    def kbps(self) -> float:
        """Kilobits of the whole .vtw, audio included, per second."""
        return kbps(self.vtw_bytes, self.duration)

    def __repr__(self) -> str:
        said = f"{self.vtw_bytes} bytes, {self.bits_per_pixel:.4g} bits per pixel, quality {self.quality:g}"
        return self._line(f"{said}, weights {self.weights!r}", self.warnings)

    def to_json(self) -> dict[str, Any]:
        """The keys that ``--json`` prints."""
        derived = ("raw_bytes", "compression_ratio", "ratio_to_source", "bits_per_pixel", "kbps")
        values = super().to_json() | {"target": self.target and self.target.to_json()}
        return values | {name: getattr(self, name) for name in derived}


@dataclass(frozen=True)
class DecodeResult(FileResult):
    """Counts of one decoded file; sizes in bytes, times in seconds."""

    output_bytes: int
    weights: str
    device: str
    seconds: float
    warnings: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return self._line(f"{self.output_bytes} bytes, weights {self.weights!r}", self.warnings)
