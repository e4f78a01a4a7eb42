"""Encoding of dense latents to a target: probe a sample, run the network once, pack until the target is met."""

from __future__ import annotations

import math
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from vidtwin_codec.coding import DEFAULT_QUALITY
from vidtwin_codec.container import Counts
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder
from vidtwin_codec.encoding.rate.probes import Probe, Probes, score_psnr, vmaf_score
from vidtwin_codec.encoding.rate.sample import affordable_clips, count_frames, take_sample
from vidtwin_codec.encoding.rate.search import (
    BYTES_SLOPE,
    SCORE_START,
    SizeChoice,
    candidate_sides,
    choose_for_bytes,
    choose_for_score,
    find,
    logarithms,
    quality_for_score,
)
from vidtwin_codec.encoding.rate.spool import LatentSpool
from vidtwin_codec.encoding.rate.steering import Steered
from vidtwin_codec.encoding.writing import Written, count_bytes
from vidtwin_codec.media import MediaInfo
from vidtwin_codec.network.geometry import scaled_size
from vidtwin_codec.options.target import Achieved, Band, FrameSize

_SIDE_CLIPS = (2, 4)
"""Least and most clips that short sides are compared on; their difference varies little from clip to clip."""
_SCORE_CLIPS = (8, 32)
"""Least and most clips whose score stands for the video's."""
_SAMPLED = 8
"""Between least and most, one of this number of clips is sampled."""
_REPACKS = 6


class Controller(Steered):
    """A controller that encodes dense latents to a target, and wide ones to a VMAF, which latents do not foretell."""

    def __init__(self, *args: Any, **choices: Any) -> None:
        super().__init__(*args, **choices)
        self._sides, self._tiles = self._candidates()
        self._spools: dict[int, tuple[Encoder, LatentSpool]] = {}
        vmaf = self._target.name == "vmaf"
        self._score = vmaf_score(self._info, self._options.fps or self._info.fps) if vmaf else score_psnr

    def write(self, stream: BinaryIO) -> Written:
        """See :meth:`Steered.write`."""
        first = self._encoder(self._info, 0)
        audio_bytes = count_bytes(first, [], quality=DEFAULT_QUALITY, audio=self._audio).audio_bytes
        frames = count_frames(self._info, first.fps)
        frame = FrameSize(self._info.width, self._info.height, frames, first.fps, audio_bytes)
        probes, sampled = self._probes(frame, _SIDE_CLIPS)
        if self._target.is_score:
            return self._write_score(stream, frame, probes, sampled)
        if len(self._sides) > 1 or sampled:
            # if the sound alone takes more than the target, the smallest video is the nearest
            wanted = Band(*(max(value, 1.0) for value in self._target.video_bytes(frame)))
            choice = choose_for_bytes(probes, self._tiles, wanted)
        else:
            choice = SizeChoice(0, DEFAULT_QUALITY)
        tried: set[int] = set()
        while True:
            done, beyond = self._write_bytes(stream, choice)
            tried.add(choice.side)
            following = choice.side + beyond
            if not beyond or not 0 <= following < len(self._sides) or following in tried:
                return self._explained(done)
            # the sample was misleading, so the next size up or down is tried
            choice = SizeChoice(following, DEFAULT_QUALITY)

    def _write_bytes(self, stream: BinaryIO, choice: SizeChoice) -> tuple[Written, int]:
        """Write one size at its best quality; tell whether a smaller (-1) or a larger (1) size would fit better."""
        written = choice.quality
        counts, encoder, spool = self._first_pack(stream, choice)
        frame = FrameSize(self._info.width, self._info.height, counts.frames, encoder.fps, counts.audio_bytes)
        band = self._target.video_bytes(frame)
        known = {written: math.log(counts.video_bytes)}

        def repack(quality: float) -> float:
            nonlocal counts, written
            again = self._reporter.stage(f"packing again, {len(known)} of at most {_REPACKS + 1}")
            counts, written = self._pack(stream, encoder, spool.reported(again), quality), quality
            return math.log(counts.video_bytes)

        best = find(repack, logarithms(band), known, start=written, slope=BYTES_SLOPE, tries=_REPACKS)
        if best != written:
            repack(best)
        value = self._target.achieved(counts.video_bytes, frame)
        ceiling = best == 100 and self._target.left_over(value)
        done = Written(counts, encoder, best, Achieved(self._target, value, ceiling=ceiling))
        if self._target.met_by(value) or best not in (0, 100):
            return done, 0
        return done, 1 if counts.video_bytes < band.aim else -1

    def _write_score(self, stream: BinaryIO, frame: FrameSize, probes: Probes, sampled: bool) -> Written:
        band = self._target.score_band
        choice = SizeChoice(0, SCORE_START)
        if len(self._sides) > 1:
            choice = choose_for_score(probes, len(self._sides), band, self._target.name)
        if sampled:  # a few clips are enough to compare sizes, but not for the score of the whole video
            probes, sampled = self._probes(frame, _SCORE_CLIPS)
        probe = probes.at(choice.side)
        choice = SizeChoice(choice.side, quality_for_score(probe, band, self._target.name, choice.quality))
        found = probe.measured(choice.quality)
        counts, encoder = self._only_pack(stream, choice)
        clips = encoder.geometry.clips(counts.frames)
        error = found.deviation / math.sqrt(found.clips) * math.sqrt(1 - found.clips / clips) if sampled else 0.0
        achieved = Achieved(self._target, found.score, error)
        return self._explained(Written(counts, encoder, choice.quality, achieved))

    def _only_pack(self, stream: BinaryIO, choice: SizeChoice) -> tuple[Counts, Encoder]:
        """Pack as `_first_pack` does, but keep nothing to be packed again."""
        if choice.side in self._spools:
            counts, encoder, _ = self._first_pack(stream, choice)
            return counts, encoder
        encoder = self._encoder(self._info, choice.side)
        with closing(encoder.pieces(self._reporter)) as pieces:
            return self._pack(stream, encoder, pieces, choice.quality), encoder

    def _first_pack(self, stream: BinaryIO, choice: SizeChoice) -> tuple[Counts, Encoder, LatentSpool]:
        """Pack for the first time, running the network unless the latents of this size are on the disk already."""
        if choice.side in self._spools:
            encoder, spool = self._spools[choice.side]
            packed = self._pack(stream, encoder, spool.reported(self._reporter.stage("packing")), choice.quality)
            return packed, encoder, spool
        encoder = self._encoder(self._info, choice.side)
        spool = LatentSpool(self._folder / f"latents-{choice.side}", encoder)
        with closing(encoder.pieces(self._reporter)) as pieces:
            counts = self._pack(stream, encoder, spool.keeping(pieces), choice.quality)
        self._spools[choice.side] = encoder, spool
        return counts, encoder, spool

    def _probes(self, frame: FrameSize, limits: tuple[int, int]) -> tuple[Probes, bool]:
        """Make probes, and tell whether they are of a sample; a short video is taken whole, and its latents kept."""
        clip_frames = self._job.network.model.config.frames
        least, most = limits
        wanted = min(max(frame.frames // clip_frames // _SAMPLED, least), most)
        clips = affordable_clips(self._info, clip_frames, wanted)
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        sample = take_sample(self._info, frame.fps, frame.frames, clip_frames, clips, folder)
        share = 1.0 if sample is None else (sample.frames or clips * clip_frames) / frame.frames

        def make(index: int) -> Probe:
            encoder = self._encoder(sample or self._info, index)
            probe = Probe(encoder, share, self._load, folder, self._reporter, self._score)
            if sample is None:
                self._spools[index] = encoder, probe.latents
            return probe

        return Probes(make), sample is not None

    def _encoder(self, info: MediaInfo, index: int) -> Encoder:
        if info is self._info:
            return self._encoder_at(self._sides[index])
        # the sample already has the coded frame rate, and warnings about it do not concern the user
        options = replace(self._options, short_side=self._sides[index], fps=None)
        return Encoder(EncodeJob(info, self._job.network, self._job.entry, options))

    def _candidates(self) -> tuple[list[int | None], list[int]]:
        """List the short sides, None for the video's own, and the tiles of each."""
        width, height = self._info.width, self._info.height

        def tiles(side: int | None) -> int:
            size = scaled_size(width, height, side)
            return len(self._job.network.geometry(*size, self._options.overlap).tiles)

        if self._options.short_side is not None or self._job.network.layout.patterns is not None:
            return [self._options.short_side], [tiles(self._options.short_side)]
        short = min(width, height)
        sides = candidate_sides(short, tiles)
        return [None if side == short else side for side in sides], [tiles(side) for side in sides]
