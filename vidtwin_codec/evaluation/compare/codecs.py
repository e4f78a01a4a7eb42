"""How ffmpeg is told to run each conventional codec, as fairly as its encoder allows.

Every encoder is tuned for PSNR where it has such a tuning (psychovisual tools would cost it PSNR that vidtwin does not
spend), may use all cores and all its look-ahead, and writes a bare elementary stream without messages that decoding
does not need.
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
    """Where key frames are."""

    SEQUENCE = "sequence"
    """At the start, and where the encoder finds a cut: the codec at its best."""
    CLIP = "clip"
    """A closed GOP as long as a clip of the network: what a clip of a .vtw is, decodable alone."""


@dataclass(frozen=True)
class ConventionalCodec:
    """One encoder of ffmpeg.

    Attributes:
        name: as on the command line.
        label: as in the report.
        encoder: ffmpeg's name.
        muxer: of the elementary stream; the demuxer has the same name.
        pix_fmt: what the encoder is given.
        coarsest: the largest CRF (or QP); the smallest used is 1, because 0 means lossless to some.
        step: in which CRFs are chosen.
        halving: how much CRF about halves the bytes, for a first guess.
        presets: preset of the report → the encoder's own options.
        rate: CRF → options.
        key_frames: GOP and frames of a clip → options.
        frame_overhead: bytes of every frame that no container stores and a decoder does not need.
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
        """Everything between ffmpeg's input and the name of its output."""
        chosen = (*self.presets[preset], *self.rate(crf), *self.key_frames(gop, clip_frames))
        return ("-c:v", self.encoder, *_joined(chosen), "-pix_fmt", self.pix_fmt, "-f", self.muxer)

    @property
    def dial(self) -> str:
        """What its quality setting is called."""
        return "QP" if self.encoder == "libvvenc" else "CRF"

    def missing(self) -> str | None:
        """Why this ffmpeg cannot run it; None when it can."""
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
    # ffmpeg's own -crf knows whole numbers up to 63; the library goes on to 70, in quarters
    return _crf(crf) if crf == int(crf) <= _SVT_FFMPEG_COARSEST else ("-svtav1-params", f"crf={crf:g}")


def _svt_keys(gop: Gop, frames: int) -> tuple[str, ...]:
    if gop is Gop.SEQUENCE:
        return ("-svtav1-params", "keyint=-1")
    return ("-svtav1-params", f"keyint={frames}:irefresh-type=2:scd=0")


def _vvenc_keys(gop: Gop, frames: int) -> tuple[str, ...]:
    if gop is Gop.SEQUENCE:
        return ("-vvenc-params", "intraperiod=-1")
    # no gopsize of 16, though it would seem natural: with it, libvvenc at times gives not one packet for 32 frames
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
    """The largest CRF this ffmpeg's build of the encoder takes: older SVT-AV1 ends at 63."""
    return codec.coarsest if codec.encoder != "libsvtav1" or _svt_takes(codec.coarsest) else _SVT_FFMPEG_COARSEST


@functools.cache
def _svt_takes(crf: int) -> bool:
    """Found by encoding one small picture."""
    picture = ("-f", "lavfi", "-i", "color=s=64x64:d=0.04")
    arguments = CODECS["svt-av1"].arguments("medium", Gop.CLIP, 16, crf)
    command = [executable(), "-v", "quiet", "-nostdin", *picture, *arguments, "-y", "pipe:1"]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    return done.returncode == 0 and bool(done.stdout)


def _joined(options: tuple[str, ...]) -> tuple[str, ...]:
    """Options that name the same ``-…-params`` twice, with their values joined: ffmpeg would only heed the last."""
    found: dict[str, str] = {}
    for name, value in zip(options[::2], options[1::2], strict=True):
        found[name] = f"{found[name]}:{value}" if name in found and name.endswith("-params") else value
    return tuple(part for pair in found.items() for part in pair)
