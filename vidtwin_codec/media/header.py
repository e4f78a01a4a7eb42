"""Parser of the streams that ``ffmpeg -i`` prints about a file, since the wheel of ffmpeg has no ffprobe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from vidtwin_codec.media.ffmpeg import Message
from vidtwin_codec.media.info import AudioStream

_INPUT = re.compile(r"^Input #0, (.+?), from '")
_DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
# Streams stand two levels further in where they belong to a group; words of the file's own may stand there, too.
_GROUP = re.compile(r"^  Stream group #0:")
_STREAM = re.compile(r"^  (?P<grouped>  )?Stream #0:(\d+)(?:\[0x[0-9a-f]+\])?(?:\(([^)]*)\))?: (\w+): (.*)$")
HEADER_LINES = re.compile(r"^(?: {0,2}\S|    Stream #0:\d|\s+display ?matrix: |\s+alpha_mode\s*: 1$)", re.IGNORECASE)
"""Most lines about a file that are parsed; metadata can have thousands."""
_ROTATION = re.compile(r"^\s+display ?matrix: rotation of (-?\d+(?:\.\d+)?) degrees", re.IGNORECASE)
_ALPHA_MODE = re.compile(r"^\s+alpha_mode\s*: 1$", re.IGNORECASE)
_CHANNELS = {
    "mono": 1,
    "stereo": 2,
    "downmix": 2,
    "quad": 4,
    "hexagonal": 6,
    "octagonal": 8,
    "cube": 8,
    "hexadecagonal": 16,
}


@dataclass
class VideoStream:
    """One video stream as the header describes it; ``picture`` marks cover art and thumbnails.

    ``rotation`` is in degrees clockwise, to the nearest quarter turn; ``odd_rotation`` is what the file asks for where
    that is another angle, counter-clockwise as ffmpeg counts.
    """

    index: int
    codec: str
    details: str
    picture: bool
    rotation: int = 0
    odd_rotation: float | None = None
    alpha_mode: bool = False

    @property
    def interlaced(self) -> bool:
        return any(f"{order} first" in self.details for order in ("top", "bottom", "top coded", "bottom coded"))


@dataclass
class FileHeader:
    """The container name (empty if ffmpeg could not open the file), the stated duration, and the streams."""

    container: str
    duration: Fraction | None
    video: list[VideoStream]
    audio: list[AudioStream]


def parse_header(messages: Sequence[Message]) -> FileHeader:
    """Parse the messages of ``ffmpeg -i FILE`` up to its first output or complaint."""
    header = FileHeader("", None, [], [])
    current: VideoStream | None = None
    grouped = False
    for message in messages:
        if message.level != "info" or message.who:
            continue
        if match := _INPUT.match(message.text):
            header.container = match[1]
        elif message.text.startswith(("Output #", "Stream mapping")):
            break
        elif not header.container:
            continue
        elif match := _DURATION.match(message.text):
            header.duration = int(match[1]) * 3600 + int(match[2]) * 60 + Fraction(match[3])
        elif _GROUP.match(message.text):
            grouped, current = True, None
        elif (match := _STREAM.match(message.text)) and (grouped or not match["grouped"]):
            grouped = bool(match["grouped"])
            current = _add_stream(header, match)
        elif current and (match := _ROTATION.match(message.text)):
            angle = float(match[1])
            current.rotation = -90 * round(angle / 90) % 360
            # ffmpeg itself overlooks a degree
            current.odd_rotation = angle if abs(angle - 90 * round(angle / 90)) >= 1 else None
        elif current and _ALPHA_MODE.match(message.text):
            current.alpha_mode = True
    # a group's streams are listed before others
    header.video.sort(key=lambda stream: stream.index)
    header.audio.sort(key=lambda stream: stream.index)
    return header


def _add_stream(header: FileHeader, match: re.Match[str]) -> VideoStream | None:
    """Add a stream, once, and return it if it is a video, whose further lines follow."""
    index, language, kind, details = int(match[2]), match[3], match[4], match[5]
    if index in {known.index for known in header.video} | {known.index for known in header.audio}:
        return None
    if kind == "Audio":
        header.audio.append(_audio(index, language, details))
    if kind != "Video":
        return None
    picture = "(attached pic)" in details or "(timed thumbnails)" in details
    header.video.append(VideoStream(index, _word(details), details, picture))
    return header.video[-1]


def _audio(index: int, language: str | None, details: str) -> AudioStream:
    rate = re.search(r", (\d+) Hz, ([^,]+)", details)
    layout = rate[2].strip() if rate else ""
    channels = _CHANNELS.get(layout, 0)
    if not channels and (match := re.match(r"(\d+) channels", layout)):
        channels = int(match[1])
    elif not channels and (match := re.match(r"(\d+)((?:\.\d+)*)", layout)):
        channels = sum(int(part) for part in match[0].split("."))
    return AudioStream(index, _word(details), int(rate[1]) if rate else 0, channels, layout, language)


def _word(details: str) -> str:
    return re.split(r"[ ,]", details, maxsplit=1)[0]
