"""Options of ffmpeg for each conventional codec, as fair as its encoder allows.

Every encoder is tuned for PSNR if it can be (psychovisual tools would cost it PSNR), may use all cores and all its
look-ahead, and writes an elementary stream without messages that decoding does not need.
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from vidtwin_codec.media.ffmpeg import executable, video_encoders

PRESETS = ("medium", "slow")


class Gop(StrEnum):
    """The placement of key frames."""

    SEQUENCE = "sequence"
    """Key frames at the start and where the encoder finds a cut: the codec at its best."""
    CLIP = "clip"
    """Closed GOPs as long as a clip of the network, which can be decoded alone like clips of a .vtw."""


@dataclass(frozen=True)
class ConventionalCodec:
    """One encoder of ffmpeg.

    Attributes:
        name: name on the command line.
        label: name in the report.
        encoder: ffmpeg's name of the encoder.
        muxer: muxer of the elementary stream; the demuxer has the same name.
        pix_fmt: pixel format that the encoder gets.
        coarsest: largest CRF (or QP). The smallest in use is 1, because some encoders take 0 for lossless.
        step: distance between CRFs.
        halving: increase in CRF that about halves the bytes, for a first guess.
        presets: preset of the report → the encoder's own options.
        rate: CRF → options.
        key_frames: GOP and frames of a clip → options.
        frame_overhead: bytes of every frame that containers do not store and decoders do not need.
    """

    name: str
    label: str
    encoder: str
    muxer: str
    pix_fmt: str
    coarsest: int
    step: float
    halving: float
    presets: dict[str, tuple[str, ...]]
    rate: Callable[[float], tuple[str, ...]]
    key_frames: Callable[[Gop, int], tuple[str, ...]]
    frame_overhead: int = 0

    def arguments(self, preset: str, gop: Gop, clip_frames: int, crf: float) -> tuple[str, ...]:
        """List ffmpeg's options between its input and the name of its output."""
        chosen = (*self.presets[preset], *self.rate(crf), *self.key_frames(gop, clip_frames))
        return ("-c:v", self.encoder, *_joined(chosen), "-pix_fmt", self.pix_fmt, "-f", self.muxer)

    @property
    def dial(self) -> str:
        """Name of its quality setting."""
        return "QP" if self.encoder == "libvvenc" else "CRF"

    def missing(self) -> str | None:
        """Say why this ffmpeg cannot run the codec; None if it can."""
        if self.encoder in video_encoders():
            return None
        return f"this ffmpeg was built without {self.encoder}"


def _crf(value: float) -> tuple[str, ...]:
    return ("-crf", f"{value:g}")


def _x264_keys(gop: Gop, frames: int) -> tuple[str, ...]:
    if gop is Gop.SEQUENCE:
        return ("-x264-params", "keyint=infinite")
    return ("-x264-params", f"keyint={frames}:min-keyint={frames}:scenecut=0:open-gop=0")


def _x265_keys(gop: Gop, frames: int) -> tuple[str, ...]:
    if gop is Gop.SEQUENCE:
        return ("-x265-params", "keyint=-1:open-gop=0")
    return ("-x265-params", f"keyint={frames}:min-keyint={frames}:scenecut=0:open-gop=0")


def _svt_rate(crf: float) -> tuple[str, ...]:
    # ffmpeg's own -crf takes whole numbers up to 63; the library takes up to 70, in quarters
    return _crf(crf) if crf == int(crf) <= _SVT_FFMPEG_COARSEST else ("-svtav1-params", f"crf={crf:g}")


def _svt_keys(gop: Gop, frames: int) -> tuple[str, ...]:
    if gop is Gop.SEQUENCE:
        return ("-svtav1-params", "keyint=-1")
    return ("-svtav1-params", f"keyint={frames}:irefresh-type=2:scd=0")


def _vvenc_keys(gop: Gop, frames: int) -> tuple[str, ...]:
    if gop is Gop.SEQUENCE:
        return ("-vvenc-params", "intraperiod=-1")
    # gopsize is not set to 16, although it would fit, because libvvenc then sometimes gives no packet for 32 frames
    return ("-vvenc-params", f"intraperiod={frames}:decodingrefreshtype=idr_no_radl")


def _aom_keys(gop: Gop, frames: int) -> tuple[str, ...]:
    return ("-g", "9999") if gop is Gop.SEQUENCE else ("-g", str(frames), "-keyint_min", str(frames))


_SVT_FFMPEG_COARSEST = 63
_X264_LEAN = ("-tune", "psnr", "-bsf:v", "filter_units=remove_types=6")  # the SEI that lists all of its settings
_X265_LEAN = ("-tune", "psnr", "-x265-params", "log-level=none:info=0")
_SVT_LEAN = ("-svtav1-params", "tune=1")
_VVENC_LEAN = ("-qpa", "0", "-vvenc-params", "accessunitdelimiter=0")
_AOM_LEAN = ("-b:v", "0", "-row-mt", "1")

CODECS = {
    codec.name: codec
    for codec in (
        ConventionalCodec(
            *("x264", "x264", "libx264", "h264", "yuv420p", 51, 0.25, 6),
            {name: ("-preset", name, *_X264_LEAN) for name in PRESETS},
            _crf,
            _x264_keys,
        ),
        ConventionalCodec(
            *("x265", "x265", "libx265", "hevc", "yuv420p", 51, 0.25, 6),
            {name: ("-preset", name, *_X265_LEAN) for name in PRESETS},
            _crf,
            _x265_keys,
        ),
        ConventionalCodec(
            *("svt-av1", "SVT-AV1", "libsvtav1", "obu", "yuv420p", 70, 0.25, 8),
            {"medium": ("-preset", "8", *_SVT_LEAN), "slow": ("-preset", "4", *_SVT_LEAN)},
            _svt_rate,
            _svt_keys,
            frame_overhead=2,  # a temporal delimiter
        ),
        ConventionalCodec(
            *("vvenc", "VVenC", "libvvenc", "vvc", "yuv420p10le", 63, 1, 5),
            {name: ("-preset", name, *_VVENC_LEAN) for name in PRESETS},
            lambda qp: ("-qp", f"{qp:g}"),
            _vvenc_keys,
        ),
        ConventionalCodec(
            *("aom", "libaom", "libaom-av1", "obu", "yuv420p", 63, 1, 8),
            {"medium": ("-cpu-used", "6", *_AOM_LEAN), "slow": ("-cpu-used", "4", *_AOM_LEAN)},
            _crf,
            _aom_keys,
            frame_overhead=2,
        ),
    )
}


def coarsest(codec: ConventionalCodec) -> int:
    """Find the largest CRF that this ffmpeg's encoder takes; older versions of SVT-AV1 end at 63."""
    return codec.coarsest if codec.encoder != "libsvtav1" or _svt_takes(codec.coarsest) else _SVT_FFMPEG_COARSEST


@functools.cache
def _svt_takes(crf: int) -> bool:
    """Whether SVT-AV1 takes a CRF, found by encoding one small frame."""
    picture = ("-f", "lavfi", "-i", "color=s=64x64:d=0.04")
    arguments = CODECS["svt-av1"].arguments("medium", Gop.CLIP, 16, crf)
    command = [executable(), "-v", "quiet", "-nostdin", *picture, *arguments, "-y", "pipe:1"]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    return done.returncode == 0 and bool(done.stdout)


def _joined(options: tuple[str, ...]) -> tuple[str, ...]:
    """Join the values of options that name the same ``-NAME-params`` twice, because ffmpeg obeys only the last."""
    found: dict[str, str] = {}
    for name, value in zip(options[::2], options[1::2], strict=True):
        found[name] = f"{found[name]}:{value}" if name in found and name.endswith("-params") else value
    return tuple(part for pair in found.items() for part in pair)
