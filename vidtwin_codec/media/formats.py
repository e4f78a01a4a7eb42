"""Containers and codecs that a video can be written in, and the encoder settings for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.color import is_rgb
from vidtwin_codec.media.ffmpeg import video_encoders

AUTO = "auto"


@dataclass(frozen=True)
class Container:
    """``audio`` lists the codecs it takes as they are (None: all); ``audio_encoder`` serves for the others."""

    muxer: str
    video: frozenset[str] | None
    audio: frozenset[str] | None
    audio_encoder: str
    arguments: tuple[str, ...] = ()


_FASTSTART = ("-movflags", "+faststart")
# The same frames give the same bytes: no random identifiers.
_BITEXACT = ("-fflags", "+bitexact")
_MP4 = Container(
    "mp4",
    frozenset({"h264", "hevc", "av1", "vp9"}),
    frozenset({"aac", "mp3", "opus", "ac3", "eac3", "alac", "flac"}),
    "aac",
    _FASTSTART,
)
_MOV = Container(
    "mov",
    frozenset({"h264", "hevc", "av1", "prores"}),
    frozenset({"aac", "mp3", "ac3", "eac3", "alac"}),
    "aac",
    _FASTSTART,
)
_CONTAINERS = {
    "": _MP4,
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": _MOV,
    ".mkv": Container("matroska", None, None, "libopus", _BITEXACT),
    ".webm": Container("webm", frozenset({"vp9", "av1"}), frozenset({"opus", "vorbis"}), "libopus", _BITEXACT),
}


@dataclass(frozen=True)
class _Codec:
    """What one encoder writes, and how: the defaults are visually lossless, since the network has lost enough."""

    writes: str
    crf: int | None
    presets: tuple[str, ...]
    odd: str | None  # pixel format for odd sizes; None if pix_fmt does
    pix_fmt: str = "yuv420p"
    lossless: tuple[str, ...] | None = None
    extra: tuple[str, ...] = ()


_CODECS = {
    # crf 14 keeps natural video above 40 dB, beside which the loss of the network is all that counts; "fast" is a few
    # percent larger than "medium" at twice the speed, and on a GPU it is the encoder that would hold up the network.
    "libx264": _Codec("h264", 14, ("-preset", "fast"), "yuv444p"),
    "libx264rgb": _Codec("h264", 14, ("-preset", "fast"), None, "rgb24", ("-qp", "0")),
    "libx265": _Codec(
        "hevc", 12, ("-preset", "fast"), "yuv444p", "yuv420p", ("-x265-params", "lossless=1"), ("-tag:v", "hvc1")
    ),
    "libvpx-vp9": _Codec(
        "vp9",
        12,
        ("-deadline", "good", "-cpu-used", "4"),
        None,
        "yuv420p",
        ("-lossless", "1"),
        ("-b:v", "0", "-row-mt", "1"),
    ),
    "libsvtav1": _Codec("av1", 13, ("-preset", "8"), None),
    "libaom-av1": _Codec("av1", 13, ("-cpu-used", "6"), None, "yuv420p", None, ("-row-mt", "1")),
    "ffv1": _Codec("ffv1", None, (), None, "gbrp", (), ("-level", "3", "-slicecrc", "1", "-g", "1")),
    "prores_ks": _Codec("prores", None, (), None, "yuv422p10le"),
}


@dataclass(frozen=True)
class OutputOptions:
    """How to encode the decoded frames.

    Attributes:
        codec: an ffmpeg encoder from :func:`codec_names`, or ``auto``: H.264, but VP9 in WebM and for odd sizes in MP4.
            (4:2:0 H.264 has no odd sizes; 4:4:4 H.264, which has, does not play in Safari, Firefox on Windows or most
            televisions; VP9 has odd sizes and plays in every current browser.)
        crf: constant quality of the encoder, lower is better; None for its default here.
        preset: speed of the encoder by its own names; None for its default here.
        lossless: keep every bit of the RGB frames, for measuring (H.264 RGB unless the codec says otherwise).
        pix_fmt: pixel format by ffmpeg's name; None for 4:2:0 (4:4:4 where H.264 or HEVC meet an odd size).
    """

    codec: str = AUTO
    crf: float | None = None
    preset: str | None = None
    lossless: bool = False
    pix_fmt: str | None = None


@dataclass(frozen=True)
class Encoding:
    """Arguments for the encoder and the pixel format it is fed."""

    codec: str
    pix_fmt: str
    arguments: tuple[str, ...]


def codec_names() -> tuple[str, ...]:
    """Values of ``OutputOptions.codec`` that this ffmpeg can encode with."""
    return (AUTO, *(name for name in _CODECS if name in video_encoders()))


def container_for(path: Path) -> Container:
    """The container that a file name asks for.

    Raises:
        VidtwinError: the extension is none that a video is written to.
    """
    container = _CONTAINERS.get(path.suffix.lower())
    if container is None:
        known = ", ".join(name for name in _CONTAINERS if name)
        raise VidtwinError(f"{path.name}: no video format has the extension {path.suffix}", f"use one of {known}")
    return container


def video_arguments(options: OutputOptions, container: Container, width: int, height: int) -> Encoding:
    """Settle codec, pixel format and encoder arguments.

    Raises:
        VidtwinError: the codec is unknown here, does not fit the container or cannot do what is asked.
    """
    odd = bool(width % 2 or height % 2)
    name = options.codec if options.codec != AUTO else _automatic(options, container, odd)
    codec = _CODECS.get(name)
    if codec is None or name not in video_encoders():
        raise VidtwinError(
            f"codec {name}: not an encoder that vidtwin can use here", f"use one of {', '.join(codec_names())}"
        )
    if container.video is not None and codec.writes not in container.video:
        raise VidtwinError(
            f"codec {name}: a .{container.muxer} file cannot hold it", "choose another codec, or a .mkv output"
        )
    if options.lossless:
        return _lossless(name, codec, options)
    pix_fmt = options.pix_fmt or (codec.odd if odd and codec.odd else codec.pix_fmt)
    if odd and codec.odd and "420" in pix_fmt:
        raise VidtwinError(f"codec {name}: {pix_fmt} has no odd sizes ({width}x{height})", "leave the pixel format out")
    quality = options.crf if options.crf is not None else codec.crf
    if options.crf is not None and codec.crf is None:
        raise VidtwinError(f"codec {name}: has no --crf")
    arguments = ["-c:v", name, *_preset(name, codec, options), *codec.extra]
    arguments += ["-crf", f"{quality:g}"] if quality is not None else []
    return Encoding(name, pix_fmt, tuple(arguments))


def _automatic(options: OutputOptions, container: Container, odd: bool) -> str:
    if container.muxer == "webm":
        return "libvpx-vp9"
    if options.lossless:
        return "libx264rgb"
    if odd and container.muxer == "mp4" and options.pix_fmt is None and "libvpx-vp9" in video_encoders():
        return "libvpx-vp9"
    return "libx264"


def _lossless(name: str, codec: _Codec, options: OutputOptions) -> Encoding:
    name, codec = ("libx264rgb", _CODECS["libx264rgb"]) if name == "libx264" else (name, codec)
    if codec.lossless is None:
        raise VidtwinError(f"codec {name}: cannot keep RGB without loss", "use libx264, libx265, libvpx-vp9 or ffv1")
    if options.crf is not None:
        raise VidtwinError("lossless output has no --crf")
    pix_fmt = options.pix_fmt or ("rgb24" if name == "libx264rgb" else "gbrp")
    if not is_rgb(pix_fmt):
        raise VidtwinError(f"lossless output cannot be {pix_fmt}", "use rgb24 or gbrp, or leave the pixel format out")
    preset = _preset(name, codec, options) if options.preset or name != "libx264rgb" else ["-preset", "veryfast"]
    return Encoding(name, pix_fmt, ("-c:v", name, *preset, *codec.extra, *codec.lossless))


def _preset(name: str, codec: _Codec, options: OutputOptions) -> list[str]:
    if options.preset is None:
        return list(codec.presets)
    if not codec.presets:
        raise VidtwinError(f"codec {name}: has no presets")
    return [*codec.presets[:-1], options.preset]
