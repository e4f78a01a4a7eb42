"""Audio that was stored with latents. It is checked before it is muxed, so that its damage does not cost frames."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.ffmpeg import Child
from vidtwin_codec.media.header import parse_header
from vidtwin_codec.media.info import AudioStream
from vidtwin_codec.media.source import file_url


@dataclass(frozen=True)
class AudioTrack:
    """Audio to mux with decoded frames.

    Attributes:
        path: a Matroska file whose time 0 is that of the first frame.
        stream: the first audio stream of the file.
        problem: the damage of the file that the audio was recovered from; None if it was intact.
        start: start of the part that is wanted, in seconds.
        duration: seconds that are wanted; None for all.
    """

    path: Path
    stream: AudioStream
    problem: str | None = None
    start: Fraction = Fraction(0)
    duration: Fraction | None = None

    def input_arguments(self) -> list[str]:
        """Return the arguments with which ffmpeg opens the part that is wanted."""
        part: list[str] = []
        if self.start:
            # Seek on the file's own clock (its first time stamp may be a delay), then make that moment 0.
            start = float(self.start)
            part += ["-seek_timestamp", "1", "-ss", f"{start:.6f}", "-itsoffset", f"{-start:.6f}"]
        return [*part, *matroska_input(self.path)]

    def end_arguments(self) -> list[str]:
        """Return the output arguments that end the copy after the duration."""
        # -t would count from the first packet, which a delay moves.
        if self.duration is None:
            return []
        return ["-bsf:a", f"noise=drop=gte(pts*tb\\,{float(self.duration):.6f})"]


def matroska_input(path: str | os.PathLike[str]) -> list[str]:
    """Return the arguments with which ffmpeg opens an audio file: as Matroska only, and no other files."""
    return ["-protocol_whitelist", "file", "-f", "matroska", "-i", file_url(path)]


def open_audio_track(
    path: str | os.PathLike[str], *, start: Fraction = Fraction(0), duration: Fraction | None = None
) -> AudioTrack:
    """Read a Matroska file of audio from end to end, without decoding it.

    Args:
        path: the file. Where it is damaged, a copy of its intact part is made beside it, to be used instead.
        start: start of the part that is wanted, in seconds.
        duration: seconds that are wanted; None for all.

    Raises:
        VidtwinError: the file is not Matroska, or has no audio; the message is the reason alone.
        OSError: the disk has no room for the copy.
    """
    copy = Path(path).with_suffix(".whole.mka")
    target = ["-map", "0:a:0", "-c", "copy", "-copyts", "-f", "matroska", "-y", file_url(copy)]
    with Child([*matroska_input(path), *target], level="info") as child, child.waiting():
        child.stdout.read()
        code = child.wait()
        streams = parse_header(child.messages).audio
        empty = any(message.text.startswith("Output file is empty") for message in child.messages)
        errors, reason = child.error_count, child.reason()
    if reason == "No space left on device":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if not streams:
        raise VidtwinError("it is not a Matroska file that holds sound")
    if code or empty:
        raise VidtwinError(reason if errors else "there is nothing in it")
    return AudioTrack(copy if errors else Path(path), streams[0], reason if errors else None, start, duration)
