"""Scanning an input: its first frame as decoded, and the time of every frame."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.ffmpeg import Child, Message, thread_count
from vidtwin_codec.media.header import HEADER_LINES, VideoStream
from vidtwin_codec.media.info import AudioStream, ColorInfo
from vidtwin_codec.media.source import Source

# A file is read once, so that its packets are no more than its bytes; but Matroska may hold them deflated.
_MOST_READ = 1032
_LEAST_LIMIT = 1 << 26
# Least number of bytes that a frame counts for.
_LINE_BYTES = 16
_NO_PTS = -(1 << 63)
_DISCARD = 4  # AV_PKT_FLAG_DISCARD: decoded but never shown, as an edit list asks

_TICK = re.compile(rb"^#tb 0: (\d+)/(\d+)")
_FRAME = re.compile(r"^n:\s*0 pts:\s*(\S+) .* fmt:(\S+) .*sar:(\d+)/(\d+) s:(\d+)x(\d+) i:(\S)")
_CONFIG = re.compile(r"^config in time_base: (\d+)/(\d+), frame_rate: (\d+)/(\d+)")
_COLOR = re.compile(r"^\s*color_range:(\S+) color_space:(\S+) color_primaries:(\S+) color_trc:(\S+)")


@dataclass
class FirstFrame:
    """The first frame that decodes, after rotation; ``interlaced`` is the frame's own flag, not the header's."""

    width: int
    height: int
    sample_aspect: Fraction
    pix_fmt: str
    pts: int | None
    tick: Fraction
    stated_fps: Fraction | None
    color: ColorInfo
    interlaced: bool


@dataclass
class Times:
    """The times of frames: ``pts`` in units of ``tick`` seconds; ``untimed`` if some frames have none.

    ``empty`` are those of ``pts`` whose packets are empty, so that the previous picture stays. ``last_duration`` is the
    duration of the last frame, and ``certain`` tells that durations are stored and not guessed.
    """

    pts: array[int]
    tick: Fraction
    last_duration: int = 0
    untimed: bool = False
    empty: array[int] = field(default_factory=lambda: array("q"))
    certain: bool = False


def scan(
    source: Source, stream: VideoStream, sounds: Sequence[AudioStream], decoder: str | None
) -> tuple[FirstFrame, Times, list[Message]]:
    """Decode the first frame and list the packets in one pass.

    Returns:
        The first frame, the times of all frames, and the complaints of ffmpeg.

    Raises:
        VidtwinError: no frame decodes.
    """
    picked = f"0:{stream.index}"
    plain = ["-map_metadata", "-1", "-map_chapters", "-1"]
    packets = [*plain, "-map", picked, "-c", "copy", "-copyinkf", "-copypriorss", "1", "-f", "framecrc", "pipe:1"]
    picture = [*plain, "-map", picked, "-frames:v", "1", "-vf", "showinfo=checksum=0", "-f", "null", "-"]
    arguments = [*_open(source, decoder), *packets, *picture, *unheard(sounds)]
    with Child(arguments, level="info", wanted=HEADER_LINES) as child, child.waiting():
        times = _read_times(child, source)
        child.wait()
        first = _first_frame(child.messages)
        if first is None:
            raise VidtwinError(f"{source.path}: no frame can be decoded ({short_reason(child.reason(), source)})")
        return first, times, child.errors()


def unheard(sounds: Sequence[AudioStream]) -> list[str]:
    """Return arguments for an output of the first audio stream, which is discarded.

    It counts when ffmpeg decides where time 0 is and how a clock that jumps goes on: every look at a file has to use
    the same streams (see :func:`~vidtwin_codec.media.audio.extract_audio`).
    """
    return ["-map", f"0:{sounds[0].index}", "-c", "copy", "-f", "null", "-"] if sounds else []


def decode_times(source: Source, stream: VideoStream, sounds: Sequence[AudioStream], decoder: str | None) -> Times:
    """Decode the times of all frames, where packets do not tell them."""
    # A wrapped frame is a pointer: the muxer sees every time and touches no pixel.
    frames = ["-map", f"0:{stream.index}", "-fps_mode", "passthrough", "-enc_time_base", "demux"]
    listed = ["-c:v", "wrapped_avframe", "-f", "framecrc", "pipe:1"]
    with Child([*_open(source, decoder), *frames, *listed, *unheard(sounds)]) as child, child.waiting():
        times = _read_times(child, source, sized=False)
        child.wait()
        return times


def is_opaque(source: Source, stream: VideoStream) -> bool:
    """Return whether no pixel of the first frame is transparent."""
    alpha = ["-map", f"0:{stream.index}", "-frames:v", "1", "-vf", "format=rgba,extractplanes=a", "-f", "rawvideo"]
    with Child([*_open(source, None), *alpha, "pipe:1"]) as child:
        opaque = all(not chunk.strip(b"\xff") for chunk in iter(lambda: child.stdout.read(1 << 16), b""))
        child.wait()
        return opaque


def _open(source: Source, decoder: str | None) -> list[str]:
    chosen = ["-c:v", decoder] if decoder else []
    return ["-threads", str(thread_count()), *chosen, *source.arguments]


def _read_times(child: Child, source: Source, *, sized: bool = True) -> Times:
    """Read the times that ffmpeg lists of ``source``, with packets' bytes if ``sized``.

    An error says that there are far more than the file can hold: it never ends, or refers to itself.
    """
    limit = math.inf if source.playlists else max(_MOST_READ * source.bytes, _LEAST_LIMIT)
    read = 0
    times = Times(array("q"), Fraction(1, 25))
    latest, total, longest, packets, agreeing = _NO_PTS, 0, 0, 0, 0
    following: int | None = None
    for line in child.stdout:
        if line.startswith(b"#"):
            if match := _TICK.match(line):
                times.tick = Fraction(int(match[1]), int(match[2]))
            continue
        # stream, dts, pts, duration, size, checksum[, F=flags][, side data]
        fields = line.split(b",")
        if len(fields) < 6:
            continue
        dts, duration = int(fields[1]), int(fields[3])
        packets += 1
        agreeing += following is None or abs(dts - following) <= 1
        following = dts + duration
        flags = next((field for field in fields[6:] if field.startswith(b" F=0x")), b" F=0x0")
        if int(flags[5:], 16) & _DISCARD:
            continue
        read += _LINE_BYTES + (int(fields[4]) if sized else 0)
        if read > limit:
            raise VidtwinError(
                f"{source.path}: goes on without end: {len(times.pts)} frames in {source.bytes} bytes",
                "it refers to the same bytes again and again; name the video that it was made from",
            )
        pts = int(fields[2])
        times.untimed |= pts == _NO_PTS
        times.pts.append(pts)
        total += duration
        longest = max(longest, duration)
        if int(fields[4]) == 0:
            times.empty.append(pts)
        if pts >= latest:
            latest, times.last_duration = pts, duration
    # Stored durations reach from packet to packet; guessed ones (Matroska, phones) do not where the rate varies.
    times.certain = agreeing >= packets * 0.98
    if times.pts and not times.untimed and agreeing == packets:
        # Durations go by decoding order: the frame shown last need not own the last one, but their sum is right.
        rest = total - (latest - min(times.pts))
        times.last_duration = rest if 0 < rest <= longest else min(times.last_duration, duration)
    return times


def _first_frame(messages: Sequence[Message]) -> FirstFrame | None:
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
    pts, pix_fmt, sar_num, sar_den, width, height, fields = frame.groups()
    tick = Fraction(int(config[1]), int(config[2]))
    stated = Fraction(int(config[3]), int(config[4])) if int(config[3]) and int(config[4]) else None
    aspect = Fraction(int(sar_num), int(sar_den)) if int(sar_num) and int(sar_den) else Fraction(1)
    color = ColorInfo(range_, matrix, primaries, transfer)
    known = int(pts) if re.fullmatch(r"-?\d+", pts) else None
    return FirstFrame(int(width), int(height), aspect, pix_fmt, known, tick, stated, color, fields in "TB")


def short_reason(reason: str, source: Source) -> str:
    """Return ffmpeg's reason without the long name that it repeats."""
    name = source.arguments[-1]
    return reason.replace(f"{name}: ", "").replace(name, str(source.path.name)).removeprefix("Error opening input: ")
