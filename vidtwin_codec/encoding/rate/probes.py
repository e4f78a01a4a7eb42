"""Probes: a sample at one short side is encoded once, then packed and decoded at any quality, each once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vidtwin_codec.decoding.decoder import Decoder
from vidtwin_codec.encoding.encoder import Encoder
from vidtwin_codec.encoding.rate.spool import LatentSpool
from vidtwin_codec.encoding.writing import count_bytes, write_vtw
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import FrameReader, MediaInfo
from vidtwin_codec.media.color import luma_matrix
from vidtwin_codec.metrics import Frames, MetricSet, psnr
from vidtwin_codec.metrics.meters import why_not
from vidtwin_codec.network.runner import LoadNetwork
from vidtwin_codec.options import DecodeOptions, Reporter

TRIES = 8
"""Most qualities that are tried at one short side."""


class SampleQuality(NamedTuple):
    """The quality of a decoded sample.

    Attributes:
        score: mean over frames, PSNR in dB or VMAF.
        deviation: standard deviation of the means of clips, in the same unit.
        clips: number of clips.
    """

    score: float
    deviation: float
    clips: int


Score = Callable[[Iterable[tuple[Frames, Frames]]], SampleQuality]
"""A function that takes the frames of each clip, original and decoded."""


def score_psnr(clips: Iterable[tuple[Frames, Frames]]) -> SampleQuality:
    """Measure the PSNR of RGB."""
    values = [psnr(*pair) for pair in clips]
    return SampleQuality(float(np.concatenate(values).mean()), *_spread([float(clip.mean()) for clip in values]))


def vmaf_score(info: MediaInfo, fps: Fraction) -> Score:
    """Make a function that scores clips of a video by VMAF.

    Args:
        info: the video.
        fps: coded frames per second.

    Raises:
        VidtwinError: VMAF cannot be measured here, or on frames of this size.
    """
    reason = why_not("vmaf", info.width, info.height)
    if reason is not None:
        raise VidtwinError(f"{info.path}: a target of VMAF cannot be measured: {reason}", "choose --target-psnr")

    def meter() -> MetricSet:
        return MetricSet(("vmaf",), info.width, info.height, fps=fps, matrix=luma_matrix(info))

    def value(metrics: MetricSet) -> float:
        scores = metrics.finish()
        found = scores.means["vmaf"]
        if found is None:
            raise VidtwinError(f"{info.path}: {scores.reasons['vmaf']}", "choose --target-psnr")
        return found

    def score(clips: Iterable[tuple[Frames, Frames]]) -> SampleQuality:
        each = []
        # VMAF looks at motion, too: the first frame of a meter has none, so that one has to see all
        with meter() as whole:
            for pair in clips:
                whole.add(*pair)
                with meter() as alone:
                    alone.add(*pair)
                    each.append(value(alone))
            return SampleQuality(value(whole), *_spread(each))

    return score


def _spread(means: list[float]) -> tuple[float, int]:
    """Compute the standard deviation of clips, and count them."""
    return float(np.std(means, ddof=1)) if len(means) > 1 else math.inf, len(means)


class Probe:
    """The sample at one short side.

    Args:
        encoder: the sample's encoder.
        share: frames of the sample per frame of the video, in (0, 1].
        load: reads the decoder.
        folder: folder for temporary files.
        reporter: receives progress of the network, and of each quality that is tried.
        judge: scores the decoded sample.
    """

    def __init__(
        self,
        encoder: Encoder,
        share: float,
        load: LoadNetwork,
        folder: Path,
        reporter: Reporter,
        judge: Score,
    ) -> None:
        self.encoder, self._share, self._load, self._judge = encoder, share, load, judge
        self._folder, self._reporter = folder, reporter
        self._sizes: dict[float, int] = {}
        self._scores: dict[float, SampleQuality] = {}
        self._tried = set[float]()

    @cached_property
    def latents(self) -> LatentSpool:
        """Clips of the sample; the network runs at the first access."""
        path = self._folder / f"probe-{self.encoder.geometry.width}x{self.encoder.geometry.height}"
        spool = LatentSpool(path, self.encoder)
        size = f"{self.encoder.geometry.width}x{self.encoder.geometry.height}"
        for _ in spool.keeping(self.encoder.pieces(self._reporter.stage(f"probing {size}"))):
            pass
        return spool

    def video_bytes(self, quality: float) -> float:
        """Estimate the bytes of the whole video's latents from those of the sample."""
        if quality not in self._sizes:
            counts = count_bytes(self.encoder, self.latents.reported(self._next_try(quality)), quality=quality)
            self._sizes[quality] = counts.video_bytes
        return self._empty + (self._sizes[quality] - self._empty) / self._share

    def score(self, quality: float) -> float:
        """Measure the score of the decoded sample at the video's own size, mean over frames."""
        return self.measured(quality).score

    def measured(self, quality: float) -> SampleQuality:
        """Measure the score, and how much it differs between clips."""
        if quality not in self._scores:
            self._scores[quality] = self._decode(quality)
        return self._scores[quality]

    def _next_try(self, quality: float) -> Reporter:
        self._tried.add(quality)
        size = f"{self.encoder.geometry.width}x{self.encoder.geometry.height}"
        return self._reporter.stage(f"probe {len(self._tried)} of at most {TRIES}, {size}")

    @cached_property
    def _empty(self) -> int:
        """Bytes that do not depend on the length of the video."""
        return count_bytes(self.encoder, [], quality=50).video_bytes

    def _decode(self, quality: float) -> SampleQuality:
        packed, options = self._folder / "probe.vtw", self.encoder.options
        with packed.open("wb") as stream:
            self._sizes[quality] = write_vtw(stream, self.encoder, self.latents, quality=quality).video_bytes
        reporter = self._next_try(quality)
        with (
            Decoder(packed, DecodeOptions(**options.network()), load=self._load) as decoder,
            FrameReader(self.encoder.info, fps=self.encoder.fps) as reader,
        ):
            reporter.started(decoder.last, "")

            def pairs() -> Iterator[tuple[Frames, Frames]]:
                for decoded in decoder.frames():
                    yield reader.read_full(len(decoded)), decoded
                    reporter.advanced(len(decoded))

            found = self._judge(pairs())
        packed.unlink()
        return found


class Probes:
    """Probes of the sample at several short sides, each made at the first access."""

    def __init__(self, make: Callable[[int], Probe]) -> None:
        self._make = make
        self._made: dict[int, Probe] = {}

    def at(self, index: int) -> Probe:
        """Return the probe at the short side of this index."""
        if index not in self._made:
            self._made[index] = self._make(index)
        return self._made[index]
