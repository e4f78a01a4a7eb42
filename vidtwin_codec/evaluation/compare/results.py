"""Results of a comparison, as plain values that JSON can hold: points, the series they form, clips, and the whole."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

METRICS = ("psnr", "psnr_y", "ssim", "vmaf")
"""Metrics of every point, as means over frames."""
CURVES = ("psnr", "ssim", "vmaf")
"""Metrics that have rate-distortion curves and Bjøntegaard deltas."""
VIDTWIN = "vidtwin"
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Point:
    """One encoding of a clip, decoded and measured at the source's size.

    Attributes:
        setting: the setting in words, such as ``CRF 32`` or ``quality 75, 224 px``.
        bytes: bytes of the elementary stream, or of the whole .vtw (which holds no sound).
        bits_per_pixel: 8 · bytes over the source's pixels, all frames together.
        kbps: bit rate in kilobits (1000) a second.
        metrics: values of :data:`METRICS`; None where one cannot be computed.
        encode_seconds: wall time of encoding in seconds.
        decode_seconds: wall time of decoding in seconds.
        short_side: shorter side in pixels at which vidtwin coded; None for other codecs.
    """

    setting: str
    bytes: int
    bits_per_pixel: float
    kbps: float
    metrics: dict[str, float | None]
    encode_seconds: float
    decode_seconds: float
    short_side: int | None = None


@dataclass(frozen=True)
class Variant:
    """One choice of preset and GOP, with which all conventional codecs are run."""

    preset: str
    gop: str

    @property
    def key(self) -> str:
        return f"{self.preset}-{self.gop}"


@dataclass
class Series:
    """All points of one codec and variant on one clip.

    Attributes:
        codec: ``vidtwin`` or a name of :data:`~vidtwin_codec.evaluation.compare.codecs.CODECS`.
        label: name in the report.
        variant: preset and GOP; None for vidtwin, which has no variants.
        points: the points, smallest bytes first.
        matched: index of the point that comes nearest to the bytes of vidtwin's matched point.
        notes: what failed, or could not be reached.
        views: frames of the matched point for viewing, uint8 ``[H, W, 3]``, at :attr:`Clip.view_frames`.
    """

    codec: str
    label: str
    variant: Variant | None
    points: list[Point]
    matched: int | None = None
    notes: list[str] = field(default_factory=list)
    views: list[Image] = field(default_factory=list, repr=False)


@dataclass
class Clip:
    """The results of one source.

    Attributes:
        name: file name, with folders if another source has the same.
        width: width of the compared frames in pixels.
        height: height of the compared frames in pixels.
        frames: number of compared frames.
        fps: frame rate, in frames a second, as a fraction in text.
        vidtwin: vidtwin's ladder, every quality at every short side.
        others: series of conventional codecs, by codec and then by variant.
        reasons: metric → why it could not be computed.
        warnings: warnings about the source, and codecs that failed on it.
        view_frames: indices of the frames in ``views``.
        views: the source's frames at those indices.
    """

    name: str
    width: int
    height: int
    frames: int
    fps: str
    vidtwin: Series
    others: list[Series] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    view_frames: list[int] = field(default_factory=list)
    views: list[Image] = field(default_factory=list, repr=False)

    def of(self, codec: str, variant: Variant) -> Series | None:
        """Find the series of a conventional codec; None if it has no points."""
        for series in self.others:
            if (series.codec, series.variant) == (codec, variant) and series.points:
                return series
        return None


@dataclass
class Comparison:
    """The results of all sources, and what was used.

    Attributes:
        clips: results by source.
        codecs: conventional codecs that ran, name → label.
        variants: choices of preset and GOP that they ran with.
        missing: label of a codec → why it was left out of the comparison.
        failed: source → why it could not be compared.
        settings: label and variant key → ffmpeg's options, with the word CRF (or QP) in place of the number.
        clip_frames: frames of a clip of the network, and of a closed GOP.
        excerpt: how much of each source is compared at most, in words.
        used: versions, weights and machine, in words.
    """

    clips: list[Clip]
    codecs: dict[str, str]
    variants: list[Variant]
    missing: dict[str, str]
    failed: dict[str, str]
    settings: dict[str, dict[str, str]]
    clip_frames: int
    excerpt: str
    used: dict[str, str]

    def __repr__(self) -> str:
        against = ", ".join(self.codecs.values())
        return f"<Comparison of {len(self.clips)} clips with {against}; {len(self.failed)} failed>"

    def to_json(self) -> dict[str, Any]:
        """Convert everything but the images to what JSON can hold."""
        values = _plain(self)
        assert isinstance(values, dict)
        return values


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = [field for field in dataclasses.fields(value) if field.name != "views"]
        return {field.name: _plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
