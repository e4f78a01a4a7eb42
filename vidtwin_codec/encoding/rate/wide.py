"""Encoding of wide latents to a target, mostly by the quality alone, whose scale is long enough for nearly any target.

Bytes and errors of a quality are forecast from histograms of the latents' sizes, and corrected by packing. So the
network runs once, the first packing comes near the target, and the second one mostly meets it. A smaller short side is
tried only if the lowest quality takes more bytes than are wanted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from vidtwin_codec.coding import DEFAULT_QUALITY, LatentArrays, PlacedClip
from vidtwin_codec.coding.effort import step_factor
from vidtwin_codec.coding.sparse_group import SparseGroup
from vidtwin_codec.container import Counts
from vidtwin_codec.encoding.rate.forecast import ClipError, Forecast, solve
from vidtwin_codec.encoding.rate.judge import FEW, MANY, Judge, Prospect, decibels
from vidtwin_codec.encoding.rate.run import WideRun
from vidtwin_codec.encoding.rate.sample import count_frames
from vidtwin_codec.encoding.rate.steering import Steered
from vidtwin_codec.encoding.writing import Written, count_bytes
from vidtwin_codec.options.target import Achieved, Band, FrameSize

_NEAR = 0.035
"""Relative distance from a target of bytes within which a file is not packed again."""
_PACKS = 4
_NEAR_PSNR = 0.07
"""Distance from a target PSNR, in dB, within which a file is not packed again."""
_UNEVEN = 0.12
"""Deviation of the forecast in dB up to which a few judged clips are enough."""
_PSNR_PACKS = 3
_CODED_ERROR = 1.28
"""Error of coded latents over that of rounding; choosing symbols by their bits adds some."""
_FILTERED_ERROR = 0.9
"""Error of pixels behind a post-filter over that in front of it, as a first guess."""
_HOPELESS = 1.25
"""Bytes of the lowest quality over those wanted, on a few clips, beyond which a smaller size is taken."""
_LEAST_SIDE = 16
_SIZES = 6
_AREA_POWER = 0.8
"""Power of the frame's area that bytes are about proportional to."""


@dataclass(frozen=True)
class _Outcome:
    """The result of one size.

    Attributes:
        done: the file, if it was written.
        excess: bytes of the lowest quality over the most that will do; 0 if a higher quality was possible.
    """

    done: Written | None
    excess: float


class WideController(Steered):
    """A controller that encodes wide latents to a target."""

    def write(self, stream: BinaryIO) -> Written:
        """See :meth:`Steered.write`."""
        side = self._options.short_side
        if self._target.name == "psnr":
            return self._explained(self._fit_psnr(stream, side))
        for tries_left in reversed(range(_SIZES)):
            encoder = self._encoder_at(side)
            short = min(encoder.geometry.width, encoder.geometry.height)
            last = tries_left == 0 or self._options.short_side is not None or short <= _LEAST_SIDE
            outcome = self._fit_bytes(stream, side, last)
            if outcome.done is not None and (last or outcome.excess <= 1):
                break
            side = max(_LEAST_SIDE, min(short - 1, int(short * (1.05 * outcome.excess) ** (-0.5 / _AREA_POWER))))
        assert outcome.done is not None  # the last size is always encoded
        return self._explained(outcome.done)

    def _fit_bytes(self, stream: BinaryIO, side: int | None, last: bool) -> _Outcome:
        run = WideRun(self._encoder_at(side), self._folder, self._reporter, _PACKS + 1)
        encoder, effort = run.encoder, run.encoder.options.effort
        frame, empty = self._frame(run)
        if not run.tallies:  # no frames at all, which packing reports
            counts = self._pack(stream, encoder, run.pieces(DEFAULT_QUALITY), DEFAULT_QUALITY)
            return _Outcome(Written(counts, encoder, DEFAULT_QUALITY), 0.0)
        band = _less(self._target.video_bytes(frame, _NEAR), empty)
        share = min(1.0, len(run.tallies) / encoder.geometry.clips(frame.frames))
        forecast = Forecast(run.total(), effort)
        quality = forecast.quality_for(band.aim * share)
        forecast.learn(quality, run.trial(quality))
        quality = forecast.quality_for(band.aim * share)
        if not last:
            excess = forecast.bytes(0) / (band.most * share)
            if excess > _HOPELESS:
                run.close()
                return _Outcome(None, excess)
        counts, written = self._pack(stream, encoder, run.pieces(quality), quality), quality
        # now the number of frames is known
        frame = FrameSize(frame.width, frame.height, counts.frames, frame.fps, frame.audio_bytes)
        band = _less(self._target.video_bytes(frame, _NEAR), empty)
        forecast, known = Forecast(run.total(), effort), {quality: counts}
        while not band.holds(counts.video_bytes - empty) and len(known) < _PACKS:
            forecast.learn(written, counts.video_bytes - empty)
            following = forecast.quality_for(band.aim)
            if following in known:
                break
            counts, written = self._pack(stream, encoder, run.pieces(following), following), following
            known[following] = counts
        best = min(known, key=lambda each: _miss(band, known[each].video_bytes - empty))
        ceiling = best == 100 and self._target.left_over(self._target.achieved(known[best].video_bytes, frame))
        best = run.finest_of_use() if ceiling else best
        if best != written:
            counts = self._pack(stream, encoder, run.pieces(best), best)
        value = self._target.achieved(counts.video_bytes, frame)
        excess = (counts.video_bytes - empty) / band.most if best == 0 else 0.0
        return _Outcome(Written(counts, encoder, best, Achieved(self._target, value, ceiling=ceiling)), excess)

    def _fit_psnr(self, stream: BinaryIO, side: int | None) -> Written:
        run = WideRun(self._encoder_at(side), self._folder, self._reporter, _PSNR_PACKS + 1)
        encoder, effort = run.encoder, run.encoder.options.effort
        geometry = encoder.geometry
        frames = count_frames(self._info, encoder.fps)
        few, many = (Judge(encoder, frames, self._load, wanted, self._reporter) for wanted in (FEW, MANY))
        judge = few
        filters = encoder.network.model.config.postfilter is not None and encoder.options.postfilter
        coded = _CODED_ERROR * (_FILTERED_ERROR if filters else 1)

        def forecast_psnr(quality: float) -> float:
            """Forecast the PSNR in dB from the latents alone."""
            scale = step_factor(quality, effort)
            pairs = zip(run.tallies, run.elements, strict=True)
            errors = [coded * tally.error(scale) / elements + beside for tally, elements in pairs]
            return sum(map(decibels, errors)) / len(errors)

        beside = judge.beside()
        quality = solve(forecast_psnr, self._target.value) if run.tallies else DEFAULT_QUALITY
        tried: dict[float, float] = {}
        while True:
            counts, errors, symbols = self._watched_pack(stream, run, quality, {*few.numbers, *many.numbers})
            per_element = [error / elements for error, elements in zip(errors, run.elements, strict=True)]
            prospect = judge.prospect(symbols, run.steps(quality), per_element)
            if judge is few and prospect.deviation > _UNEVEN:
                judge = many
                prospect = judge.prospect(symbols, run.steps(quality), per_element)
            value = _mean_psnr(prospect, per_element, counts, geometry.clip_frames)
            tried[quality] = value
            # real error over that of rounding, for each clip
            pairs, scale = zip(per_element, run.tallies, strict=True), step_factor(quality, effort)
            shares = [error / max(tally.error(scale), 1e-9) for error, tally in pairs]
            expected = partial(self._expected, run, prospect, shares, counts)
            following = solve(expected, self._target.value)
            if abs(value - self._target.value) <= _NEAR_PSNR or following in tried or len(tried) == _PSNR_PACKS:
                break
            quality = following
        best = min(tried, key=lambda each: abs(tried[each] - self._target.value))
        if best != quality:
            counts = self._pack(stream, encoder, run.pieces(best), best)
        clips, seen = len(run.tallies), len(judge.numbers)
        spread = prospect.deviation / math.sqrt(seen) * math.sqrt(max(0.0, 1 - seen / clips))
        return Written(counts, encoder, best, Achieved(self._target, tried[best], spread))

    def _expected(self, run: WideRun, prospect: Prospect, shares: list[float], counts: Counts, quality: float) -> float:
        """Forecast the PSNR in dB at a quality, from each clip's ratio of real error to that of rounding."""
        scale = step_factor(quality, run.encoder.options.effort)
        errors = [share * tally.error(scale) for share, tally in zip(shares, run.tallies, strict=True)]
        return _mean_psnr(prospect, errors, counts, run.encoder.geometry.clip_frames)

    def _watched_pack(
        self, stream: BinaryIO, run: WideRun, quality: float, wanted: set[int]
    ) -> tuple[Counts, list[float], dict[int, SparseGroup]]:
        """Pack; return the counts, the error of each clip's latents, and the symbols of the clips wanted."""
        errors, kept = ClipError(run.steps(quality)), dict[int, SparseGroup]()

        def watch(latents: LatentArrays, clip: PlacedClip) -> None:
            number = len(errors.sums)
            errors.add(latents, clip.symbols, run.energies[number], run.encoder.weights_of(clip.placement))
            if number in wanted:
                kept[number] = SparseGroup.of([clip])

        counts = self._pack(stream, run.encoder, run.pieces(quality), quality, watch)
        return counts, errors.sums, kept

    def _frame(self, run: WideRun) -> tuple[FrameSize, int]:
        """Compute the frame size that targets refer to, and the bytes of a file without clips, sound left out."""
        counts = count_bytes(run.encoder, [], quality=DEFAULT_QUALITY, audio=self._audio)
        frames = count_frames(self._info, run.encoder.fps)
        frame = FrameSize(self._info.width, self._info.height, frames, run.encoder.fps, counts.audio_bytes)
        return frame, counts.video_bytes


def _less(band: Band, taken: int) -> Band:
    """Subtract bytes that are taken already from a band, down to 1 byte at least."""
    return Band(*(max(1.0, value - taken) for value in band))


def _miss(band: Band, size: float) -> float:
    """Rate the distance of a size from the band's aim; a size above the band is worse than any other."""
    return abs(math.log(max(size, 1.0) / band.aim)) + (1.0 if size > band.most else 0.0)


def _mean_psnr(prospect: Prospect, errors: list[float], counts: Counts, clip_frames: int) -> float:
    """Forecast the mean PSNR over frames; the last clip may have fewer frames than the others."""
    lengths = [min(clip_frames, counts.frames - number * clip_frames) for number in range(len(errors))]
    pairs = enumerate(zip(errors, lengths, strict=True))
    return sum(prospect.psnr(number, error) * length for number, (error, length) in pairs) / counts.frames
