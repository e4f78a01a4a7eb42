"""Probing an input: its streams, its first frame as decoded, and the time of every frame."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.color import NOT_TONE_MAPPED, TONE_MAPPED, can_tone_map
from vidtwin_codec.media.ffmpeg import Child
from vidtwin_codec.media.header import HEADER_LINES, FileHeader, VideoStream, parse_header
from vidtwin_codec.media.info import MediaInfo
from vidtwin_codec.media.rate import Rate, measure_rate
from vidtwin_codec.media.reader import part_of
from vidtwin_codec.media.scan import FirstFrame, Times, decode_times, is_opaque, scan, short_reason
from vidtwin_codec.media.source import Source, locate
from vidtwin_codec.media.timeline import Timeline
from vidtwin_codec.media.whitelist import is_refused

# Codecs and containers where packets are not frames one to one (hidden frames, fields, frames packed into one packet)
# or carry no times: for these the frames are decoded once to be counted.
_COUNT_BY_DECODING = frozenset({"vp8", "msmpeg4v3", "msmpeg4", "vc1", "wmv3", "rv30", "rv40", "snow", "cavs"})
_UNTIMED_CONTAINERS = frozenset(
    {"h264", "hevc", "vvc", "mpegvideo", "m4v", "h263", "h261", "mjpeg", "obu", "av1", "avs2", "avs3", "cavsvideo"}
    | {"dirac", "vc1", "evc"}
)
_UNSUPPORTED_MATRICES = frozenset(
    {"bt2020c", "ictcp", "ycgco", "ycgco-re", "ycgco-ro", "chroma-derived-c", "chroma-derived-nc", "ipt-c2"}
)
_CUT = re.compile(r"partial file|[Tt]runcat|Packet corrupt|ended prematurely|End of file")


def probe(
    path: str | os.PathLike[str],
    *,
    fps: Fraction | None = None,
    playlists: bool = False,
    start: float = 0.0,
    duration: float | None = None,
    hwaccel: str = "none",
) -> MediaInfo:
    """Find out everything about a video without decoding more than its first frame.

    It reads the file once through ffmpeg's demultiplexer, at the speed of the disk, which gives the exact frame count
    and rate. (A few old codecs and raw streams have to be decoded for that.) It takes 8 bytes of memory a frame.

    Args:
        path: a file, or a numbered image sequence such as ``frames_%04d.png``.
        fps: rate of images; 25 if not given. Anything else has a rate of its own, and is to be resampled.
        playlists: take HLS, DASH, ffconcat and IMF playlists, which name other local files, too.
        start: seconds to skip: only the part from the nearest frame (at ``fps``, if given) on is meant.
        duration: seconds of the part that is meant; None: to the end.
        hwaccel: the hardware with which a reader is to decode the frames; see :class:`MediaInfo`. Probing uses none.

    Raises:
        VidtwinError: not a video, no video stream, nothing decodes, the file cannot be read, or it ends before
            ``start``.
    """
    source = locate(path, fps, playlists=playlists)
    header = _read_header(source)
    stream = _choose(header, source)
    if stream.odd_rotation is not None:
        # to quarter turns: ffmpeg would draw other angles into the old frame, corners cut off, or refuse them
        turn = (f"-display_rotation:{stream.index}", str(90 * round(stream.odd_rotation / 90)))
        source = replace(source, arguments=(*turn, *source.arguments))
    decoder = "libvpx-vp9" if stream.alpha_mode and stream.codec == "vp9" else None
    decoder = "libvpx" if stream.alpha_mode and stream.codec == "vp8" else decoder
    first, times, messages = scan(source, stream, header.audio, decoder)
    interlaced = stream.interlaced or first.interlaced
    by_decoding = (
        times.untimed
        or interlaced
        or stream.codec in _COUNT_BY_DECODING
        or bool(_UNTIMED_CONTAINERS & set(header.container.split(",")))
    )
    if by_decoding:
        times = decode_times(source, stream, header.audio, decoder)
    shown = np.sort(np.array(times.pts, dtype=np.int64))
    first_time = Fraction(0)
    if first.pts is not None:
        first_time = first.pts * first.tick
        if not by_decoding:
            # Packets before the first picture that can be decoded never become frames.
            shown = shown[shown * float(times.tick) >= float(first_time) - float(times.tick) / 2]
    stated = fps or source_rate(source) if source.still else first.stated_fps
    cut = any(_CUT.search(message.text) for message in messages)
    rate = measure_rate(shown, times.tick, times.last_duration, stated, cut=cut, certain=times.certain)
    warnings = [
        *_source_warnings(source, header),
        *_picture_warnings(stream, first, rate, see_through(source, stream, first)),
    ]
    if cut:
        warnings.append(_how_much(rate, header.duration))
    whole = MediaInfo(
        path=source.path,
        width=first.width,
        height=first.height,
        rotation=stream.rotation,
        sample_aspect=first.sample_aspect,
        fps=rate.fps,
        variable_rate=rate.variable,
        frames=rate.frames or None,
        duration=rate.frames / rate.fps if rate.frames else None,
        start_time=first_time,
        pix_fmt=first.pix_fmt,
        codec=stream.codec,
        color=first.color,
        alpha=has_alpha(first.pix_fmt),
        interlaced=interlaced,
        audio_streams=tuple(header.audio),
        file_bytes=source.bytes,
        warnings=tuple(warnings),
        stream_index=stream.index,
        source=source,
        decoder=decoder,
        hwaccel=hwaccel,
        timeline=_timeline(shown, times, rate, first_time),
    )
    return part_of(whole, start, duration, fps)


def stated_seconds(path: str | os.PathLike[str], *, playlists: bool = False) -> float:
    """Return the seconds that the header of a file states; 0 if it states none.

    Raises:
        VidtwinError: the file is not a video, or cannot be read.
    """
    return float(_read_header(locate(path, playlists=playlists)).duration or 0)


def has_alpha(pix_fmt: str) -> bool:
    """Return whether pictures of this ffmpeg pixel format carry transparency."""
    return bool(re.match(r"(yuva|gbrap|rgba|bgra|argb|abgr|ya8|ya16|yaf|pal8|vuya|ayuv|rgbaf)", pix_fmt))


def see_through(source: Source, stream: VideoStream, first: FirstFrame) -> bool:
    """Return whether a video has transparency; with a palette, which always could, whether the first frame has."""
    if first.pix_fmt == "pal8":
        return not is_opaque(source, stream)
    return has_alpha(first.pix_fmt)


def source_rate(source: Source) -> Fraction:
    """Return the rate at which images are opened."""
    return Fraction(source.arguments[source.arguments.index("-framerate") + 1])


def _timeline(shown: NDArray[np.int64], times: Times, rate: Rate, start: Fraction) -> Timeline:
    if times.empty:
        shown = shown[~np.isin(shown, np.array(times.empty, np.int64))]
    seconds = np.asarray(shown * float(times.tick) - float(start), np.float64)
    return Timeline.of(seconds, float(rate.frames / rate.fps), rate.fps, rate.shift)


def _read_header(source: Source) -> FileHeader:
    # No output: ffmpeg prints the header and stops.
    with Child(list(source.arguments), level="info", wanted=HEADER_LINES) as child, child.waiting():
        child.stdout.read()
        child.wait()
        header = parse_header(child.messages)
        if not header.container:
            refused = is_refused(child.messages)
            telling = [m for m in child.errors() if "At least one output" not in m.text and not refused]
            said = child.reason() if telling or child.hung else "ffmpeg finds no pictures in it"
            hint = None
            if any(re.search("moov atom not found|End of file", message.text) for message in telling):
                said = "it is cut off before its index or its first frame"
                hint = "copy or download the file again"
            raise VidtwinError(f"{source.path}: not a video that can be read ({short_reason(said, source)})", hint)
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


def _picture_warnings(stream: VideoStream, first: FirstFrame, rate: Rate, transparent: bool) -> list[str]:
    said = []
    if rate.variable:
        said.append(f"variable frame rate: resampled to a constant {float(rate.fps):.6g} frames/s, sound stays in step")
    if stream.interlaced or first.interlaced:
        said.append("interlaced: deinterlaced to whole frames")
    if first.color.hdr:
        kind = "PQ" if first.color.transfer == "smpte2084" else "HLG"
        said.append(f"HDR ({kind}): " + (TONE_MAPPED if can_tone_map() else NOT_TONE_MAPPED))
    if stream.odd_rotation is not None:
        turned = f"turned by {stream.rotation} degrees" if stream.rotation else "left as it is stored"
        said.append(f"asks to be turned by {-stream.odd_rotation:g} degrees, no multiple of 90: {turned}")
    if transparent:
        said.append("has transparency: composited on black")
    if first.color.matrix in _UNSUPPORTED_MATRICES:
        said.append(f"colour matrix {first.color.matrix} is not supported: colours are approximate")
    return said


def _how_much(rate: Rate, stated: Fraction | None) -> str:
    seconds = rate.frames / rate.fps
    if stated and seconds < stated:
        return f"truncated: only {float(seconds):.2f} s of {float(stated):.2f} s are there"
    return "truncated: the end of the file is damaged or missing"
