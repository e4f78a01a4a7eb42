"""Estimating the PSNR of a video from a few decoded clips and the errors of the latents of all clips."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from vidtwin_codec.coding import LatentArrays, Steps, dequantize
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.coding.sparse_group import SparseGroup
from vidtwin_codec.encoding.encoder import Encoder
from vidtwin_codec.encoding.rate.sample import sample_runs
from vidtwin_codec.media import FrameReader
from vidtwin_codec.metrics import psnr
from vidtwin_codec.network.geometry import Frames, resize_frames
from vidtwin_codec.network.runner import LoadNetwork, Showing
from vidtwin_codec.reporter import Reporter

FEW, MANY = 3, 8
_MAX_BYTES = 256 << 20


class Judged(NamedTuple):
    """The quality of a decoded clip: PSNR in dB, mean over frames, and mean squared error of values in [-1, 1]."""

    psnr: float
    error: float


class Judge:
    """A judge decodes clips that are spread over a video, and compares them.

    Args:
        encoder: the video's encoder.
        frames: number of frames of the video.
        load: reads the decoder.
        wanted: number of clips; fewer are taken where frames are large.
        reporter: receives progress.

    Attributes:
        numbers: indices of the clips.
    """

    def __init__(self, encoder: Encoder, frames: int, load: LoadNetwork, wanted: int, reporter: Reporter) -> None:
        self._encoder, self._load, self._reporter = encoder, load, reporter
        info, length = encoder.info, encoder.geometry.clip_frames
        most = max(2, min(wanted, _MAX_BYTES // (info.width * info.height * 3 * length)))
        runs = sample_runs(frames, length, min(most, frames // length)) or [(0, frames)]
        self.numbers = [first // length for first, _ in runs]
        self._runs = runs

    @cached_property
    def _sources(self) -> list[Frames]:
        with FrameReader(self._encoder.info, fps=self._encoder.options.fps, runs=self._runs) as reader:
            return [reader.read_full(count) for _, count in self._runs]

    def prospect(self, symbols: Mapping[int, SparseGroup], steps: Steps, errors: list[float]) -> Prospect:
        """Decode the clips, compare them with the source, and conclude for all clips.

        Args:
            symbols: a group of one clip for each of :attr:`numbers`.
            steps: quantisation steps.
            errors: mean squared error of the latents of every clip.
        """
        layout, tiles = self._encoder.layout, len(self._encoder.geometry.tiles)
        clips = (symbols[number].clip(0, layout, tiles) for number in self.numbers)
        judged = []
        self._reporter.stage("measuring", "clip").started(len(self.numbers), "")
        for source, clip in zip(self._sources, clips, strict=True):
            judged.append(self._compare(source, dequantize(clip.symbols, steps), clip.placement, steps))
            self._reporter.advanced(1)
        return Prospect(judged, self.numbers, errors)

    def beside(self) -> float:
        """Measure the mean squared error of values in [-1, 1] without quantisation, on one clip in the middle."""
        source, geometry = self._sources[len(self._sources) // 2], self._encoder.geometry
        sized = resize_frames(torch.from_numpy(source), geometry.width, geometry.height).numpy()
        return self._compare(source, self._encoder.network.encode(sized, geometry)).error

    def _compare(
        self, source: Frames, latents: LatentArrays, placement: Placement | None = None, steps: Steps | None = None
    ) -> Judged:
        encoder, entry = self._encoder, self._encoder.job.entry
        network = self._load(entry, encoder.options, "decoder")
        (decoded,) = network.decode_placed(latents, encoder.geometry, [placement], Showing.of(steps, entry))
        shown = torch.from_numpy(decoded[: len(source)])
        values = psnr(source, resize_frames(shown, encoder.info.width, encoder.info.height).numpy())
        # the mean is over errors of frames, not over their logarithms
        return Judged(float(values.mean()), 4 * float(np.mean(10.0 ** (-values / 10))))


class Prospect:
    """A forecast of the PSNR of a video at any quality, from errors of latents and clips that were judged.

    Errors of latents of an orthonormal transform are errors of pixels, but for what the network leaves out in any case,
    for clipping, and for what a post-filter repairs: with more error than the latents' something is left out, with less
    a share is repaired. Scenes differ, so a clip is taken to be like the judged one that is nearest in time.

    Args:
        judged: the judged clips.
        numbers: their indices.
        errors: mean squared error of the latents of every clip, at the same quality.

    Attributes:
        deviation: root mean square error of the forecast in dB, as each judged clip tells of its neighbour.
    """

    def __init__(self, judged: list[Judged], numbers: list[int], errors: list[float]) -> None:
        self._numbers = np.array(numbers)
        self._errors = [(clip.error, errors[number]) for clip, number in zip(judged, numbers, strict=True)]
        # frames of a clip differ, so the mean of their PSNR is above the PSNR of their mean error
        self._above = [clip.psnr - decibels(clip.error) for clip in judged]
        # the error of the forecast for each judged clip from the one beside it
        neighbours = [max(0, place - 1) or min(1, len(judged) - 1) for place in range(len(judged))]
        pairs = zip(judged, numbers, neighbours, strict=True)
        misses = [clip.psnr - self._like(other, errors[number]) for clip, number, other in pairs]
        self.deviation = float(np.sqrt(np.mean(np.square(misses))))

    def psnr(self, number: int, error: float) -> float:
        """Forecast the PSNR in dB of a clip from the mean squared error of its latents."""
        return self._like(int(np.abs(self._numbers - number).argmin()), error)

    def _like(self, place: int, error: float) -> float:
        shown, latents = self._errors[place]
        found = error + shown - latents if shown >= latents else error * max(0.2, shown / latents)
        return decibels(found) + self._above[place]


def decibels(error: float) -> float:
    """Convert a mean squared error of values in [-1, 1] to PSNR in dB."""
    return 10 * math.log10(4 / max(error, 1e-9))
