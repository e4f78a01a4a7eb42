"""What decoding can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.options.network import NetworkOptions


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
    """What to write, whatever the output is called: ``mp4``, ``mkv``, ``y4m`` and others; None: by its name."""
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
