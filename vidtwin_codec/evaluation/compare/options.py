"""Options of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from vidtwin_codec.coding import DEFAULT_QUALITY
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.compare.codecs import CODECS, PRESETS, Gop
from vidtwin_codec.options import NetworkOptions

DEFAULT_SECONDS = 10.0


@dataclass(frozen=True)
class CompareOptions(NetworkOptions):
    """Options of :func:`vidtwin_codec.evaluation.compare.run.compare`."""

    against: tuple[str, ...] = ("x264", "x265", "svt-av1", "vvenc")
    """Conventional codecs, by their names in :data:`CODECS`."""
    presets: tuple[str, ...] = ("medium",)
    """Presets of conventional codecs."""
    gops: tuple[Gop, ...] = tuple(Gop)
    """Placements of key frames of conventional codecs."""
    qualities: tuple[float, ...] = (10, 25, 50, DEFAULT_QUALITY, 100)
    short_sides: tuple[int | None, ...] = (None, 224)
    """Short sides in pixels; None is the native size. vidtwin's ladder has every quality at every short side."""
    camera: bool = True
    """Let vidtwin's windows and tiles follow the camera."""
    frames: int | None = None
    """Most frames of each source that are compared; None takes ``seconds``."""
    seconds: float = DEFAULT_SECONDS
    """Most seconds of each source that are compared."""
    start: float = 0.0
    """Seconds of each source that are skipped at its start."""
    rates: int = 6
    """Number of encodings of each conventional codec that are measured, 5 or more."""

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
