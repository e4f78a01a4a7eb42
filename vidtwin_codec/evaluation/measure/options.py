"""Options and result of a measurement."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.metrics import METRICS, ClipBoundaries, Scores
from vidtwin_codec.options import EncodeOptions, Extent
from vidtwin_codec.options.target import bits_per_pixel, kbps

PROTOCOLS = ("codec", "vidtwin")
COUNTS = ("source_bytes", "raw_bytes", "vtw_bytes", "video_bytes", "audio_bytes")
RATES = ("compression_ratio", "ratio_to_source", "bits_per_pixel", "kbps")
BOUNDARIES = ("psnr_clip_ends", "psnr_clip_middle", "clip_boundary_drop")
KEYS = (
    *("source", "output", "files", "protocol", "width", "height", "frames", "clips", "fps", "duration"),
    *(*COUNTS, *RATES, "quality", "short_side", "weights", "device", "seconds"),
    *(*METRICS, "luma_matrix", *BOUNDARIES, "reasons", "warnings"),
)
"""Keys of the JSON in order, and columns of the CSV."""
NOT_ASKED = "not asked for"
NOT_PACKED = "the vidtwin protocol packs no bytes"


@dataclass(frozen=True)
class MeasureOptions(EncodeOptions):
    """Options of :func:`vidtwin_codec.measure`; those of encoding matter where no .vtw is given."""

    protocol: Literal["codec", "vidtwin"] = "codec"
    metrics: tuple[str, ...] = METRICS
    side_by_side: str | None = None
    """Video to write, with source, decoded and amplified difference side by side; ``force`` replaces it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol not in PROTOCOLS:
            raise VidtwinError(f"protocol {self.protocol!r} is none of {', '.join(PROTOCOLS)}")
        for name in self.metrics:
            if name not in METRICS:
                raise VidtwinError(f"no metric is called {name!r}", f"there are {', '.join(METRICS)}")


@dataclass(frozen=True)
class Sizes:
    """Bytes of one .vtw: of the whole file, of its latents (headers and index included), and of its sound."""

    vtw_bytes: int
    video_bytes: int
    audio_bytes: int


@dataclass(frozen=True)
class Measurement(Extent):
    """The result of measuring one video.

    Attributes:
        source: the video.
        output: the .vtw that was given; None if it was temporary, or there was none.
        protocol: ``codec`` or ``vidtwin``.
        width: width of the compared frames in pixels.
        height: height of the compared frames in pixels.
        frames: number of compared frames, without those that pad the last clip.
        clips: number of clips that the network coded.
        fps: frame rate of the compared frames, in frames a second.
        source_bytes: bytes of the source file; None if unknown.
        sizes: bytes of the .vtw; None under the vidtwin protocol.
        quality: quality of the .vtw, if it states it.
        short_side: short side of the .vtw in pixels, if it states it.
        weights: name of the weights.
        device: device that the network ran on.
        seconds: time of the measurement, encoding included.
        scores: values of the metrics that were asked for.
        boundaries: PSNR at the ends of clips; None for a video shorter than a clip, or without PSNR.
        luma_matrix: matrix by which luma was computed for psnr_y, vmaf and xpsnr.
        warnings: warnings about the files.
    """

    source: str
    output: str | None
    protocol: str
    width: int
    height: int
    frames: int
    clips: int
    fps: Fraction
    source_bytes: int | None
    sizes: Sizes | None
    quality: float | None
    short_side: int | None
    weights: str
    device: str
    seconds: float
    scores: Scores
    boundaries: ClipBoundaries | None
    luma_matrix: str
    warnings: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        means = [f"{name} {value:.4g}" for name, value in self.scores.means.items()]
        rate = (
            [] if self.sizes is None else [f"{bits_per_pixel(self.sizes.video_bytes, self.pixels):.4g} bits per pixel"]
        )
        return self._line(", ".join([*rate, *means]) or "nothing measured", self.warnings)

    def to_json(self) -> dict[str, Any]:
        """List the values of :data:`KEYS`; a value that is not known is None, with its reason in ``reasons``."""
        plain = ("source", "output", "protocol", "width", "height", "frames", "clips", "duration", "source_bytes")
        other = ("raw_bytes", "quality", "short_side", "weights", "device", "seconds", "luma_matrix", "warnings")
        values = {name: getattr(self, name) for name in (*plain, *other)}
        values |= {"files": 1, "fps": str(self.fps)}
        values |= dict.fromkeys(("vtw_bytes", "video_bytes", "audio_bytes", *RATES, *METRICS, *BOUNDARIES))
        reasons = dict(self.scores.reasons)
        if self.sizes is None:
            reasons |= dict.fromkeys(("vtw_bytes", "video_bytes", "audio_bytes", *RATES), NOT_PACKED)
        else:
            values |= vars(self.sizes)
            values |= rates(values)
        values |= self.scores.means
        reasons |= {name: NOT_ASKED for name in METRICS if name not in self.scores.means}
        if self.boundaries is None:
            why = "needs psnr" if "psnr" not in self.scores.means else "needs a whole clip of four frames or more"
            reasons |= dict.fromkeys(BOUNDARIES, why)
        else:
            edges = self.boundaries
            values |= dict(zip(BOUNDARIES, (edges.ends, edges.middle, edges.drop), strict=True))
        return {name: {**values, "reasons": reasons}[name] for name in KEYS}


def rates(values: dict[str, Any]) -> dict[str, float | None]:
    """Compute :data:`RATES` from the counts of one file, or from sums over several."""
    source = values["source_bytes"]
    return {
        "compression_ratio": values["raw_bytes"] / values["video_bytes"],
        "ratio_to_source": None if source is None else source / values["vtw_bytes"],
        "bits_per_pixel": bits_per_pixel(values["video_bytes"], values["raw_bytes"] / 3),
        "kbps": kbps(values["vtw_bytes"], values["duration"]),
    }
