"""A forecast of encoding a video from a few pieces of it: size, time and PSNR, with how far they may be off."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec import weights
from vidtwin_codec.encoding.audio import extract_audio_file
from vidtwin_codec.encoding.encode import encode, look
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder
from vidtwin_codec.encoding.rate.sample import affordable_clips, count_frames
from vidtwin_codec.encoding.writing import count_bytes
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.measure.codec import measure_codec
from vidtwin_codec.evaluation.measure.options import MeasureOptions
from vidtwin_codec.files import is_pipe, temporary_folder
from vidtwin_codec.media import FrameReader, MediaInfo, probe, spool_stdin
from vidtwin_codec.media.excerpt import write_lossless
from vidtwin_codec.network.runner import LoadNetwork, NetworkCache
from vidtwin_codec.options import EncodeOptions, Reporter
from vidtwin_codec.options.results import Extent
from vidtwin_codec.options.target import kbps

_CHUNK = 16
"""Frames in memory at once."""


@dataclass(frozen=True)
class Estimate(Extent):
    """A forecast of encoding a video; sizes in bytes, times in seconds.

    Attributes:
        pieces: number of pieces that were encoded; 1 if the whole video was.
        sampled: frames of all pieces together over those of the video, 1 if the whole video was encoded.
        video_bytes: latents with headers and index.
        video_bytes_error: standard error of ``video_bytes``, from how the pieces differ; None for one piece alone, 0
            for the whole video.
        audio_bytes: the sound, which is encoded whole.
        psnr: in dB at the video's own size, mean over frames.
        psnr_error: standard error of ``psnr``, likewise.
        seconds: time that encoding the video is expected to take on this machine as busy as it is now.
        spent: time that the estimate took.
    """

    source: str
    width: int
    height: int
    frames: int
    fps: Fraction
    pieces: int
    sampled: float
    video_bytes: int
    video_bytes_error: int | None
    audio_bytes: int
    psnr: float
    psnr_error: float | None
    seconds: float
    spent: float
    quality: float
    short_side: int | None
    weights: str
    device: str
    warnings: list[str] = field(default_factory=list)

    @property
    def vtw_bytes(self) -> int:
        """Bytes of the whole .vtw."""
        return self.video_bytes + self.audio_bytes

    @property
    def kbps(self) -> float:
        """Kilobits of the whole .vtw, audio included, per second."""
        return kbps(self.vtw_bytes, self.duration)

    def __repr__(self) -> str:
        return self._line(f"about {self.vtw_bytes} bytes, {self.psnr:.2f} dB, quality {self.quality:g}", self.warnings)

    def to_json(self) -> dict[str, Any]:
        """The keys that ``--json`` prints."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        derived = {name: getattr(self, name) for name in ("duration", "vtw_bytes", "kbps")}
        return {**values, "fps": str(self.fps), "sample": True, **derived}


class _Piece(NamedTuple):
    """The outcome of one piece."""

    frames: int
    video_bytes: int
    psnr: float
    seconds: float


def piece_runs(frames: int, length: int, count: int) -> list[tuple[int, int]]:
    """List, as ``(first frame, frames)``, pieces in the middle of equal parts of a video.

    Args:
        frames: number of frames of the video.
        length: frames of a piece.
        count: number of pieces wanted.

    Returns:
        Pieces that do not touch; the whole video as one if they would be no less than half of it.
    """
    if 2 * count * length > frames:
        return [(0, frames)]
    return [((2 * part + 1) * frames // (2 * count) - length // 2, length) for part in range(count)]


def estimate(
    source: str | os.PathLike[str],
    options: EncodeOptions | None = None,
    *,
    pieces: int = 5,
    reporter: Reporter | None = None,
) -> Estimate:
    """Encode and measure a few pieces of a video, and conclude what all of it will come to; nothing is written.

    A piece lasts about ten seconds, as a group of clips does, or less where frames are large. Scenes that stand still
    come out a little smaller than is said, since their groups last up to a minute.

    Args:
        source: a video, an image sequence or ``-`` for standard input.
        options: those of encoding, without a target; None for the defaults.
        pieces: number of pieces, spread evenly. A video that is less than twice as long is encoded whole.
        reporter: receives progress and warnings.

    Raises:
        VidtwinError: the options have a target, the input cannot be read, or the weights cannot be read.
    """
    options, reporter = options or EncodeOptions(), reporter or Reporter()
    if options.target is not None:
        raise VidtwinError("a sample estimates one quality", "give --quality instead of a target")
    if pieces < 1:
        raise VidtwinError("a sample has at least one piece")
    began = time.monotonic()
    with ExitStack() as stack:
        path = stack.enter_context(spool_stdin()) if is_pipe(source) else source
        folder = stack.enter_context(temporary_folder())
        info = look(path, options)
        load = NetworkCache().load
        entry = weights.resolve(options.weights)
        network = load(entry, options, "encoder")
        encoder = Encoder(EncodeJob(info, network, entry, options))
        for text in info.warnings:
            reporter.warned(text)
        audio = extract_audio_file(info, folder, options)
        ready = time.monotonic() - began
        counts = count_bytes(encoder, [], quality=options.quality, audio=audio)
        frames = count_frames(info, encoder.fps)
        runs = _runs(info, encoder, frames, pieces)
        work = _Work(folder, options, load, reporter)
        found = list(work.encode(info, encoder.fps, runs))
    taken = sum(piece.frames for piece in found)
    whole = len(runs) == 1 and runs[0][1] == frames
    frames = taken if whole else frames
    share = 1.0 if whole else taken / frames
    rates = [(piece.video_bytes - counts.video_bytes) / piece.frames for piece in found]
    mean = sum(piece.video_bytes - counts.video_bytes for piece in found) / taken
    rate_error, psnr_error = (_error(each, share) for each in (rates, [piece.psnr for piece in found]))
    return Estimate(
        source=os.fspath(source),
        width=info.width,
        height=info.height,
        frames=frames,
        fps=encoder.fps,
        pieces=len(found),
        sampled=share,
        video_bytes=counts.video_bytes + round(mean * frames),
        video_bytes_error=None if rate_error is None else round(rate_error * frames),
        audio_bytes=counts.audio_bytes,
        psnr=sum(piece.psnr * piece.frames for piece in found) / taken,
        psnr_error=psnr_error,
        seconds=ready + sum(piece.seconds for piece in found) / share,
        spent=time.monotonic() - began,
        quality=options.quality,
        short_side=options.short_side,
        weights=entry.name,
        device=str(network.device),
        warnings=list(info.warnings),
    )


def _runs(info: MediaInfo, encoder: Encoder, frames: int, pieces: int) -> list[tuple[int, int]]:
    clip_frames = encoder.geometry.clip_frames
    clips = affordable_clips(info, clip_frames, max(1, encoder.geometry.clips_per_group(encoder.fps)))
    return piece_runs(frames, clips * clip_frames, pieces)


def _error(values: Sequence[float], share: float) -> float | None:
    """Standard error of the mean of a sample that is this share of all; None where one value is all there is."""
    if share >= 1:
        return 0.0
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) * math.sqrt(1 - share)


@dataclass(frozen=True)
class _Work:
    """Pieces one after the other, each as a lossless video of its own that is deleted when it is measured."""

    folder: Path
    options: EncodeOptions
    load: LoadNetwork
    reporter: Reporter

    def encode(self, info: MediaInfo, fps: Fraction, runs: list[tuple[int, int]]) -> Iterator[_Piece]:
        """Read the video once, and encode and measure each run of its frames as it comes."""
        options = replace(self.options, start=0.0, duration=None, fps=None, audio="none", force=True)
        target = self.folder / "piece.mkv"
        with FrameReader(info, fps=fps, runs=runs) as reader:
            for number, (_, count) in enumerate(runs, 1):
                chunks = _exactly(reader, count)
                written = write_lossless(chunks, target, width=info.width, height=info.height, fps=fps)
                if not written:
                    raise VidtwinError(f"{info.path}: ends before piece {number} of {len(runs)}")
                yield self._measure(target, options, f"piece {number} of {len(runs)}")
                target.unlink()

    def _measure(self, piece: Path, options: EncodeOptions, name: str) -> _Piece:
        packed = self.folder / "piece.vtw"
        reporter = self.reporter.stage(name)
        result = encode(piece, packed, options, reporter=reporter, load=self.load, info=probe(piece))
        choices = MeasureOptions(**options.network(), metrics=("psnr",))
        measured = measure_codec(piece, packed, choices, reporter, self.load)
        packed.unlink()
        return _Piece(result.frames, result.video_bytes, float(measured.scores.means["psnr"] or 0.0), result.seconds)


def _exactly(reader: FrameReader, count: int) -> Iterator[NDArray[np.uint8]]:
    """The next ``count`` frames, a few at a time; fewer at the end of the video."""
    while count > 0 and len(frames := reader.read(min(_CHUNK, count))):
        count -= len(frames)
        yield frames
