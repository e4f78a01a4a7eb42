"""Probes: a sample at one short side is encoded once, then packed and decoded at any quality, each once."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from vidtwin_codec.decoding.decoder import Decoder
from vidtwin_codec.encoding.encoder import Encoder
from vidtwin_codec.encoding.rate.spool import LatentSpool
from vidtwin_codec.encoding.writing import write_vtw
from vidtwin_codec.media import FrameReader
from vidtwin_codec.metrics import psnr
from vidtwin_codec.network.runner import LoadNetwork
from vidtwin_codec.options import DecodeOptions, Reporter


class SampleQuality(NamedTuple):
    """The quality of a decoded sample.

    Attributes:
        psnr: mean over frames, in dB.
        deviation: standard deviation of the means of clips, in dB.
        clips: number of clips.
    """

    psnr: float
    deviation: float
    clips: int


class Nowhere(io.RawIOBase):
    """A stream that discards its data, for files of which only the size matters."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return len(data)


def nowhere() -> BinaryIO:
    """Open a stream that discards its data."""
    return cast(BinaryIO, Nowhere())


class Probe:
    """The sample at one short side.

    Args:
        encoder: the sample's encoder.
        share: frames of the sample per frame of the video, in (0, 1].
        load: reads the decoder.
        folder: folder for temporary files.
        reporter: receives progress of the network.
    """

    def __init__(self, encoder: Encoder, share: float, load: LoadNetwork, folder: Path, reporter: Reporter) -> None:
        self.encoder, self._share, self._load = encoder, share, load
        self._folder, self._reporter = folder, reporter
        self._sizes: dict[float, int] = {}
        self._psnrs: dict[float, SampleQuality] = {}

    @cached_property
    def latents(self) -> LatentSpool:
        """Clips of the sample; the network runs at the first access."""
        path = self._folder / f"probe-{self.encoder.geometry.width}x{self.encoder.geometry.height}"
        spool = LatentSpool(path, self.encoder)
        for _ in spool.keeping(self.encoder.pieces(self._reporter)):
            pass
        return spool

    def video_bytes(self, quality: float) -> float:
        """Estimate the bytes of the whole video's latents from those of the sample."""
        if quality not in self._sizes:
            counts = write_vtw(nowhere(), self.encoder, self.latents, quality=quality)
            self._sizes[quality] = counts.video_bytes
        return self._empty + (self._sizes[quality] - self._empty) / self._share

    def psnr(self, quality: float) -> float:
        """Measure the PSNR in dB of the decoded sample at the video's own size, mean over frames."""
        return self.measured(quality).psnr

    def measured(self, quality: float) -> SampleQuality:
        """Measure the PSNR, and how much it differs between clips."""
        if quality not in self._psnrs:
            self._psnrs[quality] = self._decode(quality)
        return self._psnrs[quality]

    @cached_property
    def _empty(self) -> int:
        """Bytes that do not depend on the length of the video."""
        return write_vtw(nowhere(), self.encoder, [], quality=50).video_bytes

    def _decode(self, quality: float) -> SampleQuality:
        packed, options = self._folder / "probe.vtw", self.encoder.options
        with packed.open("wb") as stream:
            self._sizes[quality] = write_vtw(stream, self.encoder, self.latents, quality=quality).video_bytes
        network = DecodeOptions(options.weights, options.device, options.precision, options.batch)
        with (
            Decoder(packed, network, load=self._load) as decoder,
            FrameReader(self.encoder.info, fps=self.encoder.fps) as reader,
        ):
            clips = [psnr(reader.read_full(len(decoded)), decoded) for decoded in decoder.frames()]
        packed.unlink()
        means = np.array([clip.mean() for clip in clips])
        deviation = float(means.std(ddof=1)) if len(means) > 1 else math.inf
        return SampleQuality(float(np.concatenate(clips).mean()), deviation, len(clips))


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
