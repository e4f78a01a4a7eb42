"""The base of both rate controllers: a video, its target, writing the file again, and explaining a miss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from vidtwin_codec.container import Counts
from vidtwin_codec.encoding.audio import AudioFile
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder, Piece
from vidtwin_codec.encoding.groups import Watch
from vidtwin_codec.encoding.writing import Written, write_vtw
from vidtwin_codec.network.runner import LoadNetwork, NetworkCache
from vidtwin_codec.options import Reporter
from vidtwin_codec.options.target import FrameSize, Target


class Steered(ABC):
    """The base of controllers that encode one video to a target.

    Args:
        job: the video; its options have a target. If they have a short side, only the quality is chosen.
        audio: the extracted audio, so that its bytes are known.
        load: reads the decoder.
        folder: folder for temporary files.
        reporter: receives progress.
    """

    def __init__(
        self,
        job: EncodeJob,
        *,
        audio: AudioFile | None,
        load: LoadNetwork,
        folder: Path,
        reporter: Reporter,
    ) -> None:
        assert job.options.target is not None  # without one there is nothing to steer
        self._target: Target = job.options.target
        self._job, self._info, self._options = replace(job, warned=self._warn_once), job.info, job.options
        self._audio, self._folder, self._reporter = audio, folder, reporter
        self._load = NetworkCache(load).load
        self._said: set[str] = set()
        self._warned = job.warned

    @abstractmethod
    def write(self, stream: BinaryIO) -> Written:
        """Write the .vtw.

        Args:
            stream: open for writing, seekable and truncatable, because a file may be packed more than once.

        Raises:
            VidtwinError: the video cannot be read, or the disk is full.
        """

    def _encoder_at(self, short_side: int | None) -> Encoder:
        return Encoder(self._job.at_side(short_side))

    def _pack(
        self,
        stream: BinaryIO,
        encoder: Encoder,
        pieces: Iterable[Piece],
        quality: float,
        watch: Watch | None = None,
    ) -> Counts:
        """Write the file from its start."""
        stream.seek(0)
        stream.truncate()
        return write_vtw(stream, encoder, pieces, quality=quality, audio=self._audio, watch=watch)

    def _explained(self, done: Written) -> Written:
        """Add the reason to a result that misses the target, and warn of it."""
        assert done.achieved is not None  # every file here has a target
        if self._target.met_by(done.achieved.value) or done.achieved.ceiling:
            return done
        reason = why_missed(
            self._target,
            done.achieved.value,
            quality=done.quality,
            short_side=done.encoder.options.short_side,
            chosen=self._options.short_side is None,
            audio_share=self._audio_share(done),
        )
        self._warned(reason)
        return replace(done, achieved=replace(done.achieved, reason=reason))

    def _audio_share(self, done: Written) -> float:
        """Compute the bytes of sound over all bytes that the target allows."""
        if self._target.is_score or self._target.name == "ratio":
            return 0.0
        audio_bytes, counts = done.counts.audio_bytes, done.counts
        frame = FrameSize(self._info.width, self._info.height, counts.frames, done.encoder.fps, audio_bytes)
        return audio_bytes / max(1.0, self._target.video_bytes(frame).most + audio_bytes)

    def _warn_once(self, text: str) -> None:
        """Pass a warning on the first time; a video that is read more than once repeats its warnings."""
        if text not in self._said:
            self._said.add(text)
            self._warned(text)


_MUCH_SOUND = 0.5
"""Share of the wanted bytes from which sound is the first thing to save on."""


def why_missed(
    target: Target, achieved: float, *, quality: float, short_side: int | None, chosen: bool, audio_share: float
) -> str:
    """Explain why a target was missed.

    Args:
        target: what was wanted.
        achieved: what the file has, in the target's unit.
        quality: quality of the file, 0 to 100.
        short_side: short side of the file in pixels; None for the video's own size.
        chosen: whether the short side was chosen here, not by the user.
        audio_share: bytes of sound over the bytes that the whole file may have; 0 where sound does not count.
    """
    size = "the video's own size" if short_side is None else f"short side {short_side}"
    coded = f"quality {quality:g} at {size} comes to {target.show(achieved)}"
    return f"the target of {target} cannot be met: {coded}; {_remedy(target, achieved, quality, chosen, audio_share)}"


def _remedy(target: Target, achieved: float, quality: float, chosen: bool, audio_share: float) -> str:
    # a smaller ratio means more bytes
    larger = (achieved > target.value) != (target.name == "ratio")
    if target.is_score:
        if not larger:
            return "more takes other --weights" if chosen else "leave --short-side out, or try other --weights"
        return "nothing coarser can be coded"
    if larger and audio_share >= _MUCH_SOUND:
        return f"sound alone takes {100 * audio_share:.0f} % of the target: lower --audio-kbps, or pass --audio none"
    if larger and quality == 0:
        fewer = "a lower --fps or other --weights take fewer bytes"
        return fewer if chosen else f"leave --short-side out, or make it smaller; {fewer}"
    if not larger and quality == 100:
        return "these weights have no use for more" if chosen else "leave --short-side out, or make it larger"
    return "no quality comes nearer"
