"""Train what the sparse coder starts from: expected sizes, probabilities, counts and weights of its models.

    python -m tools.train_prior FOLDER [--weights NAME|FILE] [--every 6] [--sides 224,448]

Runs the network over square crops of every so many of the folder's videos, then the coder over the latents at several
steps, and writes vidtwin_codec/coding/sparse/prior.npz. In the first rounds probabilities go on from group to group, so
that they become those of all videos; in the last every group starts as a decoder would, and only the weights go on.

The file is part of the format: files written with another one cannot be read. docs/FORMAT.md names its SHA-256.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from vidtwin_codec import weights as known_weights
from vidtwin_codec.coding import LatentArrays, LatentLayout, SparseGroupEncoder, Steps
from vidtwin_codec.coding.sparse import bands, contexts, prior
from vidtwin_codec.coding.sparse.prior import Prior
from vidtwin_codec.evaluation.measure.paper import clips_of
from vidtwin_codec.media import probe
from vidtwin_codec.network.runner import NetworkRunner
from vidtwin_codec.options import NetworkOptions

PACES = (16, 12, 8)  # of the weights, round by round
SLOWEST = 500  # decisions that a probability remembers while it is trained
FIRST_STEPS = (1.0, 0.8)  # of slot 0, on those of the others
MOVED = ((1 << 16, 8), (3 << 20, 2))  # chance and count of a canvas after a clip at rest, and after one that moved
SUFFIXES = {".mp4", ".mkv", ".mov", ".webm"}


def read_latents(
    folder: Path, network: NetworkRunner, sides: list[int], every: int, clips: int
) -> list[tuple[LatentLayout, LatentArrays]]:
    """Layout and float16 latents, N = clips, of each video; the sides of the crops take turns."""
    found = []
    files = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES][::every]
    for path, side in zip(files, itertools.cycle(sides), strict=False):
        geometry = network.geometry(side, side, 0)
        frames = [
            clip for clip, _ in itertools.islice(clips_of(probe(path), (side, side), geometry.clip_frames), clips)
        ]
        latents = network.encode(np.concatenate(frames), geometry)
        found.append((network.layout_of(geometry), LatentArrays(*(array.astype(np.float16) for array in latents))))
        click.echo(f"{path.name}: {len(frames)} clips of {side} pixels")
    return found


def band_sizes(data: list[tuple[LatentLayout, LatentArrays]]) -> NDArray[np.uint8]:
    """``[16, 3 * BANDS]`` root mean squares of each slot's bands, in eighths of an octave.

    Where there are no patterns, half of what is further in.
    """
    layout = data[0][0]
    assert layout.patterns is not None
    tables = bands.bands_of(layout.patterns)
    squares = [(latents.structure.astype(np.float32) ** 2).mean(axis=(0, 2, 3)) for _, latents in data]
    energy = np.mean(squares, axis=0)[:, tables.permutation]
    sizes = np.zeros((contexts.KNOWN_SLOTS, 3 * bands.BANDS))
    for start, end, *_, number, _, _ in tables.bands:
        sizes[:, number] = energy[:, start:end].mean(axis=1)
    for colour, ring, sector in itertools.product(range(3), range(1, bands.RINGS), range(bands.SECTORS)):
        number = (colour * bands.RINGS + ring) * bands.SECTORS + sector
        inner = number - bands.SECTORS if ring > bands.UNDIVIDED else (number - bands.SECTORS - sector)
        sizes[:, number] = np.where(sizes[:, number] > 0, sizes[:, number], sizes[:, inner] / 2)
    levels = np.sqrt(np.maximum(sizes, 1e-6)).astype("<f2").view("<u2") >> 7
    return levels.astype(np.uint8)


def run_group(
    layout: LatentLayout, latents: LatentArrays, base: Steps, start: Prior, pace: int, slowest: int | None
) -> tuple[Prior, float]:
    """Code a video as one group; returns what the models are then, and the bits."""
    encoder = SparseGroupEncoder(layout, 1, base, start=start)
    encoder.set_learning(pace, slowest)
    for clip in range(len(latents.structure)):
        encoder.add(LatentArrays(*(array[clip : clip + 1].astype(np.float32) for array in latents)))
    return encoder.models(), sum(encoder.clip_bits)


def with_finer_means(steps: Steps, factor: float) -> Steps:
    """The same steps but for slot 0's, which are multiplied by a factor."""
    structure = steps.structure.copy()
    structure[0] *= factor
    return replace(steps, structure=structure)


def expecting_rest(trained: Prior) -> Prior:
    """The same with canvases, of which no training video has any, as likely as they should be."""
    states = trained.states.copy()
    states[contexts.MOTION_0 : contexts.MOTION_0 + len(MOVED)] = [(chance << 9) | count for chance, count in MOVED]
    return replace(trained, states=states)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--weights", default="mini", show_default=True)
@click.option("--every", default=6, show_default=True, help="Take every so many of the videos.")
@click.option("--clips", default=3, show_default=True, help="Clips of each video.")
@click.option("--sides", default="224,448", show_default=True, help="Sides of the crops, in pixels.")
@click.option("--factors", default="0.35,0.7,1.2,1.9,3,4.6", show_default=True, help="On the weights' own steps.")
@click.option("--out", default=prior.FILE, type=click.Path(path_type=Path))
def main(folder: Path, weights: str, every: int, clips: int, sides: str, factors: str, out: Path) -> None:
    """Train on the videos in FOLDER."""
    entry = known_weights.resolve(weights)
    network = NetworkRunner.load(entry, NetworkOptions(), "encoder")
    data = read_latents(folder, network, [int(side) for side in sides.split(",")], every, clips)
    assert entry.metadata.steps is not None
    rng = np.random.default_rng(1)
    jobs = [(video, float(factor)) for video in range(len(data)) for factor in factors.split(",")]
    trained = prior.untrained(band_sizes(data))
    for number, pace in enumerate(PACES):
        rng.shuffle(jobs)
        total, resets = 0.0, number > 0
        start = trained.limited()
        for video, factor in jobs:
            steps = entry.metadata.steps.scaled(float(factor) * 2.0 ** rng.uniform(-0.3, 0.3))
            steps = with_finer_means(steps, FIRST_STEPS[int(rng.integers(len(FIRST_STEPS)))])
            begin = replace(start, weights=trained.weights) if resets else trained
            end, bits = run_group(*data[int(video)], steps, begin, pace, None if resets else SLOWEST)
            trained = replace(trained, weights=end.weights) if resets else end
            total += bits
        click.echo(f"round {number + 1}: {total / 8e3:.1f} kB")
    expecting_rest(trained.limited()).save(out)
    click.echo(f"{out}: {out.stat().st_size} bytes, SHA-256 {hashlib.sha256(out.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
