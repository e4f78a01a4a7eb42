"""Frames out of a video: 8-bit RGB through a pipe, memory independent of its length."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.closing import Closing
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.color import to_rgb
from vidtwin_codec.media.ffmpeg import Child, clean, thread_count
from vidtwin_codec.media.info import MediaInfo


class FrameReader(Closing):
    """Reads the frames of a probed video in order, each exactly once (constant rate) or resampled to a constant rate.

    Attributes:
        width, height: pixels of what ``read`` gives.
        fps: frames a second of what ``read`` gives.
        frames: how many ``read`` will give in all; None if only reading can tell.
        warnings: grows while reading; complete once ``read`` has returned no frames.
    """

    def __init__(
        self,
        info: MediaInfo,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: Fraction | None = None,
        start: Fraction | None = None,
        max_frames: int | None = None,
        runs: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Start decoding.

        Args:
            info: from :func:`probe`.
            width, height: size to scale to (antialiased); the video's own if None.
            fps: resample to this rate; the video's own if None.
            start: seconds after the first frame; the nearest frame is the first one given.
            max_frames: give at most so many.
            runs: give only these, ``(first frame, frames)`` each, in order and apart; without the two above.
        """
        self.info = info
        self.width = width or info.width
        self.height = height or info.height
        self.fps = fps or info.fps
        self.warnings = list(info.warnings)
        resampled = info.variable_rate or self.fps != info.fps
        skipped = round((start or Fraction(0)) * self.fps)
        if runs:
            max_frames = sum(count for _, count in runs)
        self.frames = _expected(info, self.fps, skipped, max_frames)
        self._limit = max_frames
        self._given = 0
        self._skipped = skipped
        self._ended = self._reported = False
        filters = ["setpts=PTS-STARTPTS", f"fps=fps={self.fps}:round=near"] if resampled else []
        if skipped:
            # Decoded and dropped, not sought: exact to the frame in every container, and the network is the slow part.
            filters.append(f"trim=start_frame={skipped}")
        if runs:
            wanted = "+".join(f"between(n,{first},{first + count - 1})" for first, count in runs)
            filters.append(f"select='{wanted}'")
        filters.append(to_rgb(info, self.width, self.height))
        decoder = ["-c:v", info.decoder] if info.decoder else []
        limit = ["-frames:v", str(max_frames)] if max_frames else []
        self._child = Child(
            [
                *("-threads", str(thread_count()), *decoder, *info.source.arguments),
                *("-map", f"0:{info.stream_index}", "-vf", ",".join(filters), "-fps_mode", "passthrough", *limit),
                *("-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"),
            ]
        )

    def read(self, count: int) -> NDArray[np.uint8]:
        """The next frames, [m, height, width, 3] RGB with m <= ``count``; m is 0 at the end and only there.

        Raises:
            VidtwinError: not one frame could be decoded.
        """
        if self._limit is not None:
            count = min(count, self._limit - self._given)
        if self.frames is not None:
            # No room for frames that will hardly come; should there be more than expected, they come one by one.
            count = min(count, max(self.frames - self._given, 1))
        if self._ended or count <= 0:
            self._finish()
            return np.empty((0, self.height, self.width, 3), np.uint8)
        frames = np.empty((count, self.height, self.width, 3), np.uint8)
        view = frames.data.cast("B")
        filled = 0
        while filled < len(view):
            with self._child.waiting():
                got = self._child.stdout.readinto(view[filled:])  # type: ignore[attr-defined]
            if not got:
                self._ended = True
                break
            filled += got
        whole = filled // (self.height * self.width * 3)
        self._given += whole
        if whole == 0:
            self._finish()
        return frames[:whole]

    def close(self) -> None:
        """Stop decoding; harmless to repeat."""
        self._child.kill()

    def _finish(self) -> None:
        """Once, at the end: what went wrong on the way."""
        if self._reported:
            return
        self._reported = True
        if not self._ended or self._limit == 0:
            # Everything asked for has been given; what ffmpeg would have said later does not concern it.
            self._child.kill()
            return
        code = self._child.wait()
        if self._child.hung:
            raise VidtwinError(f"{self.info.path}: cannot be read ({self._child.reason()})", "run the command again")
        if self._given == 0:
            if self.frames == 0 or (self._skipped and not self._child.error_count):
                raise VidtwinError(f"{self.info.path}: the start lies after the end of the video")
            raise VidtwinError(f"{self.info.path}: no frame can be decoded ({self._child.reason()})")
        found = []
        if self._child.error_count:
            first = clean(self._child.errors()[0].text)
            found.append(f"{self._child.error_count} decoding errors, the first: {first}")
        elif code:
            found.append(f"decoding stopped early: {self._child.reason()}")
        if self.frames is not None and self._given < self.frames:
            found.append(f"only {self._given} of {self.frames} frames could be decoded")
        self.warnings += found


def expected_frames(info: MediaInfo, fps: Fraction) -> int | None:
    """Frames that a reader of the whole video gives at ``fps``; None if only reading can tell."""
    return _expected(info, fps, 0, None)


def _expected(info: MediaInfo, fps: Fraction, skipped: int, limit: int | None) -> int | None:
    if info.frames is None:
        return None
    total = info.frames if fps == info.fps else max(1, int(info.frames / info.fps * fps + Fraction(1, 2)))
    rest = max(0, total - skipped)
    return rest if limit is None else min(rest, max(limit, 0))
