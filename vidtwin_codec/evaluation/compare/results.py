"""What a comparison finds: points, the series they form, clips, and the whole. Plain values that JSON can hold."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

METRICS = ("psnr", "psnr_y", "ssim", "vmaf")
"""Measured for every point; means over frames."""
CURVES = ("psnr", "ssim", "vmaf")
"""Those that have rate-distortion curves and Bjøntegaard deltas."""
VIDTWIN = "vidtwin"
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Point:
    """One encoding of a clip, decoded and measured at the source's size.

    Attributes:
        setting: in words, such as ``CRF 32`` or ``quality 75, 224 px``.
        bytes: of the elementary stream, or of the whole .vtw (which holds no sound).
        bits_per_pixel: 8 · bytes over the source's pixels, all frames together.
        kbps: kilobits a second.
        metrics: of :data:`METRICS`; None where one cannot be computed.
        encode_seconds, decode_seconds: wall clock.
        short_side: of vidtwin's points: pixels of the shorter side that was coded.
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
    """How conventional codecs were run: one choice of preset and GOP for all of them."""

    preset: str
    gop: str

    @property
    def key(self) -> str:
        return f"{self.preset}-{self.gop}"


@dataclass
class Series:
    """All points of one codec, run in one way, on one clip.

    Attributes:
        codec: ``vidtwin`` or a name of :data:`~vidtwin_codec.evaluation.compare.codecs.CODECS`.
        label: for people.
        variant: None for vidtwin, which has one way.
        points: by bytes, smallest first.
        matched: index of the point that comes nearest to the bytes of vidtwin's matched point.
        notes: what could not be reached or failed.
        views: frames of the matched point for looking at, uint8 ``[H, W, 3]``, at :attr:`Clip.view_frames`.
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
    """One source and everything made of it.

    Attributes:
        name: file name, with folders where another has the same.
        width, height, frames, fps: of what was compared; ``fps`` as a fraction.
        vidtwin: the ladder, every quality at every short side.
        others: conventional codecs, codec by codec and variant by variant.
        reasons: metric → why it could not be computed.
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
        """The series of a conventional codec, if it has points."""
        for series in self.others:
            if (series.codec, series.variant) == (codec, variant) and series.points:
                return series
        return None


@dataclass
class Comparison:
    """Every clip, and what was used.

    Attributes:
        codecs: conventional codecs that ran, name → label.
        variants: ways they were run.
        missing: label of a codec → why it was left out altogether.
        failed: source → why it could not be compared.
        settings: label and variant key → ffmpeg's options, with CRF standing for the number.
        clip_frames: frames of a clip of the network, and of a closed GOP.
        excerpt: how much of each source is compared at most, in words.
        used: versions, weights and machine, for people.
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
        """Every number, without the images."""
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
