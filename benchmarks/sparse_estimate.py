"""Real bits of the sparse coder beside a static estimate, and what choosing symbols by rate and distortion is worth.

    python benchmarks/sparse_estimate.py TRAIN EVAL [--weights mini] [--every 9] [--factors 0.74,1.5,2.5,4]

The estimate gives every symbol a table chosen by three things: the size expected of its pattern over the step, the
magnitudes at the same pattern at left and above, and at lower frequencies of the same patch; signs are one bit. Tables
and sizes come from the first clips of TRAIN. All of it is measured on the first two clips of each video of EVAL, 224
pixels square. *rounded* are the same symbols (a dead zone of two thirds of a step on each side) in the estimate and in
the coder, the second clip with the help of the first or without; *chosen* is what the product writes.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from vidtwin_codec import weights as known_weights
from vidtwin_codec.coding import LatentArrays, LatentLayout, SparseGroupDecoder, SparseGroupEncoder, Steps
from vidtwin_codec.coding.patterns import Patterns
from vidtwin_codec.evaluation.measure.paper import clips_of
from vidtwin_codec.media import probe
from vidtwin_codec.network.runner import NetworkRunner
from vidtwin_codec.options import NetworkOptions

SIDE = 224
ESCAPE = 15
ROUNDING = 0.33
Floats = NDArray[np.float32]


def read(folder: Path, network: NetworkRunner, every: int, clips: int) -> list[LatentArrays]:
    """Latents of the first clips of every so many videos."""
    geometry, found = network.geometry(SIDE, SIDE, 0), []
    for path in sorted(folder.glob("*.mp4"))[::every]:
        frames = [clip for clip, _ in islice(clips_of(probe(path), (SIDE, SIDE), geometry.clip_frames), clips)]
        found.append(network.encode(np.concatenate(frames), geometry))
    return found


def rounded(latents: Floats, step: float) -> NDArray[np.int32]:
    """Towards zero by a sixth of a step more than to the nearest."""
    return (np.sign(latents) * np.floor(np.abs(latents) / step + ROUNDING)).astype(np.int32)


class Estimate:
    """Tables for one step."""

    def __init__(self, patterns: Patterns, train: list[Floats], step: float) -> None:
        self.patterns, self.step = patterns, step
        self.sigma = np.sqrt(np.mean([(x**2).mean(axis=(0, 2, 3)) for x in train], axis=0)) + 1e-6
        counts = np.full((21 * 49, ESCAPE + 1), 0.02)
        for latents in train:
            symbols = rounded(latents[:1], step)
            where = self.contexts(symbols) * (ESCAPE + 1) + np.minimum(np.abs(symbols), ESCAPE)
            counts += np.bincount(where.ravel(), minlength=counts.size).reshape(counts.shape)
        self.price = -np.log2(counts / counts.sum(axis=1, keepdims=True))

    def contexts(self, symbols: NDArray[np.int32]) -> NDArray[np.int64]:
        colour, u, v = self.patterns.frequencies.T
        n, slots, h, w, _ = symbols.shape
        size = self.patterns.size
        plane = np.zeros((n, slots, h, w, 3, size, size), np.float32)
        plane[..., colour, u, v] = np.abs(symbols)
        near, low = np.zeros_like(plane), np.zeros_like(plane)
        near[:, :, :, 1:] += plane[:, :, :, :-1]
        near[:, :, 1:] += plane[:, :, :-1]
        for back, weight in ((1, 1.0), (2, 0.5)):
            low[..., back:] += weight * plane[..., :-back]
            low[..., back:, :] += weight * plane[..., :-back, :]
        low[..., 1:, 1:] += plane[..., :-1, :-1]
        low[:, 1:] += plane[:, :-1]
        near, low = (np.minimum(np.floor(np.log2(1 + 2 * x[..., colour, u, v])), 6) for x in (near, low))
        size_class = np.clip(np.round(2 * np.log2(self.sigma / self.step) + 8), 0, 20)[None, :, None, None, :]
        contexts: NDArray[np.int64] = ((size_class * 7 + near) * 7 + low).astype(np.int64)
        return contexts

    def bits(self, symbols: NDArray[np.int32]) -> float:
        large = np.abs(symbols)
        total = self.price[self.contexts(symbols), np.minimum(large, ESCAPE)].sum() + np.count_nonzero(symbols)
        escapes = large[large >= ESCAPE]
        return float(total + (2 * np.log2(escapes - ESCAPE + 1) + 1).sum())


def coded(layout: LatentLayout, steps: Steps, latents: list[LatentArrays], given: bool) -> tuple[float, float]:
    """Bits of these clips as one group, and the squared error of the structure."""
    encoder, error = SparseGroupEncoder(layout, 1, steps), 0.0
    step = float(steps.structure[0, 0])
    for clip in latents:
        if given:
            none = [np.zeros_like(array, np.int32) for array in clip[1:]]
            symbols = LatentArrays(rounded(clip.structure, step), *none)
            encoder.add_symbols(symbols)
        else:
            symbols = encoder.add(clip)
        error += float(((symbols.structure * np.float32(step) - clip.structure) ** 2).sum())
    body = encoder.finish()
    last = list(SparseGroupDecoder(body, layout, len(latents), 1))[-1]
    assert np.array_equal(last.structure, symbols.structure)
    return 8.0 * len(body), error


@click.command()
@click.argument("train", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--weights", default="mini", show_default=True)
@click.option("--every", default=9, show_default=True, help="Take every so many of the training videos.")
@click.option("--factors", default="0.74,1.5,2.5,4", show_default=True, help="On the weights' own steps.")
def main(train: Path, folder: Path, weights: str, every: int, factors: str) -> None:
    """Measure on the videos in FOLDER, with tables from those in TRAIN."""
    entry = known_weights.resolve(weights)
    network = NetworkRunner.load(entry, NetworkOptions(), "encoder")
    layout = network.layout
    assert layout.patterns is not None
    assert entry.metadata.steps is not None
    learned, videos = read(train, network, every, 1), read(folder, network, 1, 2)
    pixels = SIDE * SIDE * layout.dynamics_x[1] * len(videos)
    click.echo("| step | estimate | coder | of it | with the clip before | of it | chosen | error, chosen to rounded |")
    click.echo("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for factor in factors.split(","):
        steps = entry.metadata.steps.scaled(float(factor))
        step = float(steps.structure[0, 0])
        estimate = Estimate(layout.patterns, [each.structure for each in learned], step)
        static = alone = both = chosen = 0.0
        errors = np.zeros(2)
        for video in videos:
            clips = [LatentArrays(*(a[n : n + 1] for a in video)) for n in range(len(video.structure))]
            static += sum(estimate.bits(rounded(clip.structure, step)) for clip in clips)
            alone += sum(coded(layout, steps, [clip], True)[0] for clip in clips)
            bits, error = coded(layout, steps, clips, True)
            both, errors[0] = both + bits, errors[0] + error
            bits, error = coded(layout, steps, clips, False)
            chosen, errors[1] = chosen + bits, errors[1] + error
        rates = [bits / pixels / 2 for bits in (static, alone, both, chosen)]
        click.echo(
            f"| {step:.2f} | {rates[0]:.4f} | {rates[1]:.4f} | {rates[1] / rates[0]:.1%} | {rates[2]:.4f} "
            f"| {rates[2] / rates[0]:.1%} | {rates[3]:.4f} | {10 * np.log10(errors[1] / errors[0]):+.2f} dB |"
        )


if __name__ == "__main__":
    main()
