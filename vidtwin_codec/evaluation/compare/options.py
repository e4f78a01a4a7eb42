"""What a comparison may be asked for."""

from __future__ import annotations

from dataclasses import dataclass

from vidtwin_codec.coding import DEFAULT_QUALITY
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.compare.codecs import CODECS, PRESETS, Gop
from vidtwin_codec.options import NetworkOptions

DEFAULT_SECONDS = 10.0


@dataclass(frozen=True)
class CompareOptions(NetworkOptions):
    """Choices of :func:`vidtwin_codec.evaluation.compare.run.compare`."""

    against: tuple[str, ...] = ("x264", "x265", "svt-av1", "vvenc")
    """Names of conventional codecs, of :data:`CODECS`."""
    presets: tuple[str, ...] = ("medium",)
    gops: tuple[Gop, ...] = tuple(Gop)
    qualities: tuple[float, ...] = (10, 25, 50, DEFAULT_QUALITY, 100)
    short_sides: tuple[int | None, ...] = (None, 224)
    """vidtwin's ladder is every quality at every short side; None is the native size."""
    camera: bool = True
    """Let vidtwin's windows and tiles follow the camera."""
    frames: int | None = None
    """Compare at most so many frames of each source; None: ``seconds`` decide."""
    seconds: float = DEFAULT_SECONDS
    start: float = 0.0
    """Seconds of each source to skip."""
    rates: int = 6
    """Encodings of each conventional codec that are measured, at least 5."""

    def __post_init__(self) -> None:
        _known("codec", self.against, tuple(CODECS))
        _known("preset", self.presets, PRESETS)
        _known("quality", self.qualities, None)
        _known("short side", self.short_sides, None)
        if not all(0 <= quality <= 100 for quality in self.qualities):
            raise VidtwinError("a quality is between 0 and 100")
        if any(side is not None and side < 1 for side in self.short_sides):
            raise VidtwinError("the short side must be at least 1 pixel")
        if self.rates < 5:
            raise VidtwinError("a rate-distortion curve needs at least 5 rates")
        if (self.frames is not None and self.frames < 1) or self.seconds <= 0:
            raise VidtwinError("compare at least one frame")
        if not 0 <= self.start < float("inf"):
            raise VidtwinError("start must not be negative")


def _known(what: str, chosen: tuple[object, ...], known: tuple[str, ...] | None) -> None:
    if not chosen:
        raise VidtwinError(f"no {what} is chosen")
    if len(set(chosen)) != len(chosen):
        raise VidtwinError(f"a {what} is named twice")
    for name in chosen if known else ():
        if name not in (known or ()):
            raise VidtwinError(f"{name}: no such {what}", f"choose from {', '.join(known or ())}")
