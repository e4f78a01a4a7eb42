"""The base of both rate controllers: a video, its target, writing the file again, and explaining a miss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from vidtwin_codec import weights
from vidtwin_codec.container import Counts
from vidtwin_codec.encoding.encoder import Encoder, Piece
from vidtwin_codec.encoding.grouping import Watch
from vidtwin_codec.encoding.rate.reasons import why_missed
from vidtwin_codec.encoding.writing import AudioFile, Written, write_vtw
from vidtwin_codec.media import MediaInfo
from vidtwin_codec.network.runner import LoadNetwork, NetworkCache, NetworkRunner
from vidtwin_codec.options import EncodeOptions, Reporter
from vidtwin_codec.options.target import FrameSize, Target


class Steered:
    """The base of controllers that encode one video to a target.

    Args:
        info: what probing the video found.
        network: the network's encoder.
        entry: the network's weights.
        options: options with a target; if they have a short side, only the quality is chosen.
        audio: the extracted audio, so that its bytes are known.
        load: reads the decoder.
        folder: folder for temporary files.
        reporter: receives progress.
        warned: receives warnings.
    """

    def __init__(
        self,
        info: MediaInfo,
        network: NetworkRunner,
        entry: weights.Entry,
        options: EncodeOptions,
        *,
        audio: AudioFile | None,
        load: LoadNetwork,
        folder: Path,
        reporter: Reporter,
        warned: Callable[[str], None],
    ) -> None:
        assert options.target is not None  # without one there is nothing to steer
        self._target: Target = options.target
        self._info, self._network, self._entry, self._options = info, network, entry, options
        self._audio, self._folder, self._reporter = audio, folder, reporter
        self._load = NetworkCache(load).load
        self._said: set[str] = set()
        self._warned = warned

    def _encoder_at(self, short_side: int | None) -> Encoder:
        options = replace(self._options, short_side=short_side)
        return Encoder(self._info, self._network, self._entry, options, self._warn_once)

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
