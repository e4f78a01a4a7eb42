"""The protocol ``vidtwin``: the evaluation of the paper (arXiv 2412.17726), of the network alone.

The short side is scaled to the network's (224) by antialiased bilinear interpolation, and the centre is cropped. Frames
are taken at 25 a second, in consecutive clips of 16, of which the last is padded with its last frame. Latents are the
posterior means, not quantised, and the network's output is compared without rounding to 8 bits. PSNR and SSIM are means
over frames, then over clips, then over videos; frames that pad a clip count like all others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from vidtwin_codec import weights
from vidtwin_codec.coding import LatentArrays, Steps
from vidtwin_codec.evaluation.measure.options import Measurement, MeasureOptions
from vidtwin_codec.evaluation.measure.side_by_side import side_by_side
from vidtwin_codec.files import is_pipe
from vidtwin_codec.media import FrameReader, MediaInfo, probe, spool_stdin
from vidtwin_codec.media.color import luma_matrix
from vidtwin_codec.metrics import ClipBoundaries, MetricSet
from vidtwin_codec.model import Latents, load_checkpoint
from vidtwin_codec.model.levels import pixels_from_levels
from vidtwin_codec.network.cropping import fill_up, scale_and_crop
from vidtwin_codec.network.device import select_device
from vidtwin_codec.network.runner import NetworkRunner, Showing
from vidtwin_codec.options import NetworkOptions, Reporter

PAPER_FPS = Fraction(25)
Clip = NDArray[np.uint8]
"""uint8 ``[T, H, W, 3]`` RGB, of the network's size."""


class Network:
    """A network that codes clips of exactly its own size.

    Attributes:
        entry: the weights.
        runner: the network on its device.
        size: ``(height, width)`` of a clip in pixels.
        frames: frames of a clip.

    Raises:
        VidtwinError: the weights cannot be read, or there is no such device.
    """

    def __init__(self, options: NetworkOptions) -> None:
        self.entry = weights.resolve(options.weights)
        device = select_device(
            options.device, options.precision, self.entry.metadata.compute_dtype, tf32=self.entry.metadata.tf32
        )
        self.runner = NetworkRunner(load_checkpoint(self.entry.path), device, options.batch)
        if not options.postfilter:
            self.runner.model.leave_out_postfilter()
        config = self.runner.model.config
        self.size, self.frames = (config.height, config.width), config.frames

    @torch.inference_mode()
    def encode(self, clips: NDArray[np.uint8]) -> LatentArrays:
        """Compute the posterior means of uint8 clips ``[n, T, H, W, 3]``."""
        device, levels = self.runner.device, torch.from_numpy(clips).permute(0, 4, 1, 2, 3)

        def run(piece: slice) -> Latents:
            pixels = pixels_from_levels(levels[piece].to(device.device))
            with device.autocast():
                return self.runner.model.encode(pixels).map(lambda part: part.float().cpu())

        return LatentArrays(*Latents.concatenate(list(self.runner.batches.run(run, len(clips)))).numpy())

    @torch.inference_mode()
    def decode(self, latents: LatentArrays, steps: Steps | None = None) -> NDArray[np.float32]:
        """Decode latents to float32 clips ``[n, T, H, W, 3]`` in [0, 1], clipped but not rounded.

        Args:
            latents: the latents.
            steps: steps that they were quantised with; None if they were not.
        """
        coarseness = Showing.of(steps, self.entry).coarseness
        device, tensors = self.runner.device, Latents.from_numpy(latents)

        def run(piece: slice) -> torch.Tensor:
            with device.autocast():
                part = tensors.map(lambda part: part[piece].to(device.device))
                out = self.runner.model.decode(part, coarseness=coarseness)
            return out.float().clamp_(-1, 1).add_(1).div_(2).permute(0, 2, 3, 4, 1).cpu()

        decoded: NDArray[np.float32] = torch.cat(list(self.runner.batches.run(run, len(tensors[0])))).numpy()
        return decoded


def clips_of(
    info: MediaInfo, size: tuple[int, int], frames: int, fps: Fraction | None = None
) -> Iterator[tuple[Clip, int]]:
    """Yield the clips of a video in order, each with its number of frames that are not padding.

    Args:
        info: what probing the video found.
        size: ``(height, width)`` of a clip in pixels.
        frames: frames of a clip.
        fps: frame rate at which frames are taken; None for the video's own.
    """
    with FrameReader(info, fps=fps) as reader:
        while len(piece := reader.read_full(frames)):
            yield scale_and_crop(torch.from_numpy(fill_up(piece, frames)), size).numpy(), len(piece)


def measure_paper(
    source: str | os.PathLike[str], network: Network, options: MeasureOptions, reporter: Reporter
) -> Measurement:
    """Measure one video under the paper's protocol; see :func:`vidtwin_codec.measure`.

    Raises:
        VidtwinError: the video cannot be read.
    """
    began = time.monotonic()
    height, width = network.size
    clips = frames = 0
    with ExitStack() as stack:
        path = stack.enter_context(spool_stdin()) if is_pipe(source) else source
        info = probe(
            path,
            fps=PAPER_FPS,
            playlists=options.allow_playlists,
            start=options.start,
            duration=options.duration,
            hwaccel=options.hwaccel,
        )
        # a warning about the frame rate does not apply, because frames are taken at 25 a second by their times
        warnings = [text for text in info.warnings if not text.startswith("variable frame rate")]
        for text in warnings:
            reporter.warned(text)
        expected = None if info.duration is None else round(info.duration * PAPER_FPS)
        reporter.started(expected, str(network.runner.device))
        matrix = luma_matrix(info)
        metrics = stack.enter_context(MetricSet(options.metrics, width, height, fps=PAPER_FPS, matrix=matrix))
        shown = stack.enter_context(side_by_side(options.side_by_side, width, height, PAPER_FPS, force=options.force))
        for clip, own in clips_of(info, network.size, network.frames, PAPER_FPS):
            decoded = network.decode(network.encode(clip[None]))[0]
            metrics.add(clip, decoded)
            shown.add(clip[:own], decoded[:own])
            reporter.advanced(own)
            clips, frames = clips + 1, frames + own
        scores = metrics.finish()
    psnr = scores.per_frame.get("psnr")
    return Measurement(
        source=os.fspath(source),
        output=None,
        protocol="vidtwin",
        width=width,
        height=height,
        frames=frames,
        clips=clips,
        fps=PAPER_FPS,
        source_bytes=info.own_bytes,
        sizes=None,
        quality=None,
        short_side=None,
        weights=network.entry.name,
        device=str(network.runner.device),
        seconds=time.monotonic() - began,
        scores=scores,
        boundaries=None if psnr is None else ClipBoundaries.of(psnr, network.frames),
        luma_matrix=matrix,
        warnings=warnings,
    )
