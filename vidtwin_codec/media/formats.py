"""Containers and codecs that a video can be written in, and the encoder settings for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.color import is_rgb, to_jpeg, to_palette, to_yuv, usual_matrix
from vidtwin_codec.media.ffmpeg import video_encoders
from vidtwin_codec.media.numbered import Numbered

AUTO = "auto"


@dataclass(frozen=True)
class Own:
    """The only format of pictures in a container that leaves no choice of codec.

    Attributes:
        arguments: of the encoder.
        pix_fmt: what it is fed.
        pix_fmts: what else it may be fed, by ffmpeg's names.
        exact: it keeps every bit of the RGB frames.
        filters: from RGB frames and their sample aspect to what it is fed; None: those of the pixel format.
        untagged: it does not say by which matrix colours are to be read.
        most_fps: frames a second that it can tell apart; None: any.
    """

    arguments: tuple[str, ...]
    pix_fmt: str
    pix_fmts: frozenset[str] = frozenset()
    exact: bool = False
    filters: Callable[[Fraction], str] | None = None
    untagged: bool = False
    most_fps: int | None = None


@dataclass(frozen=True)
class Container:
    """A kind of output.

    Attributes:
        muxer: ffmpeg's name of it.
        video: the codecs it holds; None: all.
        audio: the audio codecs it takes as they are; None: all; with none at all it has no sound.
        audio_encoder: serves for the others.
        arguments: of the muxer.
        piped: of the muxer instead, where nothing that is written can be changed later.
        own: where pictures are kept in one way only.
    """

    muxer: str
    video: frozenset[str] | None
    audio: frozenset[str] | None
    audio_encoder: str
    arguments: tuple[str, ...] = ()
    piped: tuple[str, ...] | None = None
    own: Own | None = None

    @property
    def silent(self) -> bool:
        """Whether the container cannot hold audio."""
        return self.audio is not None and not self.audio

    @property
    def numbered(self) -> bool:
        """Whether the output is a sequence of images, each in a file of its own."""
        return self.muxer == "image2"


_FASTSTART = ("-movflags", "+faststart")
# A fragment at each key frame and each second; its header is written once the encoders have said what they write.
_FRAGMENTS = ("-movflags", "+frag_keyframe+delay_moov+default_base_moof", "-frag_duration", "1000000")
# The same frames give the same bytes: no random identifiers.
_BITEXACT = ("-fflags", "+bitexact")
_LIVE = (*_BITEXACT, "-flush_packets", "1", "-cluster_time_limit", "1000")
_MP4 = Container(
    "mp4",
    frozenset({"h264", "hevc", "av1", "vp9"}),
    frozenset({"aac", "mp3", "opus", "ac3", "eac3", "alac", "flac"}),
    "aac",
    _FASTSTART,
    _FRAGMENTS,
)
_MOV = Container(
    "mov",
    frozenset({"h264", "hevc", "av1", "prores"}),
    frozenset({"aac", "mp3", "ac3", "eac3", "alac"}),
    "aac",
    _FASTSTART,
    _FRAGMENTS,
)
_WEBM = Container("webm", frozenset({"vp9", "av1"}), frozenset({"opus", "vorbis"}), "libopus", _BITEXACT, _LIVE)
_RAW = ("-c:v", "rawvideo")
# Names of YUV4MPEG2's colour spaces that every reader knows.
_Y4M_FORMATS = frozenset({"yuv420p", "yuv422p", "yuv444p", "gray"})


def _silent(muxer: str, own: Own, arguments: tuple[str, ...] = ()) -> Container:
    return Container(muxer, None, frozenset(), "", arguments, own=own)


def _images(*arguments: str, pix_fmt: str = "rgb24") -> Container:
    return _silent("image2", Own(arguments, pix_fmt, exact=True), ("-start_number", "1"))


_JPEG = _silent("image2", Own(("-c:v", "mjpeg", "-q:v", "2"), "yuv444p", filters=to_jpeg), ("-start_number", "1"))
_CONTAINERS = {
    "": _MP4,
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": _MOV,
    ".mkv": Container("matroska", None, None, "libopus", _BITEXACT, _LIVE),
    ".webm": _WEBM,
    ".nut": Container(
        "nut", None, None, "libopus", _BITEXACT, own=Own(_RAW, "yuv420p", _Y4M_FORMATS | {"rgb24"}, untagged=True)
    ),
    ".y4m": _silent("yuv4mpegpipe", Own(("-c:v", "wrapped_avframe"), "yuv420p", _Y4M_FORMATS, untagged=True)),
    ".rgb": _silent("rawvideo", Own(_RAW, "rgb24", exact=True)),
    # it counts hundredths of a second
    ".gif": _silent("gif", Own(("-c:v", "gif"), "pal8", filters=to_palette, most_fps=100), ("-loop", "0")),
}
_IMAGES = {
    ".png": _images("-c:v", "png", "-pred", "mixed"),
    ".bmp": _images("-c:v", "bmp", pix_fmt="bgr24"),
    ".ppm": _images("-c:v", "ppm"),
    ".tif": _images("-c:v", "tiff"),
    ".tiff": _images("-c:v", "tiff"),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
}
FORMATS = ("mp4", "mov", "mkv", "webm", "nut", "y4m", "rgb", "gif")
"""Formats that an output can be given, whatever its name."""


@dataclass(frozen=True)
class _Codec:
    """The settings of one encoder; the defaults are visually lossless, since the network has lost enough."""

    writes: str
    crf: int | None
    presets: tuple[str, ...]
    odd: str | None  # pixel format for odd sizes; None if pix_fmt does
    pix_fmt: str = "yuv420p"
    lossless: tuple[str, ...] | None = None
    extra: tuple[str, ...] = ()


_CODECS = {
    # At crf 14 the loss of H.264 is small beside that of the network. Encoding it is the largest part of decoding at
    # "fast" (benchmarks/throughput.py); "veryfast" takes much less time.
    "libx264": _Codec("h264", 14, ("-preset", "veryfast"), "yuv444p"),
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
    """Options for encoding the decoded frames.

    Attributes:
        codec: an ffmpeg encoder from :func:`codec_names`, or ``auto``: H.264, but VP9 in WebM and for odd sizes in MP4.
            (4:2:0 H.264 has no odd sizes; 4:4:4 H.264, which has, does not play in Safari, Firefox on Windows or most
            televisions; VP9 has odd sizes and plays in every current browser.)
        crf: constant quality of the encoder, lower is better; None takes this package's default.
        preset: speed of the encoder by its own names; None takes this package's default.
        lossless: whether to keep every bit of the RGB frames, to measure them (H.264 RGB unless ``codec`` is another).
        pix_fmt: pixel format by ffmpeg's name; None takes 4:2:0 (4:4:4 where H.264 or HEVC meet an odd size).
    """

    codec: str = AUTO
    crf: float | None = None
    preset: str | None = None
    lossless: bool = False
    pix_fmt: str | None = None


@dataclass(frozen=True)
class Encoding:
    """The arguments of an encoder and the pixel format of its input."""

    codec: str
    pix_fmt: str
    arguments: tuple[str, ...]
    filters: Callable[[Fraction], str]
    """From RGB frames of this sample aspect to the pictures that are encoded."""


def codec_names() -> tuple[str, ...]:
    """Return the values of ``OutputOptions.codec`` that this ffmpeg can encode with."""
    return (AUTO, *(name for name in _CODECS if name in video_encoders()))


def container_for(path: Path, format: str | None = None) -> Container:
    """Return the container that a file name asks for.

    Args:
        path: the file; images have a number field in their name, as in ``frames_%04d.png``.
        format: one of :data:`FORMATS`, whatever the name is; None: the name decides.

    Raises:
        VidtwinError: the extension is none that a video is written to, or an image's without a number field.
    """
    suffix = path.suffix.lower() if format is None else f".{format}"
    if suffix in _IMAGES:
        if Numbered.of(path) is None:
            series = path.with_name(f"{path.stem.replace('%', '%%')}_%04d{path.suffix}").name
            raise VidtwinError(f"{path.name}: is the name of one image", f"name a sequence of them, such as {series}")
        return _IMAGES[suffix]
    container = _CONTAINERS.get(suffix)
    if container is None:
        known = ", ".join(name for name in _CONTAINERS if name)
        what = f"no video format is called {format}" if format else f"no video format has the extension {path.suffix}"
        raise VidtwinError(f"{path.name}: {what}", f"use one of {known}, or images such as frames_%04d.png")
    return container


def video_arguments(options: OutputOptions, container: Container, width: int, height: int) -> Encoding:
    """Choose codec, pixel format and encoder arguments.

    Raises:
        VidtwinError: the codec is unknown, does not fit the container or does not support the options.
    """
    if container.own is not None:
        return _own(options, container, container.own, width, height)
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
    return Encoding(name, pix_fmt, tuple(arguments), _filters(pix_fmt))


def check_choices(options: OutputOptions, container: Container) -> None:
    """Refuse choices for which a container that keeps pictures in one way has no use.

    Raises:
        VidtwinError: there is one.
    """
    if container.own is not None:
        _own(options, container, container.own, 1, 1)


def _own(options: OutputOptions, container: Container, own: Own, width: int, height: int) -> Encoding:
    kind = f"{container.muxer} output"
    chosen = {"--codec": options.codec != AUTO, "--crf": options.crf is not None, "--preset": options.preset}
    if unwanted := [name for name, given in chosen.items() if given]:
        raise VidtwinError(f"{kind} has no {unwanted[0]}", "leave it out, or choose another format")
    if options.lossless and not own.exact:
        raise VidtwinError(f"{kind} does not keep every bit", "use --lossless with .mkv, .mp4 or .png")
    pix_fmt = options.pix_fmt or own.pix_fmt
    if pix_fmt != own.pix_fmt and pix_fmt not in own.pix_fmts:
        raise VidtwinError(f"{kind} cannot be {pix_fmt}", f"use {', '.join(sorted(own.pix_fmts | {own.pix_fmt}))}")
    matrix = usual_matrix(width, height) if own.untagged else "bt709"
    return Encoding(own.arguments[1], pix_fmt, own.arguments, own.filters or _filters(pix_fmt, matrix))


def _filters(pix_fmt: str, matrix: str = "bt709") -> Callable[[Fraction], str]:
    return lambda sample_aspect: to_yuv(pix_fmt, sample_aspect, matrix)


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
    return Encoding(name, pix_fmt, ("-c:v", name, *preset, *codec.extra, *codec.lossless), _filters(pix_fmt))


def _preset(name: str, codec: _Codec, options: OutputOptions) -> list[str]:
    if options.preset is None:
        return list(codec.presets)
    if not codec.presets:
        raise VidtwinError(f"codec {name}: has no presets")
    return [*codec.presets[:-1], options.preset]
