"""Probing an input: streams from the header, the first frame as decoded, and the time of every frame."""

from __future__ import annotations

import os
import re
from array import array
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.ffmpeg import Child, Message, thread_count
from vidtwin_codec.media.header import FileHeader, VideoStream, parse_header
from vidtwin_codec.media.info import AudioStream, ColorInfo, MediaInfo
from vidtwin_codec.media.rate import Rate, measure_rate
from vidtwin_codec.media.source import Source, locate

# ffmpeg turns any text into a picture of itself with these.
_TEXT_CONTAINERS = frozenset({"tty", "bin", "xbin", "idf", "adf"})
# Codecs and containers where packets are not frames one to one (hidden frames, fields, frames packed into one packet)
# or carry no times: for these the frames are decoded once to be counted.
_COUNT_BY_DECODING = frozenset({"vp8", "msmpeg4v3", "msmpeg4", "vc1", "wmv3", "rv30", "rv40", "snow", "cavs"})
_UNTIMED_CONTAINERS = frozenset(
    {
        "h264",
        "hevc",
        "vvc",
        "mpegvideo",
        "m4v",
        "h263",
        "h261",
        "mjpeg",
        "obu",
        "av1",
        "avs2",
        "avs3",
        "cavsvideo",
        "dirac",
        "vc1",
        "evc",
    }
)
_UNSUPPORTED_MATRICES = frozenset(
    {"bt2020c", "ictcp", "ycgco", "ycgco-re", "ycgco-ro", "chroma-derived-c", "chroma-derived-nc", "ipt-c2"}
)
_NO_PTS = -(1 << 63)
_DISCARD = 4  # AV_PKT_FLAG_DISCARD: decoded but never shown, as an edit list asks

_TICK = re.compile(rb"^#tb 0: (\d+)/(\d+)")
_FRAME = re.compile(r"^n:\s*0 pts:\s*(\S+) .* fmt:(\S+) .*sar:(\d+)/(\d+) s:(\d+)x(\d+) ")
_CONFIG = re.compile(r"^config in time_base: (\d+)/(\d+), frame_rate: (\d+)/(\d+)")
_CUT = re.compile(r"partial file|[Tt]runcat|Packet corrupt|ended prematurely|End of file")
_COLOR = re.compile(r"^\s*color_range:(\S+) color_space:(\S+) color_primaries:(\S+) color_trc:(\S+)")


@dataclass
class _First:
    """The first frame that decodes, after rotation."""

    width: int
    height: int
    sample_aspect: Fraction
    pix_fmt: str
    pts: int | None
    tick: Fraction
    stated_fps: Fraction | None
    color: ColorInfo


@dataclass
class _Times:
    pts: array[int]
    tick: Fraction
    last_duration: int = 0
    untimed: bool = False


def probe(path: str | os.PathLike[str], *, fps: Fraction | None = None) -> MediaInfo:
    """Find out everything about a video without decoding more than its first frame.

    Reads the file once through ffmpeg's demultiplexer, at the speed of the disk: that alone gives the exact frame
    count and rate. (A few old codecs and bare streams have to be decoded for it.) Memory is 8 bytes a frame.

    Args:
        path: a file, or a numbered image sequence such as ``frames_%04d.png``.
        fps: rate of images; 25 if not given. Anything else has a rate of its own.

    Raises:
        VidtwinError: not a video, no video stream, nothing decodes, or the file cannot be read.
    """
    source = locate(path, fps)
    header = _read_header(source)
    stream = _choose(header, source)
    decoder = "libvpx-vp9" if stream.alpha_mode and stream.codec == "vp9" else None
    decoder = "libvpx" if stream.alpha_mode and stream.codec == "vp8" else decoder
    first, times, messages = _scan(source, stream, decoder)
    by_decoding = (
        times.untimed
        or stream.interlaced
        or stream.codec in _COUNT_BY_DECODING
        or bool(_UNTIMED_CONTAINERS & set(header.container.split(",")))
    )
    if by_decoding:
        times = _decode_times(source, stream, decoder)
    shown = np.sort(np.array(times.pts, dtype=np.int64))
    start = Fraction(0)
    if first.pts is not None:
        start = first.pts * first.tick
        if not by_decoding:
            # Packets before the first picture that can be decoded never become frames.
            shown = shown[shown * float(times.tick) >= float(start) - float(times.tick) / 2]
    stated = fps or source_rate(source) if source.still else first.stated_fps
    cut = any(_CUT.search(message.text) for message in messages)
    rate = measure_rate(shown, times.tick, times.last_duration, stated, cut=cut)
    warnings = [*_source_warnings(source, header), *_picture_warnings(stream, first, rate)]
    if cut:
        warnings.append(_how_much(rate, header.duration))
    return MediaInfo(
        path=source.path,
        width=first.width,
        height=first.height,
        rotation=stream.rotation,
        sample_aspect=first.sample_aspect,
        fps=rate.fps,
        variable_rate=rate.variable,
        frames=rate.frames or None,
        duration=rate.frames / rate.fps if rate.frames else None,
        start_time=start,
        pix_fmt=first.pix_fmt,
        codec=stream.codec,
        color=first.color,
        alpha=has_alpha(first.pix_fmt),
        interlaced=stream.interlaced,
        audio_streams=tuple(header.audio),
        file_bytes=source.bytes,
        warnings=tuple(warnings),
        stream_index=stream.index,
        source=source,
        decoder=decoder,
    )


def probe_audio(path: str | os.PathLike[str]) -> AudioStream | None:
    """The first audio stream of a file, or None; the file need not hold video.

    Raises:
        VidtwinError: the file cannot be read.
    """
    streams = _read_header(locate(path)).audio
    return streams[0] if streams else None


def has_alpha(pix_fmt: str) -> bool:
    """Whether pictures of this ffmpeg pixel format carry transparency."""
    return bool(re.match(r"(yuva|gbrap|rgba|bgra|argb|abgr|ya8|ya16|yaf|pal8|vuya|ayuv|rgbaf)", pix_fmt))


def source_rate(source: Source) -> Fraction:
    """The rate at which images are opened."""
    return Fraction(source.arguments[source.arguments.index("-framerate") + 1])


def _read_header(source: Source) -> FileHeader:
    # No output: ffmpeg prints the header and stops.
    with Child(list(source.arguments), level="info") as child:
        child.stdout.read()
        child.wait()
        header = parse_header(child.messages)
        if not header.container or _TEXT_CONTAINERS & set(header.container.split(",")):
            telling = [m for m in child.errors() if "At least one output" not in m.text]
            said = child.reason() if telling else "ffmpeg finds no pictures in it"
            hint = None
            if any(re.search("moov atom not found|End of file", message.text) for message in telling):
                said = "it is cut off before its index or its first frame"
                hint = "copy or download the file again"
            raise VidtwinError(f"{source.path}: not a video that can be read ({_short(said, source)})", hint)
    return header


def _choose(header: FileHeader, source: Source) -> VideoStream:
    for stream in header.video:
        if not stream.picture:
            return stream
    if header.video:
        raise VidtwinError(f"{source.path}: has only a cover picture, no video")
    if header.audio:
        raise VidtwinError(f"{source.path}: has audio but no video")
    raise VidtwinError(f"{source.path}: has no video stream")


def _scan(source: Source, stream: VideoStream, decoder: str | None) -> tuple[_First, _Times, list[Message]]:
    picked = f"0:{stream.index}"
    packets = ["-map", picked, "-c", "copy", "-copyinkf", "-copypriorss", "1", "-f", "framecrc", "pipe:1"]
    picture = ["-map", picked, "-frames:v", "1", "-vf", "showinfo=checksum=0", "-f", "null", "-"]
    arguments = [*_open(source, decoder), *packets, *picture]
    with Child(arguments, level="info") as child:
        times = _read_times(child)
        child.wait()
        first = _first_frame(child.messages)
        if first is None:
            raise VidtwinError(f"{source.path}: no frame can be decoded ({_short(child.reason(), source)})")
        return first, times, child.errors()


def _decode_times(source: Source, stream: VideoStream, decoder: str | None) -> _Times:
    # A wrapped frame is a pointer: the muxer sees every time and touches no pixel.
    frames = ["-map", f"0:{stream.index}", "-fps_mode", "passthrough", "-enc_time_base", "demux"]
    with Child([*_open(source, decoder), *frames, "-c:v", "wrapped_avframe", "-f", "framecrc", "pipe:1"]) as child:
        times = _read_times(child)
        child.wait()
        return times


def _open(source: Source, decoder: str | None) -> list[str]:
    chosen = ["-c:v", decoder] if decoder else []
    return ["-threads", str(thread_count()), *chosen, *source.arguments]


def _read_times(child: Child) -> _Times:
    times = _Times(array("q"), Fraction(1, 25))
    latest, total = _NO_PTS, 0
    for line in child.stdout:
        if line.startswith(b"#"):
            if match := _TICK.match(line):
                times.tick = Fraction(int(match[1]), int(match[2]))
            continue
        # stream, dts, pts, duration, size, checksum[, F=flags][, side data]
        fields = line.split(b",")
        if len(fields) < 6:
            continue
        flags = next((field for field in fields[6:] if field.startswith(b" F=0x")), b" F=0x0")
        if int(flags[5:], 16) & _DISCARD:
            continue
        pts = int(fields[2])
        times.untimed |= pts == _NO_PTS
        times.pts.append(pts)
        duration = int(fields[3])
        total += duration
        if pts >= latest:
            latest, times.last_duration = pts, duration
    if times.pts and not times.untimed:
        # Durations go by decoding order: the frame shown last need not own the last one, but their sum is right.
        rest = total - (latest - min(times.pts))
        if 0 < rest <= 10 * max(times.last_duration, 1):
            times.last_duration = rest
    return times


def _first_frame(messages: list[Message]) -> _First | None:
    config: re.Match[str] | None = None
    frame: re.Match[str] | None = None
    for message in messages:
        if "showinfo" not in message.who:
            continue
        if frame is None:
            config = _CONFIG.match(message.text) or config
            frame = _FRAME.match(message.text)
        elif match := _COLOR.match(message.text):
            range_, matrix, primaries, transfer = match.groups()
            break
    else:
        range_ = matrix = primaries = transfer = "unknown"
    if frame is None or config is None:
        return None
    pts, pix_fmt, sar_num, sar_den, width, height = frame.groups()
    tick = Fraction(int(config[1]), int(config[2]))
    stated = Fraction(int(config[3]), int(config[4])) if int(config[3]) and int(config[4]) else None
    aspect = Fraction(int(sar_num), int(sar_den)) if int(sar_num) and int(sar_den) else Fraction(1)
    color = ColorInfo(range_, matrix, primaries, transfer)
    known = int(pts) if re.fullmatch(r"-?\d+", pts) else None
    return _First(int(width), int(height), aspect, pix_fmt, known, tick, stated, color)


def _source_warnings(source: Source, header: FileHeader) -> list[str]:
    said = []
    videos = sum(not video.picture for video in header.video)
    if videos > 1:
        said.append(f"{videos} video streams: only the first is kept")
    if len(header.audio) > 1:
        said.append(f"{len(header.audio)} audio streams: only the first is kept")
    if source.gap is not None:
        said.append(f"image number {source.gap} is missing: the sequence ends before it")
    return said


def _picture_warnings(stream: VideoStream, first: _First, rate: Rate) -> list[str]:
    said = []
    if rate.variable:
        said.append(f"variable frame rate: resampled to a constant {float(rate.fps):.6g} frames/s, sound stays in step")
    if stream.interlaced:
        said.append("interlaced: deinterlaced to whole frames")
    if first.color.hdr:
        kind = "PQ" if first.color.transfer == "smpte2084" else "HLG"
        said.append(f"HDR ({kind}): tone-mapped to standard dynamic range")
    if has_alpha(first.pix_fmt):
        said.append("has transparency: composited on black")
    if first.color.matrix in _UNSUPPORTED_MATRICES:
        said.append(f"colour matrix {first.color.matrix} is not supported: colours are approximate")
    return said


def _how_much(rate: Rate, stated: Fraction | None) -> str:
    seconds = rate.frames / rate.fps
    if stated and seconds < stated:
        return f"truncated: only {float(seconds):.2f} s of {float(stated):.2f} s are there"
    return "truncated: the end of the file is damaged or missing"


def _short(reason: str, source: Source) -> str:
    """ffmpeg's reason without the long name it repeats."""
    name = source.arguments[-1]
    return reason.replace(f"{name}: ", "").replace(name, str(source.path.name)).removeprefix("Error opening input: ")
