"""Encoding to a target: probe a sample, run the network once, pack until it fits."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from vidtwin_codec import weights
from vidtwin_codec.coding import DEFAULT_QUALITY
from vidtwin_codec.container import Counts
from vidtwin_codec.media import MediaInfo
from vidtwin_codec.pipeline.codec import Codec, Codecs, LoadCodec
from vidtwin_codec.pipeline.encoder import Encoder, Piece
from vidtwin_codec.pipeline.geometry import scaled_size
from vidtwin_codec.pipeline.options import EncodeOptions, Reporter
from vidtwin_codec.pipeline.writing import Sound, Written, write_vtw
from vidtwin_codec.rate.choose import (
    BYTES_SLOPE,
    PSNR_START,
    Choice,
    choose_for_bytes,
    choose_for_psnr,
    logarithms,
    quality_for_psnr,
)
from vidtwin_codec.rate.probes import Probe, Probes, nowhere
from vidtwin_codec.rate.reasons import why_missed
from vidtwin_codec.rate.sample import affordable_clips, count_frames, take_sample
from vidtwin_codec.rate.search import find
from vidtwin_codec.rate.sides import candidate_sides
from vidtwin_codec.rate.spool import LatentSpool
from vidtwin_codec.rate.target import Achieved, Band, Frame, Target

_SIDE_CLIPS = (2, 4)
"""Least and most clips that sizes are compared on: what they differ in varies little from clip to clip."""
_PSNR_CLIPS = (8, 32)
"""Least and most clips whose PSNR stands for the video's."""
_SAMPLED = 8
"""Between least and most, one clip in so many."""
_REPACKS = 6


class Controller:
    """One video on its way to a target.

    Args:
        info: of the video. codec: the network's encoder. entry: its weights.
        options: with a target; with a short side, only the quality is chosen.
        sound: already extracted, so that its bytes are known. load: reads the decoder.
        folder: for temporary files. reporter, warned: are told of progress and of what is remarkable.
    """

    def __init__(
        self,
        info: MediaInfo,
        codec: Codec,
        entry: weights.Entry,
        options: EncodeOptions,
        *,
        sound: Sound | None,
        load: LoadCodec,
        folder: Path,
        reporter: Reporter,
        warned: Callable[[str], None],
    ) -> None:
        assert options.target is not None  # without one there is nothing to steer
        self._target: Target = options.target
        self._info, self._codec, self._entry, self._options = info, codec, entry, options
        self._sound, self._folder, self._reporter = sound, folder, reporter
        self._load = Codecs(load).load
        self._said: set[str] = set()
        self._warned = warned
        self._sides, self._tiles = self._candidates()
        self._spools: dict[int, tuple[Encoder, LatentSpool]] = {}

    def write(self, stream: BinaryIO) -> Written:
        """Write the .vtw.

        Args:
            stream: open for writing, and can be sought and cut off: a file may be packed more than once.

        Raises:
            VidtwinError: the video cannot be read, or the disk is full.
        """
        first = self._encoder(self._info, 0)
        audio_bytes = write_vtw(nowhere(), first, [], quality=DEFAULT_QUALITY, sound=self._sound).audio_bytes
        frames = count_frames(self._info, first.fps)
        frame = Frame(self._info.width, self._info.height, frames, first.fps, audio_bytes)
        probes, sampled = self._probes(frame, _SIDE_CLIPS)
        if self._target.name == "psnr":
            return self._write_psnr(stream, frame, probes, sampled)
        if len(self._sides) > 1 or sampled:
            # more sound than there is room for leaves nothing: the smallest is then the nearest
            wanted = Band(*(max(value, 1.0) for value in self._target.video_bytes(frame)))
            choice = choose_for_bytes(probes, self._tiles, wanted)
        else:
            choice = Choice(0, DEFAULT_QUALITY)
        tried: set[int] = set()
        while True:
            done, beyond = self._write_bytes(stream, choice)
            tried.add(choice.side)
            following = choice.side + beyond
            if not beyond or not 0 <= following < len(self._sides) or following in tried:
                return self._explained(done)
            # the sample misled: the next size takes more, or fewer, bytes
            choice = Choice(following, DEFAULT_QUALITY)

    def _write_bytes(self, stream: BinaryIO, choice: Choice) -> tuple[Written, int]:
        """One size at the quality that fits best, and whether a smaller (-1) or larger (1) one would fit better."""
        written = choice.quality
        counts, encoder, spool = self._first_pack(stream, choice)
        frame = Frame(self._info.width, self._info.height, counts.frames, encoder.fps, counts.audio_bytes)
        band = self._target.video_bytes(frame)
        known = {written: math.log(counts.video_bytes)}

        def repack(quality: float) -> float:
            nonlocal counts, written
            counts, written = self._pack(stream, encoder, spool, quality), quality
            return math.log(counts.video_bytes)

        best = find(repack, logarithms(band), known, start=written, slope=BYTES_SLOPE, tries=_REPACKS)
        if best != written:
            repack(best)
        value = self._target.achieved(counts.video_bytes, frame)
        done = Written(counts, encoder, best, Achieved(self._target, value))
        if self._target.met_by(value) or best not in (0, 100):
            return done, 0
        return done, 1 if counts.video_bytes < band.aim else -1

    def _write_psnr(self, stream: BinaryIO, frame: Frame, probes: Probes, sampled: bool) -> Written:
        band = self._target.psnr_band
        choice = Choice(0, PSNR_START)
        if len(self._sides) > 1:
            choice = choose_for_psnr(probes, len(self._sides), band)
        if sampled:  # few clips compare sizes well, but clips differ in PSNR more than sizes do
            probes, sampled = self._probes(frame, _PSNR_CLIPS)
        probe = probes.at(choice.side)
        choice = Choice(choice.side, quality_for_psnr(probe, band, choice.quality))
        found = probe.measured(choice.quality)
        counts, encoder, _ = self._first_pack(stream, choice)
        clips = encoder.geometry.clips(counts.frames)
        error = found.deviation / math.sqrt(found.clips) * math.sqrt(1 - found.clips / clips) if sampled else 0.0
        achieved = Achieved(self._target, found.psnr, error)
        return self._explained(Written(counts, encoder, choice.quality, achieved))

    def _first_pack(self, stream: BinaryIO, choice: Choice) -> tuple[Counts, Encoder, LatentSpool]:
        """The network runs, unless its latents of this size are on the disk already, and packing goes along."""
        if choice.side in self._spools:
            encoder, spool = self._spools[choice.side]
            return self._pack(stream, encoder, spool, choice.quality), encoder, spool
        encoder, spool = self._encoder(self._info, choice.side), LatentSpool(self._folder / f"latents-{choice.side}")
        with closing(encoder.pieces(self._reporter)) as pieces:
            counts = self._pack(stream, encoder, spool.keeping(pieces), choice.quality)
        self._spools[choice.side] = encoder, spool
        return counts, encoder, spool

    def _pack(self, stream: BinaryIO, encoder: Encoder, pieces: Iterable[Piece], quality: float) -> Counts:
        stream.seek(0)
        stream.truncate()
        return write_vtw(stream, encoder, pieces, quality=quality, sound=self._sound)

    def _probes(self, frame: Frame, limits: tuple[int, int]) -> tuple[Probes, bool]:
        """Probes, and whether they are of a sample: a short video stands for itself, and its latents are kept."""
        clip_frames = self._codec.model.config.frames
        least, most = limits
        wanted = min(max(frame.frames // clip_frames // _SAMPLED, least), most)
        clips = affordable_clips(self._info, clip_frames, wanted)
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        sample = take_sample(self._info, frame.fps, frame.frames, clip_frames, clips, folder)
        share = 1.0 if sample is None else (sample.frames or clips * clip_frames) / frame.frames

        def make(index: int) -> Probe:
            encoder = self._encoder(sample or self._info, index)
            reporter = self._reporter.stage(f"probing {encoder.geometry.width}x{encoder.geometry.height}")
            probe = Probe(encoder, share, self._load, folder, reporter)
            if sample is None:
                self._spools[index] = encoder, probe.latents
            return probe

        return Probes(make), sample is not None

    def _encoder(self, info: MediaInfo, index: int) -> Encoder:
        options = replace(self._options, short_side=self._sides[index])
        if info is self._info:
            return Encoder(info, self._codec, self._entry, options, self._warn_once)
        # the sample has the rate it is coded at, and what is remarkable about it is not the user's doing
        return Encoder(info, self._codec, self._entry, replace(options, fps=None))

    def _candidates(self) -> tuple[list[int | None], list[int]]:
        """Short sides, None for the video's own, and the tiles of each."""
        width, height = self._info.width, self._info.height

        def tiles(side: int | None) -> int:
            size = scaled_size(width, height, side)
            return len(self._codec.geometry(*size, self._options.overlap).tiles)

        if self._options.short_side is not None:
            return [self._options.short_side], [tiles(self._options.short_side)]
        short = min(width, height)
        sides = candidate_sides(short, tiles)
        return [None if side == short else side for side in sides], [tiles(side) for side in sides]

    def _explained(self, done: Written) -> Written:
        """With the reason for a miss, which is also said."""
        assert done.achieved is not None  # every file here is steered
        if self._target.met_by(done.achieved.value):
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
        """Bytes of sound over all bytes that the target allows."""
        if self._target.name in ("psnr", "ratio"):
            return 0.0
        audio_bytes, counts = done.counts.audio_bytes, done.counts
        frame = Frame(self._info.width, self._info.height, counts.frames, done.encoder.fps, audio_bytes)
        return audio_bytes / max(1.0, self._target.video_bytes(frame).most + audio_bytes)

    def _warn_once(self, text: str) -> None:
        """A video that is read more than once is as remarkable as one that is read once."""
        if text not in self._said:
            self._said.add(text)
            self._warned(text)
