"""What a folder of videos costs per hour of video, and what a million hours would: the tables of docs/MILLION_HOURS.md.

    python benchmarks/scale.py FOLDER [--seconds 4] [--hours 1e6]

Encodes the beginning of each video with the default options, at a short side of 224 pixels and at its own size, as one
batch on this machine's CPUs. Processor seconds count this process and its ffmpegs; they bear a busy machine better than
the clock. Bytes are those of the report, sound included.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from vidtwin_codec.batch.options import BatchOptions
from vidtwin_codec.batch.rows import DONE
from vidtwin_codec.batch.run import Batch
from vidtwin_codec.files import VIDEO_SUFFIXES
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.media.excerpt import pieces
from vidtwin_codec.media.ffmpeg import Child
from vidtwin_codec.media.source import file_url
from vidtwin_codec.options import EncodeOptions


def processor_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def beginnings(sources: Sequence[Path], folder: Path, seconds: float) -> None:
    """The first seconds of each, streams as they are."""
    for source in sources:
        target = folder / f"{source.stem}.mkv"
        with Child(["-i", file_url(source), "-t", str(seconds), "-c", "copy", file_url(target)]) as child:
            if child.wait():
                raise SystemExit(f"{source}: {child.reason()}")


def encode_all(folder: Path, packed: Path, short_side: int | None) -> tuple[dict[str, Any], float, float]:
    """The summary, processor seconds, and tiles a frame on average."""
    with Batch(packed, BatchOptions(file_options=EncodeOptions(device="cpu", short_side=short_side))) as batch:
        plan = batch.plan([str(folder)])
        spent = processor_seconds()
        list(batch.run(plan))
        spent = processor_seconds() - spent
        if batch.summary[DONE] != len(batch.rows):
            raise SystemExit(f"not everything was encoded: {batch.rows}")
        tiles = sum(job.cost for job in plan.jobs) * 16 / batch.summary["frames"]
        return batch.summary, spent, tiles


def read_all(folder: Path) -> float:
    """Processor seconds of decoding every frame and dropping it."""
    spent = processor_seconds()
    for path in sorted(folder.iterdir()):
        with FrameReader(probe(path)) as reader:
            for _ in pieces(reader):
                pass
    return processor_seconds() - spent


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seconds", default=4.0, show_default=True)
@click.option("--hours", default=1e6, show_default=True)
def main(folder: Path, seconds: float, hours: float) -> None:
    sources = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    with tempfile.TemporaryDirectory(prefix="vidtwin-") as temporary:
        inputs = Path(temporary, "in")
        inputs.mkdir()
        beginnings(sources, inputs, seconds)
        print(f"{len(sources)} videos, the first {seconds:g} s of each; {os.cpu_count()} CPUs")
        for short_side in (224, None):
            found, spent, tiles = encode_all(inputs, Path(temporary, f"out{short_side}"), short_side)
            length = found["duration"]
            print(f"\nshort side {short_side or 'as it is'}, {tiles:.1f} tiles a frame on average")
            print(f"  {found['frames']} frames, {length:.1f} s of video in {spent:.1f} processor seconds")
            print(f"  {found['frames'] / spent:.1f} frames a processor second")
            print(f"  {tiles * found['frames'] / 16 / spent:.2f} clips of one tile a processor second")
            print(f"  {spent / length:.2f} core-hours an hour: {spent / length * hours:.3g} for {hours:g} hours")
            for name, size in (("source", found["source_bytes"]), ("latents", found["video_bytes"])):
                print(
                    f"  {name:8} {size / length * 3600 / 1e6:9.1f} MB an hour: {size / length * 3600 * hours:.3g} bytes"
                )
            sound = (found["vtw_bytes"] - found["video_bytes"]) / length * 3600
            print(f"  {'sound':8} {sound / 1e6:9.1f} MB an hour: {sound * hours:.3g} bytes")
        spent = read_all(inputs)
        print(f"\ndecoding the sources alone: {found['frames'] / spent:.0f} frames a processor second")


if __name__ == "__main__":
    main()
