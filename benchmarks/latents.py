"""Reading latents for training: from .vtw files against decoding and encoding the videos in the loader.

    python benchmarks/latents.py FOLDER [--short-side 224] [--quality 75]

Every video of the folder is encoded once; that is how fast a loader can be that decodes the video and runs the network,
each frame once, in order, in full batches and with reading ahead (the best case: random windows would decode frames in
vain). Then one epoch of `VtwDataset` in random order: with nothing unpacked, from memory, to and from a folder of
unpacked groups. All in one process on the same CPU threads.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import click
import torch
from torch.utils.data import DataLoader

from vidtwin_codec import EncodeOptions, VtwDataset, encode, weights
from vidtwin_codec.media import MediaInfo, probe
from vidtwin_codec.pipeline.codec import Codec, Codecs
from vidtwin_codec.pipeline.encoder import Encoder


def network_seconds(info: MediaInfo, codec: Codec, entry: weights.Entry, options: EncodeOptions) -> tuple[float, int]:
    """Seconds from the video to latents, and how many clips of one tile that gives."""
    encoder = Encoder(info, codec, entry, options)
    began = time.perf_counter()
    clips = sum(group.span.clips * group.tiles for group in encoder.groups())
    return time.perf_counter() - began, clips


def epoch(dataset: VtwDataset) -> float:
    """Milliseconds a sample."""
    torch.manual_seed(0)
    began = time.perf_counter()
    seen = sum(len(batch["clip"]) for batch in DataLoader(dataset, batch_size=8, shuffle=True))
    assert seen == len(dataset)
    return (time.perf_counter() - began) / seen * 1000


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--short-side", type=int, default=224, show_default=True)
@click.option("--quality", type=float, default=75.0, show_default=True)
@click.option("--videos", type=int, help="Only so many.")
def main(folder: Path, short_side: int, quality: float, videos: int | None) -> None:
    options = EncodeOptions(short_side=short_side, quality=quality, audio="none", device="cpu")
    entry, codecs = weights.resolve(None), Codecs()
    codec = codecs.load(entry, options, "encoder")
    work = Path(tempfile.mkdtemp(prefix="vidtwin-"))
    try:
        seconds, clips, size = 0.0, 0, 0
        for source in sorted(path for path in folder.iterdir() if path.is_file())[:videos]:
            info = probe(source)
            spent, made = network_seconds(info, codec, entry, options)
            seconds, clips = seconds + spent, clips + made
            size += encode(source, work / f"{source.stem}.vtw", options, load=codecs.load).vtw_bytes
        network = seconds / clips * 1000
        print(f"{clips} clips of one tile, {size / 1e6:.1f} MB of .vtw, {torch.get_num_threads()} threads")
        print(f"{'':44} ms a clip   times faster")
        print(f"{'decode the video and run the network':44} {network:9.2f}")
        in_memory = VtwDataset(work)
        on_disk = [VtwDataset(work, cache_folder=work / "unpacked") for _ in range(2)]
        for label, dataset in (
            ("VtwDataset, first epoch, nothing unpacked", in_memory),
            ("VtwDataset, later epochs, unpacked in memory", in_memory),
            ("VtwDataset, first epoch, unpacked to a folder", on_disk[0]),
            ("VtwDataset, later runs, unpacked in a folder", on_disk[1]),
        ):
            found = epoch(dataset)
            print(f"{label:44} {found:9.2f} {network / found:13.0f}")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
