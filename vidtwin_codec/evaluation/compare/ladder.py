"""vidtwin's ladder: every quality at every short side. The network encodes once for each size; the rest is repeated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path

from vidtwin_codec import weights
from vidtwin_codec.coding import DEFAULT_QUALITY
from vidtwin_codec.decoding.decoder import Decoder
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder
from vidtwin_codec.encoding.rate.spool import LatentSpool
from vidtwin_codec.encoding.writing import write_vtw
from vidtwin_codec.evaluation.compare.job import ClipJob
from vidtwin_codec.evaluation.compare.measuring import MEASURING, Measured, measure
from vidtwin_codec.evaluation.compare.options import CompareOptions
from vidtwin_codec.evaluation.compare.results import VIDTWIN, Point, Series
from vidtwin_codec.evaluation.compare.work_folder import code_digest
from vidtwin_codec.files import atomic_path
from vidtwin_codec.media import probe
from vidtwin_codec.metrics import Frames
from vidtwin_codec.network.runner import LoadNetwork
from vidtwin_codec.options import DecodeOptions, EncodeOptions

_CODE = (
    *MEASURING,
    "coding",
    "container",
    "decoding",
    "encoding",
    "evaluation/compare/ladder",
    "model",
    "motion",
    "network",
)


@dataclass(frozen=True)
class Rung:
    """One setting of the ladder; ``short_side`` is in pixels, None for the native size."""

    quality: float
    short_side: int | None

    @property
    def title(self) -> str:
        return f"quality {self.quality:g}" + (f", {self.short_side} px" if self.short_side else "")


def rungs(options: CompareOptions, width: int, height: int) -> list[Rung]:
    """List the distinct settings for frames of this size; a short side that would not shrink them is the native one."""
    short = min(width, height)
    sides = dict.fromkeys(None if side is None or side >= short else side for side in options.short_sides)
    return [Rung(quality, side) for side in sides for quality in options.qualities]


def most_rungs(options: CompareOptions) -> int:
    """Count the settings for frames that are larger than every short side."""
    return len(options.short_sides) * len(options.qualities)


def climb(job: ClipJob, options: CompareOptions, load: LoadNetwork, machine: str) -> tuple[Series, dict[str, str]]:
    """Encode, decode and measure every rung.

    Args:
        job: the clip.
        options: the ladder and the network.
        load: reads the networks.
        machine: description of the device, on which speeds depend.

    Returns:
        The series, with its matched point (see :func:`matched_rung`), and metrics that could not be computed.

    Raises:
        VidtwinError: the weights cannot be read, or there is no such device.
    """
    reference = job.reference
    steps = rungs(options, reference.width, reference.height)
    matched = matched_rung(steps)
    entry = weights.resolve(options.weights)
    same = {"codec": VIDTWIN, "weights": entry.sha256, "machine": machine, "code": code_digest(*_CODE)}
    same |= {name: getattr(options, name) for name in ("device", "precision", "batch", "postfilter", "camera")}
    coded: dict[int | None, _Coded] = {}
    found: list[tuple[Point, Measured]] = []
    for step in steps:
        if step.short_side not in coded:
            coded[step.short_side] = _Coded(job, entry, options, step.short_side, load)
        take = partial(_measure, step, coded[step.short_side], job)
        found.append(job.once({**same, **asdict(step)}, take, viewed=step == matched))
        job.reporter.said(f"vidtwin {step.title}")
        job.reporter.advanced(1)
    job.reporter.advanced(most_rungs(options) - len(steps))
    chosen = found[steps.index(matched)]
    found.sort(key=lambda pair: pair[0].bytes)
    points = [point for point, _ in found]
    series = Series(VIDTWIN, VIDTWIN, None, points, points.index(chosen[0]), views=chosen[1].views)
    return series, chosen[1].reasons


def matched_rung(steps: list[Rung]) -> Rung:
    """Choose the setting whose bytes other codecs match in the viewer: the default quality, or the middle one."""
    first_side = [step for step in steps if step.short_side == steps[0].short_side]
    ordered = sorted(first_side, key=lambda step: step.quality)
    return next((step for step in ordered if step.quality == DEFAULT_QUALITY), ordered[len(ordered) // 2])


class _Coded:
    """Latents of the reference at one size, computed when first needed and packed at any quality."""

    def __init__(
        self, job: ClipJob, entry: weights.Entry, options: CompareOptions, side: int | None, load: LoadNetwork
    ) -> None:
        self._reference, self._entry, self._load = job.reference, entry, load
        self._finest = max(options.qualities)
        self._path = job.folder / f"latents-{side}"
        self._encoding = EncodeOptions(**options.network(), short_side=side, camera=options.camera)
        self._decoding = DecodeOptions(**options.network())

    @cached_property
    def _latents(self) -> tuple[Encoder, LatentSpool, float]:
        """Encoder, latents, and the seconds that reading and the network took."""
        network = self._load(self._entry, self._encoding, "encoder")
        encoder = Encoder(EncodeJob(probe(self._reference.rgb), network, self._entry, self._encoding))
        began = time.perf_counter()
        spool = LatentSpool(self._path, encoder, self._finest)
        for _ in spool.keeping(encoder.pieces()):
            pass
        return encoder, spool, time.perf_counter() - began

    def pack(self, target: Path, quality: float) -> tuple[int, float]:
        """Write a .vtw; return its bytes, and the seconds of encoding: reading and network first, then packing."""
        encoder, spool, seconds = self._latents
        began = time.perf_counter()
        with atomic_path(target) as temporary, temporary.open("wb") as stream:
            counts = write_vtw(stream, encoder, spool, quality=quality)
        return counts.video_bytes, seconds + time.perf_counter() - began

    def decoder(self, packed: Path) -> Decoder:
        return Decoder(packed, self._decoding, load=self._load)


def _measure(step: Rung, coded: _Coded, job: ClipJob, wanted: list[int]) -> tuple[Point, Measured]:
    packed, stopwatch = job.folder / "rung.vtw", _Stopwatch()
    size, encode_seconds = coded.pack(packed, step.quality)
    with coded.decoder(packed) as decoder:
        measured = measure(job.reference, stopwatch.watch(decoder.frames()), wanted)
    packed.unlink()
    point = measured.point(
        job.reference,
        step.title,
        size,
        encode_seconds=encode_seconds,
        decode_seconds=stopwatch.seconds,
        short_side=step.short_side or min(job.reference.width, job.reference.height),
    )
    return point, measured


class _Stopwatch:
    """A stopwatch that counts the time inside an iterator, not that of its consumer."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, frames: Iterator[Frames]) -> Iterator[Frames]:
        """Yield the same frames, counting the time that they take."""
        while True:
            began = time.perf_counter()
            piece = next(frames, None)
            self.seconds += time.perf_counter() - began
            if piece is None:
                return
            yield piece
