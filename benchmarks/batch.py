"""A folder of short clips through `vidtwin batch`, against the network's own time for the same clips.

    python benchmarks/batch.py FOLDER [--clips 200] [--seconds 2] [--size 224] [--jobs N] [--effort 0]

Cuts the clips out of the videos of FOLDER, at different places, scaled and cropped to a square. The network's own time
is that of its calls alone, with all frames in memory, on every clip; half of them are timed before the batch and half
after it, so that a machine whose load drifts counts against both alike. The batch is timed from the first look at the
folder to the report. Checks that a few outputs are those of `vidtwin encode`, byte for byte.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import click

import vidtwin_codec
from vidtwin_codec import weights
from vidtwin_codec.batch.options import BatchOptions
from vidtwin_codec.batch.rows import DONE
from vidtwin_codec.batch.run import Batch
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder
from vidtwin_codec.files import VIDEO_SUFFIXES
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.media.ffmpeg import Child
from vidtwin_codec.media.source import file_url
from vidtwin_codec.network.runner import NetworkRunner
from vidtwin_codec.options import EncodeOptions

COMPARED = 4


class Cost:
    """Seconds by the clock, and of processor time, that a call takes; ffmpeg included."""

    def __init__(self, work: Callable[[], object]) -> None:
        began, spent = time.monotonic(), _processor_seconds()
        work()
        self.wall, self.processor = time.monotonic() - began, _processor_seconds() - spent


def _processor_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def cut(sources: Sequence[Path], folder: Path, clips: int, seconds: float, size: int) -> list[Path]:
    """Clips with sound, H.264, from evenly spread places of the sources in turn."""
    lengths = [float(probe(source).duration or 0) for source in sources]
    made = []
    turns = -(-clips // len(sources))
    for number in range(clips):
        which, turn = number % len(sources), number // len(sources)
        start = max(0.0, lengths[which] - seconds) * turn / max(1, turns - 1)
        target = folder / f"clip_{number:04d}.mp4"
        crop = f"scale={size}:{size}:force_original_aspect_ratio=increase,crop={size}:{size}"
        arguments = ["-ss", f"{start:.3f}", "-i", file_url(sources[which]), "-t", str(seconds), "-vf", crop]
        coded = ["-c:v", "libx264", "-crf", "20", "-preset", "veryfast", "-c:a", "aac", file_url(target)]
        with Child([*arguments, *coded]) as child:
            if child.wait():
                raise SystemExit(f"{sources[which]}: {child.reason()}")
        made.append(target)
    return made


def network_alone(paths: Sequence[Path], network: NetworkRunner, entry: weights.Entry, options: EncodeOptions) -> Cost:
    """The calls of the network that encoding each of these makes."""
    work = []
    for path in paths:
        encoder = Encoder(EncodeJob(probe(path), network, entry, options))
        piece = network.clips_at_once(encoder.geometry) * encoder.geometry.clip_frames
        with FrameReader(encoder.info) as reader:
            while len(frames := reader.read(piece)):
                work.append((frames, encoder.geometry))
    return Cost(lambda: [network.encode(*each) for each in work])


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--clips", default=200, show_default=True)
@click.option("--seconds", default=2.0, show_default=True)
@click.option("--size", default=224, show_default=True)
@click.option("--jobs", type=int)
@click.option("--device", default="cpu", show_default=True)
@click.option("--effort", default=EncodeOptions().effort, show_default=True)
def main(folder: Path, clips: int, seconds: float, size: int, jobs: int | None, device: str, effort: int) -> None:
    sources = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    options = EncodeOptions(device=device, effort=effort)
    entry = weights.resolve(None)
    network = NetworkRunner.load(entry, options, "encoder")
    with tempfile.TemporaryDirectory(prefix="vidtwin-") as temporary:
        inputs, outputs = Path(temporary, "in"), Path(temporary, "out")
        inputs.mkdir()
        paths = cut(sources, inputs, clips, seconds, size)
        network.encode(FrameReader(probe(paths[0])).read(16), network.geometry(size, size, 0))  # warm up
        before = network_alone(paths[::2], network, entry, options)
        batch = Batch(outputs, BatchOptions(file_options=options, jobs=jobs))
        with batch:
            took = Cost(lambda: list(batch.run(batch.plan([str(inputs)]))))
        after = network_alone(paths[1::2], network, entry, options)
        summary = batch.summary
        if summary[DONE] != clips:
            raise SystemExit(f"only {summary[DONE]} of {clips} clips were encoded: {batch.rows}")
        for path in paths[:: max(1, clips // COMPARED)]:
            alone = Path(temporary, "alone.vtw")
            vidtwin_codec.encode(path, alone, replace(options, force=True))
            if alone.read_bytes() != (outputs / f"{path.stem}.vtw").read_bytes():
                raise SystemExit(f"{path.name}: the batch made other bytes than encode")
    wall, processor = before.wall + after.wall, before.processor + after.processor
    print(f"{clips} clips of {seconds:g} s, {size} x {size}, {Fraction(summary['frames'], clips)} frames on average")
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, weights {entry.name}, {network.device}, "
        f"effort {effort}"
    )
    print(f"network alone  {wall:8.1f} s by the clock  {processor:8.1f} s of processor time")
    print(f"vidtwin batch  {took.wall:8.1f} s by the clock  {took.processor:8.1f} s of processor time")
    print(f"ratio          {took.wall / wall:8.2f}                 {took.processor / processor:8.2f}")


if __name__ == "__main__":
    main()
