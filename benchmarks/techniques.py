"""What each technique of coding saves, one after the other: BD-rate against the state before it.

    python benchmarks/techniques.py FOLDER [--weights NAME|FILE] [--frames 32]

Frames as the paper takes them: short side to the network's (224), centre crop, the first ``--frames`` of each as one
group. PSNR is of RGB, per frame, against the source. BD-rates are means over videos of bits per pixel at equal PSNR,
piecewise cubic, over four qualities. At the end, what the default quality costs. Needs the extra ``compare``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray

from vidtwin_codec import metrics
from vidtwin_codec.coding import (
    DEFAULT_QUALITY,
    Group,
    LatentArrays,
    Steps,
    dequantize,
    pack_group,
    quality_scale,
    quantize,
)
from vidtwin_codec.coding.effort import DEFAULT_EFFORT, choose_symbols
from vidtwin_codec.compare.bd import delta
from vidtwin_codec.compare.results import Point
from vidtwin_codec.measurement.paper import Network, clips_of
from vidtwin_codec.media import probe
from vidtwin_codec.pipeline.geometry import pixels_from_levels
from vidtwin_codec.pipeline.options import NetworkOptions
from vidtwin_codec.weights.calibration import steps_from_sigma

QUALITIES = (45.0, 60.0, DEFAULT_QUALITY, 90.0)
CHANNEL_MAJOR = 1  # the plain coder whose order is that of the latents


class Video(NamedTuple):
    """uint8 clips ``[n, T, H, W, 3]`` and their latents."""

    clips: NDArray[np.uint8]
    latents: LatentArrays


class Technique(NamedTuple):
    """A state of the codec: its base steps, how latents become symbols, and how these become bytes.

    ``coder`` None: the smallest of all. A technique that chooses other symbols replaces ``quantize``; one that decodes
    them otherwise, from what the encoder knew of the latents, replaces ``reconstruct`` and counts the bytes for it.
    """

    name: str
    steps: Steps
    coder: int | None
    quantize: Callable[[LatentArrays, Steps], LatentArrays] = quantize
    reconstruct: Callable[[LatentArrays, Steps, LatentArrays], LatentArrays] = lambda symbols, steps, _: dequantize(
        symbols, steps
    )
    side_bytes: int = 0


class Bench:
    """Videos on which techniques are measured; pictures that two of them have in common are decoded once."""

    def __init__(self, network: Network, videos: Sequence[Video]) -> None:
        self._network, self._videos = network, videos
        self._decoded: dict[tuple[object, ...], float] = {}

    def unquantized(self) -> list[float]:
        """PSNR of each video's posterior means."""
        return [self._psnr(video, video.latents) for video in self._videos]

    def curves(self, technique: Technique) -> list[list[Point]]:
        """A curve for each video, a point for each of `QUALITIES`."""
        return [
            [self._point(number, technique, quality) for quality in QUALITIES] for number in range(len(self._videos))
        ]

    def _point(self, number: int, technique: Technique, quality: float) -> Point:
        video = self._videos[number]
        steps = technique.steps.scaled(quality_scale(quality))
        symbols = technique.quantize(video.latents, steps)
        clips, frames, height, width, _ = video.clips.shape
        group = Group(0, clips * frames, 0, clips, 1, symbols)
        size = len(pack_group(group, self._network.codec.layout, coder=technique.coder)) + technique.side_bytes
        key = (number, technique.quantize, technique.reconstruct, steps)
        if key not in self._decoded:
            self._decoded[key] = self._psnr(video, technique.reconstruct(symbols, steps, video.latents))
        bits = 8 * size / (clips * frames * height * width)
        return Point(f"{quality:g}", size, bits, 0.0, {"psnr": self._decoded[key]}, 0.0, 0.0)

    def _psnr(self, video: Video, latents: LatentArrays) -> float:
        reference, frames = (part.reshape(-1, *part.shape[2:]) for part in (video.clips, self._network.decode(latents)))
        return float(metrics.psnr(reference, frames).mean())


def sigma_steps(network: Network, videos: Sequence[Video]) -> Steps:
    """Steps from the posterior alone, over the videos themselves."""
    levels = (torch.from_numpy(clip).permute(3, 0, 1, 2)[None] for video in videos for clip in video.clips)
    clips = [pixels_from_levels(clip.to(network.codec.device.device), torch.float32) for clip in levels]
    return Steps(*(part.astype(np.float32) for part in steps_from_sigma(network.codec.model, clips)[1]))


def at_centroids(symbols: LatentArrays, steps: Steps, latents: LatentArrays) -> LatentArrays:
    """Symbols moved towards zero by the mean of what rounding added in their channel, in 256ths of a step."""
    made = []
    for ints, middles, exact in zip(symbols, dequantize(symbols, steps), latents, strict=True):
        added = np.where(ints == 0, 0, 1 - exact / np.where(ints == 0, 1, middles)) * np.abs(ints)
        count = np.maximum((ints != 0).sum(axis=(0, 2, 3), keepdims=True), 1)
        shift = np.rint(256 * added.sum(axis=(0, 2, 3), keepdims=True) / count) / 256
        made.append((middles * (1 - shift / np.maximum(np.abs(ints), 1))).astype(np.float32))
    return LatentArrays(*made)


def read(path: Path, network: Network, frames: int) -> Video:
    wanted = max(1, frames // network.frames)
    clips = np.stack([clip for clip, _ in islice(clips_of(probe(path), network.size, network.frames, None), wanted)])
    return Video(clips, network.encode(clips))


def rate_change(before: list[list[Point]], after: list[list[Point]]) -> float:
    """Mean BD-rate in percent."""
    found = [delta(one, other, "psnr").rate for one, other in zip(before, after, strict=True)]
    return fmean(rate for rate in found if rate is not None)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--weights", default="mini", show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--frames", default=32, show_default=True)
def main(folder: Path, weights: str, device: str, frames: int) -> None:
    network = Network(NetworkOptions(weights=weights, device=device))
    base = network.entry.metadata.steps
    assert base is not None  # weights without steps are not resolved

    def chosen(latents: LatentArrays, steps: Steps) -> LatentArrays:
        clips = len(latents.structure)
        return choose_symbols(latents, steps, network.codec.layout, clips=clips, tiles=1, effort=DEFAULT_EFFORT)

    videos = [read(path, network, frames) for path in sorted(folder.glob("*.mp4"))]
    from_sigma = sigma_steps(network, videos)
    # a byte a channel, once in ten seconds of 25 frames
    shifts = max(1, network.codec.layout.channels * frames // 250)
    # one technique a line, each on top of those before it
    techniques = [
        Technique("zstd, channel after channel; steps from sigma", from_sigma, CHANNEL_MAJOR),
        Technique("predicted and range coded (coder 3)", from_sigma, None),
        Technique("steps of the weights", base, None),
        Technique("symbols by rate and distortion (effort 1)", base, None, chosen),
        Technique("not in the format: centroids", base, None, chosen, at_centroids, shifts),
    ]
    bench = Bench(network, videos)
    print(f"weights {network.entry.name} {network.entry.sha256[:12]}, {len(videos)} videos, {frames} frames of each\n")
    print("| technique | BD-rate | of the first | PSNR | bits per pixel | bits per element |\n|---|" + "---:|" * 5)
    first: list[list[Point]] = []
    before: list[list[Point]] = []
    elements = Fraction(network.codec.layout.elements, network.frames * network.size[0] * network.size[1])
    for technique in techniques:
        curves = bench.curves(technique)
        first, before = first or curves, before or curves
        default = [curve[QUALITIES.index(DEFAULT_QUALITY)] for curve in curves]
        psnr = fmean(point.metrics["psnr"] or 0.0 for point in default)
        bits = fmean(point.bits_per_pixel for point in default)
        changes = [f"{rate_change(each, curves):+.1f} %" if each is not curves else "" for each in (before, first)]
        print(
            f"| {technique.name} | {changes[0]} | {changes[1]} | {psnr:.2f} dB | {bits:.4f} | {bits / elements:.2f} |"
        )
        before = curves
    print(f"\nat quality {DEFAULT_QUALITY:g}; posterior means, not quantised: {fmean(bench.unquantized()):.2f} dB")
    print("\nlast line by quality (bits per pixel, dB below the means):")
    for number, quality in enumerate(QUALITIES):
        points = [curve[number] for curve in before]
        loss = fmean(bench.unquantized()) - fmean(point.metrics["psnr"] or 0.0 for point in points)
        print(f"quality {quality:g}: {fmean(point.bits_per_pixel for point in points):.4f}, {loss:.3f} dB")


if __name__ == "__main__":
    main()
