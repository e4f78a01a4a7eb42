"""What each ``--effort`` gains and costs.

    python benchmarks/effort.py FOLDER [--effort N …] [--quality Q …] [--clips N] [--videos N]

Frames as under vidtwin measure --protocol vidtwin (short side to 224, centre crop), so that every clip is one tile.
Of each video, consecutive clips are coded as one group, at every effort and every quality, decoded, and compared.
BD-PSNR is the mean vertical distance of the curves of PSNR over the logarithm of bytes to that of effort 0, over the
bytes that both have (Bjøntegaard's, Akima interpolation), averaged over videos; BD-rate the horizontal one. Time counts
the network, the refinement and the packing of one quality, without reading; efforts take turns within each video, so
that all see the same machine.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import bjontegaard
import click
import numpy as np
from numpy.typing import NDArray

from vidtwin_codec import metrics
from vidtwin_codec.coding import Group, LatentArrays, dequantize, pack_group
from vidtwin_codec.measurement.paper import Network, clips_of
from vidtwin_codec.media import probe
from vidtwin_codec.pipeline.options import NetworkOptions
from vidtwin_codec.refinement import LEVELS, MAX_EFFORT
from vidtwin_codec.refinement.refiner import Refiner
from vidtwin_codec.refinement.symbols import Alternative, choose_symbols, quality_steps

FIRST_CLIP = 1


class Point(NamedTuple):
    """One quality of one video."""

    bytes: int
    psnr: float


class Run(NamedTuple):
    """One effort on one video; ``seconds`` of all but packing, then of packing one quality."""

    points: list[Point]
    seconds: float


def read(path: Path, network: Network, clips: int) -> NDArray[np.uint8]:
    """uint8 ``[clips, T, H, W, 3]``, fewer of a short video; a title is often on the first clip, which is left out."""
    found = []
    for number, (clip, _) in enumerate(clips_of(probe(path), network.size, network.frames)):
        if number >= FIRST_CLIP:
            found.append(clip)
        if len(found) == clips:
            break
    return np.stack(found)


def run(network: Network, clips: NDArray[np.uint8], effort: int, qualities: tuple[float, ...]) -> Run:
    base, layout = network.entry.metadata.steps, network.codec.layout
    assert base is not None  # weights without steps are not resolved
    level, began = LEVELS[effort], time.perf_counter()
    latents, sensitivity, alternative = network.encode(clips), None, None
    if level.decodes:
        refiner = Refiner(network.codec, level)
        height, width = network.size
        frames, geometry = clips.reshape(-1, *clips.shape[2:]), network.codec.geometry(width, height, 0)
        refined = refiner.refine(frames, latents, geometry)
        if level.descents:
            alternative = Alternative(latents, refined.saved)
        latents, sensitivity = refined.latents, refiner.sensitivity
    seconds, packing = time.perf_counter() - began, []
    points = []
    for quality in qualities:
        began = time.perf_counter()
        steps = quality_steps(base, quality, level.passes)
        symbols = choose_symbols(
            latents,
            steps,
            layout,
            clips=len(clips),
            tiles=1,
            passes=level.passes,
            sensitivity=sensitivity,
            alternative=alternative,
        )
        packed = pack_group(Group(0, len(clips) * network.frames, 0, len(clips), 1, symbols), layout)
        packing.append(time.perf_counter() - began)
        decoded = network.decode(LatentArrays(*dequantize(symbols, steps)))
        output, source = (part.reshape(-1, *part.shape[2:]) for part in (decoded, clips))
        points.append(Point(len(packed), float(metrics.psnr(source, output).mean())))
    return Run(points, seconds + float(np.mean(packing)))


def distances(anchor: list[Point], test: list[Point]) -> tuple[float, float]:
    """BD-PSNR in dB and BD-rate in per cent."""
    curves = [[*column] for points in (anchor, test) for column in zip(*sorted(points), strict=True)]
    options = {"method": "akima", "require_matching_points": False, "min_overlap": 0.3}
    return float(bjontegaard.bd_psnr(*curves, **options)), float(bjontegaard.bd_rate(*curves, **options))


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--weights", default="mini", show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--effort", "efforts", type=click.IntRange(1, MAX_EFFORT), multiple=True, default=range(1, MAX_EFFORT + 1)
)
@click.option("--quality", "qualities", type=float, multiple=True, default=(10, 25, 40, 55, 70, 85))
@click.option("--clips", "count", type=click.IntRange(1), default=2, show_default=True, help="Of each video.")
@click.option("--videos", type=click.IntRange(1), help="Only so many of the folder, evenly spread.")
def main(
    folder: Path,
    weights: str,
    device: str,
    efforts: tuple[int, ...],
    qualities: tuple[float, ...],
    count: int,
    videos: int | None,
) -> None:
    network = Network(NetworkOptions(weights=weights, device=device, precision="float32"))
    paths = sorted(folder.glob("*.mp4"))
    if videos is not None:
        paths = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, videos).round().astype(int))]
    print(f"weights {network.entry.name} {network.entry.sha256[:12]}, {network.codec.device}, {len(paths)} videos")
    wanted = (0, *efforts)
    runs: dict[int, list[Run]] = {effort: [] for effort in wanted}
    for path in paths:
        clips = read(path, network, count)
        for effort in wanted:
            runs[effort].append(run(network, clips, effort, qualities))
        gains = [f"{e}: {distances(runs[0][-1].points, runs[e][-1].points)[0]:+.2f}" for e in efforts]
        print(f"{path.stem[:32]:32} gain in dB at effort  " + "  ".join(gains), flush=True)
    print(f"\n| effort | time | BD-PSNR | BD-rate | {' | '.join(f'quality {q:g}' for q in qualities)} |")
    print("|---|---:|---:|---:|" + "---:|" * len(qualities))
    for effort in wanted:
        ratio = sum(one.seconds for one in runs[effort]) / sum(one.seconds for one in runs[0])
        pairs = zip(runs[0], runs[effort], strict=True)
        gain, rate = np.mean([distances(a.points, b.points) for a, b in pairs], axis=0) if effort else (0.0, 0.0)
        means = np.mean([one.points for one in runs[effort]], axis=0)
        cells = " | ".join(f"{psnr:.2f} dB, {size:.0f} B" for size, psnr in means)
        print(f"| {effort} | {ratio:.1f} | {gain:+.2f} dB | {rate:+.1f} % | {cells} |")


if __name__ == "__main__":
    main()
