"""Reading frames of a video as 8-bit RGB through a pipe, in memory that does not depend on its length."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain, count

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.closing import Closing
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import hwaccel
from vidtwin_codec.media.color import to_rgb
from vidtwin_codec.media.ffmpeg import STAMPED, Child, clean, thread_count
from vidtwin_codec.media.info import MediaInfo, Part
from vidtwin_codec.media.scan import unheard
from vidtwin_codec.media.timeline import Placer, window

_CHUNK = 1 << 20


class FrameReader(Closing):
    """Reads the frames of a probed video in order, each exactly once (constant rate) or resampled to a constant rate.

    Frames stay at their times: where a picture is missing (a gap, damage, a repeat), the previous one is repeated.

    Attributes:
        width: width in pixels of the frames that ``read`` returns.
        height: height in pixels of these frames.
        fps: frames a second that ``read`` returns.
        frames: number of frames that ``read`` will return in all; None if only reading can tell.
        warnings: the warnings so far; complete once ``read`` has returned no frames.
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
            info: the video, from :func:`probe`.
            width: width to scale to (antialiased); None keeps the video's own.
            height: height to scale to; None keeps the video's own.
            fps: rate to resample to; None keeps the video's own.
            start: seconds after the first frame; the frame nearest to it is the first one.
            max_frames: the most frames to return.
            runs: the only frames to return, each as ``(first frame, frames)``, in order and apart; not with ``start``
                or ``max_frames``.

        Raises:
            VidtwinError: the hardware that the video is to be decoded with is not there.
        """
        self.info = info
        self.width = width or info.width
        self.height = height or info.height
        self.fps = fps or info.fps
        self.warnings = list(info.warnings)
        asked = round((start or Fraction(0)) * self.fps)
        begin, most = _part(info, self.fps)
        if runs:
            max_frames = sum(length for _, length in runs)
        elif most is not None:
            left = max(0, most - asked)
            max_frames = left if max_frames is None else min(max_frames, left)
        skipped = begin + asked
        self.frames = _expected(info, self.fps, asked, max_frames)
        self._limit = max_frames
        self._given = 0
        self._skipped = skipped
        self._ended = self._reported = False
        self._runs: list[tuple[int, int | None]] = [(begin + place, length) for place, length in runs]
        self._runs = self._runs or [(skipped, max_frames)]
        self._places = _places(self._runs)
        # Resampled, the video ends when its time is over; else every frame counts, foreseen or not.
        exact = not info.variable_rate and self.fps == info.fps
        self._end = None if exact else _whole_frames(info, self.fps)
        self._held: NDArray[np.uint8] | None = None
        self._received = 0
        self._latest: Fraction | None = None
        self._hwaccel = hwaccel.arguments(info)
        self._open(self._runs[0][0] > 0)
        if self._hwaccel and self.frames != 0 and info.source.feed is None:
            self._leave_card()
        if self._selected and self.frames != 0 and ((first := self._peek()) is None or first > self._runs[0][0]):
            # The picture shown at the start is older than its packet had us believe: look for it from the beginning.
            self._child.kill()
            self._open(False)

    def read(self, count: int) -> NDArray[np.uint8]:
        """Return the next frames, [m, height, width, 3] RGB with m <= ``count``; m is 0 at the end and only there.

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
        filled = 0
        while filled < count and not self._ended:
            if self._show(next(self._places), frames[filled]):
                filled += 1
            else:
                self._ended = True
        self._given += filled
        if filled:
            self._held = frames[filled - 1].copy()  # callers may change the returned frames
        else:
            self._finish()
        return frames[:filled]

    def read_full(self, count: int) -> NDArray[np.uint8]:
        """Return the next ``count`` frames, fewer only at the end of the video; see :meth:`read`.

        Raises:
            VidtwinError: not one frame could be decoded.
        """
        pieces = [self.read(count)]
        missing = count - len(pieces[0])
        while len(pieces[-1]) and missing:
            pieces.append(self.read(missing))
            missing -= len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def close(self) -> None:
        """Stop decoding; it is harmless to repeat."""
        self._child.kill()

    def _leave_card(self) -> None:
        """Decode in software where the card gives no picture, or ffmpeg complains before the first one."""
        nothing, errors = self._peek() is None, self._child.errors()
        if nothing or errors:
            if errors and self.info.hwaccel != "auto":
                said = clean(errors[0].text)
                self.warnings.append(f"decoded in software, because decoding by {self.info.hwaccel} said: {said}")
            self._child.kill()
            self._hwaccel = ()
            self._open(self._selected)

    def _open(self, selected: bool) -> None:
        """Start ffmpeg; if ``selected``, it leaves out frames by time, since ffmpeg may rebuild its filters."""
        info = self.info
        self._selected = selected
        self._placer = Placer(info, self.fps)
        self._next: int | None = None
        # Decoded and dropped, not sought: exact to the frame in every container, and the network is the slow part.
        filters = [f"select='{window(info, self.fps, self._runs)}'"] if selected else []
        filters.append(to_rgb(info, self.width, self.height))
        decoder = ["-c:v", info.decoder] if info.decoder else []
        self._child = Child(
            [
                *("-threads", str(thread_count()), *decoder, *self._hwaccel, *info.source.arguments),
                *("-map", f"0:{info.stream_index}", "-vf", ",".join(filters), "-fps_mode", "passthrough"),
                *("-enc_time_base", "demux", *STAMPED, "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"),
                *unheard(info.audio_streams),
            ],
            feed=info.source.feed is not None,
        )
        if info.source.feed is not None:
            info.source.feed.into(self._child)

    def _peek(self) -> int | None:
        """Return the place of the next picture from ffmpeg, or None after the last one."""
        if self._next is None:
            with self._child.waiting():
                stamp = self._child.next_stamp()
            if stamp is not None:
                self._latest = stamp.time
                self._next = self._placer.place(stamp.time)
        return self._next

    def _show(self, place: int, target: NDArray[np.uint8]) -> bool:
        """Copy the picture shown at ``place`` to ``target``; return False after the end."""
        if self._end is not None and place >= self._end:
            return False
        fresh = False
        # The first picture also stands for places before it.
        while (following := self._peek()) is not None and (following <= place or (self._held is None and not fresh)):
            self._next = None
            fresh = self._receive(target)
            self._received += fresh
        if fresh:
            self._held = target
            return True
        if self._held is None or (following is None and not self._lasts(place)):
            return False
        target[:] = self._held
        return True

    def _receive(self, target: NDArray[np.uint8]) -> bool:
        view, filled = target.data.cast("B"), 0
        while filled < len(view):
            with self._child.waiting():
                got = self._child.stdout.readinto(view[filled:])  # type: ignore[attr-defined]
            if not got:
                return False
            filled += got
        return True

    def _lasts(self, place: int) -> bool:
        """Return whether the last picture is still shown at ``place``, where no other follows."""
        total = _whole_frames(self.info, self.fps)
        if total is None or place >= total:
            return False
        # Without an error, packets that gave no picture ask to repeat the one before; with one, pictures are missing.
        if not self._child.wait() and not self._child.error_count:
            return True
        last = self.info.start_time + Fraction(self.info.timeline.last) - 1 / (2 * self.info.fps)
        return self._latest is None or self._latest >= last

    def _finish(self) -> None:
        """Add warnings about problems on the way, once, at the end."""
        if self._reported:
            return
        self._reported = True
        if not self._ended or self._limit == 0:
            # Everything asked for has been given; what ffmpeg would have said later does not concern it.
            self._child.kill()
            return
        with self._child.waiting():
            while self._child.stdout.read(_CHUNK):
                pass  # pictures after the last place; ffmpeg would wait for ever to be rid of them
        code = self._child.wait()
        if self.info.source.feed is not None and self.info.source.feed.error is not None:
            raise self.info.source.feed.error
        if self._child.hung:
            raise VidtwinError(f"{self.info.path}: cannot be read ({self._child.reason()})", "run the command again")
        if self._given == 0:
            if self.frames == 0 or (self._skipped and not self._child.error_count):
                raise VidtwinError(f"{self.info.path}: the start lies after the end of the video")
            hint = hwaccel.SOFTWARE_HINT if self._hwaccel else None
            raise VidtwinError(f"{self.info.path}: no frame can be decoded ({self._child.reason()})", hint)
        found = []
        if self._child.error_count:
            first = clean(self._child.errors()[0].text)
            found.append(f"{self._child.error_count} decoding errors, the first: {first}")
        elif code:
            found.append(f"decoding stopped early: {self._child.reason()}")
        if self.frames is not None and self._given < self.frames:
            found.append(f"only {self._given} of {self.frames} frames could be decoded")
        elif found and not self._selected and self._received < self.info.timeline.pictures:
            missing = self.info.timeline.pictures - self._received
            lost, whose = ("1 frame", "its") if missing == 1 else (f"{missing} frames", "their")
            found.append(f"{lost} could not be decoded: the one before is shown in {whose} place")
        self.warnings += found


def _places(runs: Sequence[tuple[int, int | None]]) -> Iterator[int]:
    return chain.from_iterable(
        count(first) if length is None else range(first, first + length) for first, length in runs
    )


def expected_frames(info: MediaInfo, fps: Fraction) -> int | None:
    """Frames that a reader of the whole video, or of its part, gives at ``fps``; None if only reading can tell."""
    return _expected(info, fps, 0, None)


def _expected(info: MediaInfo, fps: Fraction, skipped: int, limit: int | None) -> int | None:
    total, (first, most) = _whole_frames(info, fps), _part(info, fps)
    if total is None:
        return None
    rest = max(0, total - first)
    rest = max(0, (rest if most is None else min(rest, most)) - skipped)
    return rest if limit is None else min(rest, max(limit, 0))


def _whole_frames(info: MediaInfo, fps: Fraction) -> int | None:
    """Frames of the whole file at ``fps``."""
    frames = info.frames if info.part is None else info.part.whole_frames
    if frames is None or fps == info.fps:
        return frames
    return max(1, int(frames / info.fps * fps + Fraction(1, 2)))


def _part(info: MediaInfo, fps: Fraction) -> tuple[int, int | None]:
    """Where the part that is meant begins, in frames at ``fps``, and how many it has at most."""
    if info.part is None:
        return 0, None
    limit = info.part.limit
    return round(info.part.begin * fps), None if limit is None else max(1, round(limit * fps))


def part_of(info: MediaInfo, start: float, duration: float | None, fps: Fraction | None = None) -> MediaInfo:
    """A part of a video, as a video of its own.

    Args:
        info: of the whole.
        start: seconds to skip; the nearest frame is the part's first.
        duration: seconds of the part, to the nearest frame but never none; None: to the end.
        fps: frames a second at which it will be read; the video's own if None.

    Raises:
        VidtwinError: the start lies after the end of the video.
    """
    if not start and duration is None:
        return info
    rate = fps or info.fps
    first = math.floor(start * rate + 0.5)
    limit = None if duration is None else max(1, math.floor(duration * rate + 0.5)) / rate
    part = replace(info, part=Part(first / rate, limit, info.frames))
    frames = expected_frames(part, rate)
    if frames == 0:
        seconds = float((info.frames or 0) / info.fps)
        raise VidtwinError(f"{info.path}: is only {seconds:.2f} seconds long", "choose an earlier --start")
    return replace(
        part, frames=expected_frames(part, info.fps), duration=None if frames is None else frames / Fraction(rate)
    )
