"""Sound that travelled with latents: looked at before it is put beside decoded pictures, which it must not cost."""

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
    """Sound to put beside pictures.

    Attributes:
        path: a Matroska file whose time 0 is that of the first frame.
        stream: its first audio stream.
        problem: what was wrong with the file it was saved from; None for a sound one.
        start: seconds from where it is wanted, for when only a part of the pictures is written.
        duration: seconds that are wanted; all if None.
    """

    path: Path
    stream: AudioStream
    problem: str | None = None
    start: Fraction = Fraction(0)
    duration: Fraction | None = None

    def input_arguments(self) -> list[str]:
        """How ffmpeg is to open the part that is wanted."""
        part: list[str] = []
        if self.start:
            # Seek on the file's own clock (its first time stamp may be a delay), then make that moment 0.
            start = float(self.start)
            part += ["-seek_timestamp", "1", "-ss", f"{start:.6f}", "-itsoffset", f"{-start:.6f}"]
        return [*part, *matroska_input(self.path)]

    def end_arguments(self) -> list[str]:
        """How the copy of it is to end."""
        # -t would count from the first packet, which a delay moves.
        if self.duration is None:
            return []
        return ["-bsf:a", f"noise=drop=gte(pts*tb\\,{float(self.duration):.6f})"]


def matroska_input(path: str | os.PathLike[str]) -> list[str]:
    """How ffmpeg opens a sound file: as Matroska, whatever it looks like, and no file besides."""
    return ["-protocol_whitelist", "file", "-f", "matroska", "-i", file_url(path)]


def open_audio_track(
    path: str | os.PathLike[str], *, start: Fraction = Fraction(0), duration: Fraction | None = None
) -> AudioTrack:
    """Read a Matroska file of sound from end to end, without decoding it.

    Args:
        path: the file. Where it is damaged, a copy of what is whole is laid beside it, to be used instead.
        start: see :class:`AudioTrack`.
        duration: likewise.

    Raises:
        VidtwinError: it is not Matroska, or no sound is in it; the message is the reason alone.
        OSError: there is no room for the copy.
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
