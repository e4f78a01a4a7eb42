"""Extraction of the audio of a video, on the clock of its first frame, and its way back beside decoded frames."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.ffmpeg import Child
from vidtwin_codec.media.formats import Container
from vidtwin_codec.media.header import parse_header
from vidtwin_codec.media.info import AudioStream, MediaInfo
from vidtwin_codec.media.source import file_url

_CHUNK = 1 << 16
# Opus at these rates: speech is clear and music decent; about what the pictures cost at 224 pixels.
_KBPS = {1: 32, 2: 48}
_LAYOUTS = {1: "mono", 2: "stereo"}
_HERTZ = 48000


@dataclass(frozen=True)
class ExtractedAudio:
    """An extracted audio track: ``codec`` by ffmpeg's name, ``bytes`` of the whole Matroska file."""

    codec: str
    bytes: int
    container: str = "matroska"


def extract_audio(
    info: MediaInfo,
    target: str | os.PathLike[str],
    *,
    mode: Literal["opus", "copy"] = "opus",
    bitrate_kbps: int | None = None,
    start: Fraction | None = None,
    duration: Fraction | None = None,
) -> ExtractedAudio | None:
    """Write the first audio stream to a Matroska file whose time 0 is the time of the first frame of video.

    Sound before that frame is cut; later sound keeps its delay. ``opus`` mixes down to mono or stereo; ``copy`` keeps
    the stream untouched, cut to whole packets.

    Args:
        info: the probed video.
        target: the file to write, which is replaced if it exists.
        mode: ``opus`` or ``copy``.
        bitrate_kbps: bit rate of Opus, at most :func:`opus_limit`; None takes 32 for mono and 48 for stereo.
        start: time 0 of the file, in seconds after the first frame.
        duration: seconds to keep; None keeps all to the end.

    Returns:
        The track, or None (and no file) if there is no audio, or none of it lies within the given time.

    Raises:
        VidtwinError: the sound cannot be read or written.
    """
    if not info.audio_streams:
        return None
    stream = info.audio_streams[0]
    zero = info.start_time + (start or Fraction(0))
    if info.part is not None:
        zero += info.part.begin
        left = None if info.part.limit is None else info.part.limit - (start or Fraction(0))
        duration = min((each for each in (duration, left) if each is not None), default=None)
    arguments = [*info.source.arguments, "-map", f"0:{stream.index}", "-map_metadata", "-1", "-map_chapters", "-1"]
    # bitexact: the same sound gives the same bytes (no random identifiers).
    written = ["-fflags", "+bitexact", "-flags:a", "+bitexact", "-f", "matroska", "-y", file_url(target)]
    # The pictures are listed as well: ffmpeg sets the clock of some containers by the streams in use, and it has to be
    # the clock that probing saw.
    pictures = ["-map", f"0:{info.stream_index}", "-c", "copy", "-f"]
    if mode == "copy":
        # Transport streams carry AAC without the header that Matroska needs.
        headed = ["-bsf:a", "aac_adtstoasc"] if stream.codec == "aac" else []
        kept = ["-c:a", "copy", *headed, *_cut(zero, duration)]
        # Through a pipe: if this process is killed, the broken pipe ends ffmpeg too.
        with _reading(info, [*arguments, *kept, *written, *pictures, "framecrc", "pipe:1"]) as child:
            size = _finish(child, None, info, Path(target))
        return ExtractedAudio(stream.codec, size) if size else None
    with (
        _reading(info, [*arguments, *_even(stream, zero, duration), *pictures, "null", "-"]) as child,
        Child([*_opus(stream, bitrate_kbps), *written], feed=True) as encoder,
    ):
        size = _finish(child, encoder, info, Path(target))
    return ExtractedAudio("opus", size) if size else None


def _reading(info: MediaInfo, arguments: list[str]) -> Child:
    """Start a child that reads the video; from a pipe it gets what the pictures' child gets."""
    feed = info.source.feed
    child = Child(arguments, feed=feed is not None)
    if feed is not None:
        feed.into(child)
    return child


def audio_arguments(stream: AudioStream, container: Container) -> tuple[str, ...]:
    """Return the arguments that put a stream into a container, as it is where possible."""
    if container.audio is None or stream.codec in container.audio:
        return ("-c:a", "copy")
    kbps = 96 * min(max(stream.channels, 1), 2)
    return ("-c:a", container.audio_encoder, "-b:a", f"{kbps}k", "-ac", str(min(max(stream.channels, 1), 2)))


def opus_limit(stream: AudioStream) -> int:
    """Return the highest bit rate of Opus for a stream, in kilobits a second."""
    return 256 if stream.channels == 1 else 510


def _even(stream: AudioStream, zero: Fraction, duration: Fraction | None) -> list[str]:
    """Return arguments that write audio of one sample format, with its times, to the pipe.

    Where the input changes its format, ffmpeg rebuilds its filters, which then forget their state. Filters with a state
    come after the pipe, where the format never changes.
    """
    begin, end = float(zero), float(zero + duration) if duration is not None else None
    trim = f"atrim=start={begin:.6f}" + (f":end={end:.6f}" if end is not None else "")
    form = f"aresample={_HERTZ},aformat=sample_fmts=flt:channel_layouts={_LAYOUTS[_channels(stream)]}"
    return ["-af", f"{trim},asetpts=PTS-{begin:.6f}/TB,{form}", "-c:a", "pcm_f32le", "-f", "nut", "pipe:1"]


def _opus(stream: AudioStream, kbps: int | None) -> list[str]:
    channels = _channels(stream)
    # async=1 with first_pts=0 fills a late start and later gaps with silence: no player has to honour a delay. Where
    # recordings were joined a few hundredths of a second overlap each time: seen as out of step from 45 ms on.
    in_step = f"aresample={_HERTZ}:async=1:first_pts=0:min_hard_comp=0.045"
    given = ["-copyts", "-f", "nut", "-i", "pipe:0", "-af", in_step]
    bits = min(kbps or _KBPS[channels], opus_limit(stream))
    return [*given, "-ac", str(channels), "-c:a", "libopus", "-b:a", f"{bits}k", "-vbr", "on"]


def _channels(stream: AudioStream) -> int:
    return 1 if stream.channels == 1 else 2


def _cut(zero: Fraction, duration: Fraction | None) -> list[str]:
    part = ["-ss", f"{float(zero):.6f}"] if zero > 0 else []
    return part + (["-t", f"{float(duration):.6f}"] if duration is not None else [])


def _finish(child: Child, encoder: Child | None, info: MediaInfo, target: Path) -> int:
    """Let ``child`` write ``target``, or feed ``encoder``, which does; return its size, 0 where there was no audio."""
    broken = False
    while piece := child.stdout.read(_CHUNK):
        if encoder:
            try:
                encoder.stdin.write(piece)
            except BrokenPipeError:
                broken = True
                child.end()  # it would wait for ever; the reason why the encoder stopped comes below
                break
    failed = bool(child.wait()) and not broken
    reason = child.reason()
    empty = any(message.text.startswith("Output file is empty") for message in child.messages)
    if encoder:
        with contextlib.suppress(BrokenPipeError):
            encoder.stdin.close()
        if encoder.wait() and not failed and not empty:
            failed, reason = True, encoder.reason()
    if failed or empty:
        _discard(target)
    if failed and reason == "No space left on device":
        raise VidtwinError(f"{target.parent}: the disk is full", "free some space and run the command again")
    if failed:
        raise VidtwinError(f"{info.path}: the sound cannot be extracted ({reason})", "leave it out with --audio none")
    return 0 if empty else target.stat().st_size


def _discard(target: Path) -> None:
    """Remove an unfinished target, unless it is a device or a named pipe."""
    if target.is_file():
        target.unlink()


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
