"""Writing frames to a video file: 8-bit RGB through a pipe, with audio muxed in the same pass."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec import machine
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.audio import AudioTrack, audio_arguments, open_audio_track
from vidtwin_codec.media.ffmpeg import Child, Message, clean
from vidtwin_codec.media.formats import Container, OutputOptions, container_for, video_arguments
from vidtwin_codec.media.numbered import Numbered
from vidtwin_codec.media.source import file_url

_CHUNK = 1 << 16
_PAUSE_SECONDS = 0.01


class Pump:
    """Copies the output of a child to a stream, on a thread of its own. The stream stays open.

    A reader that takes its time, as a player that is paused, holds up the child for as long as it likes.

    Args:
        child: writes to its standard output.
        stream: takes it. Where it has no buffer, nothing of this process is in the way of an end in the middle of
            a piece.

    Attributes:
        copied: bytes that the stream has taken.
    """

    def __init__(self, child: Child, stream: IO[bytes]) -> None:
        self.copied = 0
        self._child, self._stream = child, stream
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="vidtwin-pump", daemon=True)
        machine.start(self._thread)

    def finish(self) -> None:
        """Wait until all that the child writes has been handed on.

        Raises:
            OSError: the stream does not take it, which has ended the child.
        """
        with self._child.waiting():
            self._thread.join()
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """Wait for no more than the piece that is being handed on; the child has been ended."""
        # a reader that takes nothing any more must not keep this process: the thread dies with it
        self._thread.join(1.0)

    def _run(self) -> None:
        try:
            while piece := os.read(self._child.stdout.fileno(), _CHUNK):
                with self._child.excused():
                    write_all(self._stream, piece)
                    self._stream.flush()
                self.copied += len(piece)
        except OSError as error:
            self._error = error
            self._child.end()
            # what it has written until then is of no use
            with contextlib.suppress(OSError):
                while os.read(self._child.stdout.fileno(), _CHUNK):
                    pass


def write_all(stream: IO[bytes], data: bytes) -> None:
    """Write all of ``data``, also where the stream takes only some at a time, or none for a while."""
    rest = memoryview(data)
    while rest:
        taken = stream.write(rest)
        if not taken:
            time.sleep(_PAUSE_SECONDS)
            continue
        rest = rest[taken:]


class FrameWriter:
    """Writes RGB frames to a video file of exactly this size and rate.

    The file is complete only after ``close`` (or leaving the ``with`` block without an exception); on an exception the
    encoder is killed, and the caller deletes the unfinished file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        width: int,
        height: int,
        fps: Fraction,
        *,
        options: OutputOptions | None = None,
        audio: Path | AudioTrack | None = None,
        sample_aspect: Fraction = Fraction(1),
        container: Container | None = None,
        stream: IO[bytes] | None = None,
    ) -> None:
        """Start the encoder.

        Args:
            path: the file to write, which is replaced if it exists; images have a number field in their name.
            width: width of every frame in pixels.
            height: height of every frame in pixels.
            fps: exact frames a second.
            options: codec and its settings.
            audio: a Matroska file with audio, copied if the container can hold its codec, else encoded again.
            sample_aspect: width over height of one pixel.
            container: the container to write; None takes it from the extension of ``path`` (none: MP4).
            stream: a stream to write to while encoding, in place of the file; ``path`` is then a name for messages.

        Raises:
            VidtwinError: the extension or the codec is unknown, the container cannot hold the codec, or the audio is
                unreadable.
        """
        self.path = Path(path)
        self.width, self.height, self.fps = width, height, fps
        self.frames = 0
        rate = f"{fps.numerator}/{fps.denominator}"
        container = container or container_for(self.path)
        encoding = video_arguments(options or OutputOptions(), container, width, height)
        if container.own and container.own.most_fps and fps > container.own.most_fps:
            raise VidtwinError(f"{self.path}: a {container.muxer} has at most {container.own.most_fps} frames a second")
        if container.silent:
            audio = None
        muxer = container.arguments if stream is None or container.piped is None else container.piped
        images = Numbered.of(self.path) if container.numbered else None
        target = "pipe:1" if stream else images.pattern() if images else file_url(self.path)
        track = open_audio_track(audio) if isinstance(audio, Path) else audio
        self._audio_codec = track.stream.codec if track else ""
        sound = track.input_arguments() if track else []
        self._child = Child(
            [
                # -copyts: the first time stamp of a sound file is its delay, which ffmpeg would otherwise take away.
                *("-y", "-copyts", "-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{width}x{height}"),
                # -r besides: from the times alone ffmpeg takes 119.88 frames a second for 120.
                *("-framerate", rate, "-r", rate, "-i", "pipe:0", *sound, "-map", "0:v:0"),
                *("-vf", encoding.filters(sample_aspect), *encoding.arguments),
                *(("-map", "1:a:0", *audio_arguments(track.stream, container)) if track else ()),
                *(track.end_arguments() if track else ()),
                *("-map_metadata", "-1", *muxer, "-f", container.muxer, target),
            ],
            feed=True,
            count=True,
        )
        self._pump = None if stream is None else Pump(self._child, stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self._kill()

    @property
    def streamed(self) -> int:
        """Bytes that went into the stream so far."""
        return 0 if self._pump is None else self._pump.copied

    def write(self, frames: NDArray[np.uint8]) -> None:
        """Append ``frames``, uint8 [n, height, width, 3] RGB; block while the encoder is busy.

        Raises:
            VidtwinError: the encoder has stopped (its last message says why) or the disk is full.
            OSError: the stream does not take what was written.
        """
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (self.height, self.width, 3):
            raise ValueError(f"frames are {frames.dtype} {frames.shape}, not uint8 [n, {self.height}, {self.width}, 3]")
        try:
            for frame in frames:
                with self._child.waiting():
                    self._child.stdin.write(np.ascontiguousarray(frame).data)
                self.frames += 1
        except OSError:
            self._fail()

    def close(self) -> None:
        """Finish the file.

        Raises:
            VidtwinError: no frame was written, or the encoder failed, reported a problem, or did not write every frame.
            OSError: the stream does not take what was written.
        """
        if self.frames == 0:
            self._kill()
            raise VidtwinError(f"{self.path.name}: there are no frames to write")
        with contextlib.suppress(OSError):  # a broken pipe shows in the exit code, with its reason
            self._child.stdin.close()
        if self._pump is not None:
            self._pump.finish()
        if self._child.wait() or self._picture_errors() or self._child.written != self.frames:
            self._fail()
        self._child.kill()

    @property
    def audio_problem(self) -> str | None:
        """Return the problem that ffmpeg found as it encoded the audio again; it is complete after ``close``."""
        found = [message for message in self._child.errors() if self._about_audio(message)]
        return clean(found[0].text) if found else None

    def _picture_errors(self) -> list[Message]:
        return [message for message in self._child.errors() if not self._about_audio(message)]

    def _about_audio(self, message: Message) -> bool:
        """Return whether a message comes from reading or decoding the audio, which is input 1."""
        if not self._audio_codec:
            return False
        readers = ("[matroska,webm @", f"[{self._audio_codec} @", f"[lib{self._audio_codec} @")
        return "#1:" in message.who or "[in#1/" in message.who or message.who.startswith(readers)

    def _kill(self) -> None:
        self._child.end()
        if self._pump is not None:
            self._pump.abandon()
        self._child.kill()

    def _fail(self) -> None:
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        if self._pump is not None:
            self._pump.finish()
        self._child.wait()
        self._child.kill()
        reason = self._child.reason()
        if reason == "No space left on device":
            raise VidtwinError(f"{self.path.parent}: the disk is full", "free some space and run the command again")
        silent = not self._child.hung and not self._picture_errors()
        if silent and self._child.written not in (None, self.frames):
            reason = f"ffmpeg wrote {self._child.written} of {self.frames} frames"
        raise VidtwinError(f"{self.path}: the video cannot be written ({reason})")
