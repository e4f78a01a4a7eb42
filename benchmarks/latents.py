"""Reading latents for training: from .vtw files against decoding and encoding the videos in the loader.

    python benchmarks/latents.py FOLDER [--short-side 224] [--quality 75] [--videos N]

Every video of the folder is encoded once with `compact`, whose latents are of one shape whatever the frames; that is
how fast a loader can be that decodes the video and runs the network, each frame once, in order, in full batches and
with reading ahead (the best case: random windows would decode frames in vain). Then one epoch of `VtwDataset` in
random order: with nothing unpacked, from memory, to and from a folder of unpacked groups. All with one thread, as
torch gives a DataLoader's workers, and in processor time (ffmpeg's included), which other programs on the machine
disturb less; the time on the clock stands beside it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import torch
from torch.utils.data import DataLoader

from vidtwin_codec import EncodeOptions, VtwDataset, encode, weights
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder
from vidtwin_codec.media import probe
from vidtwin_codec.network.runner import NetworkCache, NetworkRunner


class Spent(NamedTuple):
    """Milliseconds of processor time and on the clock."""

    cpu: float
    wall: float


def spent(work: Callable[[], int]) -> tuple[Spent, int]:
    """Times of ``work``, for one of as many things as it says it did, and how many these were."""
    cpu, wall = sum(os.times()[:4]), time.perf_counter()
    count = work()
    cpu, wall = sum(os.times()[:4]) - cpu, time.perf_counter() - wall
    return Spent(1000 * cpu / count, 1000 * wall / count), count


def run_network(sources: list[Path], network: NetworkRunner, entry: weights.Entry, options: EncodeOptions) -> int:
    """From the videos to latents; returns how many clips of one tile that gives."""
    clips = 0
    for source in sources:
        for group in Encoder(EncodeJob(probe(source), network, entry, options)).pieces():
            clips += group.span.clips * group.tiles
    return clips


def run_epoch(dataset: VtwDataset) -> int:
    """One epoch in random order; returns the samples seen."""
    torch.manual_seed(0)
    return sum(len(batch["clip"]) for batch in DataLoader(dataset, batch_size=8, shuffle=True))


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--short-side", type=int, default=224, show_default=True)
@click.option("--quality", type=float, default=75.0, show_default=True)
@click.option("--videos", type=int, help="Only so many.")
def main(folder: Path, short_side: int, quality: float, videos: int | None) -> None:
    torch.set_num_threads(1)
    options = EncodeOptions(weights="compact", short_side=short_side, quality=quality, audio="none", device="cpu")
    entry, networks = weights.resolve(options.weights), NetworkCache()
    network = networks.load(entry, options, "encoder")
    sources = sorted(path for path in folder.iterdir() if path.is_file())[:videos]
    work = Path(tempfile.mkdtemp(prefix="vidtwin-"))
    try:
        network, clips = spent(lambda: run_network(sources, network, entry, options))
        files = [encode(source, work / f"{source.stem}.vtw", options, load=networks.load) for source in sources]
        size = sum(file.vtw_bytes for file in files)
        print(f"{len(files)} videos, {clips} clips of one tile, {size / 1000:.0f} kB of .vtw; milliseconds a clip\n")
        print(f"{'':48} processor     clock  times faster")
        print(f"{'decode the video and run the network':48} {network.cpu:9.2f} {network.wall:9.2f}")
        in_memory = VtwDataset(work)
        on_disk = [VtwDataset(work, cache_folder=work / "unpacked") for _ in range(2)]
        for label, dataset in (
            ("VtwDataset, first epoch, nothing unpacked", in_memory),
            ("VtwDataset, later epochs, unpacked in memory", in_memory),
            ("VtwDataset, first epoch, unpacked to a folder", on_disk[0]),
            ("VtwDataset, later runs, unpacked in a folder", on_disk[1]),
        ):
            found, _ = spent(lambda dataset=dataset: run_epoch(dataset))  # type: ignore[misc]
            print(f"{label:48} {found.cpu:9.2f} {found.wall:9.2f} {network.cpu / found.cpu:13.0f}")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
