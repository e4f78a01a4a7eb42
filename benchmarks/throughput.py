"""Where the time of encoding and decoding goes, stage by stage, and how many frames a second each stage could do.

    python benchmarks/throughput.py VIDEO [--size 398x224 --size 1280x720] [--weights NAME|FILE] [--device cuda]

The first frames of VIDEO, scaled to each size. Every stage is run by itself, one after the other, on what the stage
before it left in memory; in `vidtwin encode` and `decode` they overlap, so that the slowest sets the pace. Times are
those of the clock. Run it on a machine that does nothing else; on a card, `--precision` and `--batch` are worth trying.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import click
import torch

from vidtwin_codec import weights as known_weights
from vidtwin_codec.coding import dequantize
from vidtwin_codec.container import VtwReader
from vidtwin_codec.decoding.decoder import Decoder
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder, Piece
from vidtwin_codec.encoding.grouping import group_packer
from vidtwin_codec.encoding.writing import write_vtw
from vidtwin_codec.media import FrameReader, FrameWriter, OutputOptions, probe
from vidtwin_codec.media.excerpt import write_lossless
from vidtwin_codec.network.runner import NetworkCache
from vidtwin_codec.options import DecodeOptions, EncodeOptions

T = TypeVar("T")


class Stage(NamedTuple):
    """A stage's name and its seconds."""

    name: str
    seconds: float


class Bench:
    """One video at one size."""

    def __init__(self, source: Path, folder: Path, options: EncodeOptions, load: NetworkCache) -> None:
        assert options.weights is not None
        self.source, self.folder, self.load = source, folder, load
        self.options = options
        self.info = probe(source)
        entry = known_weights.resolve(options.weights)
        self.encoder = Encoder(EncodeJob(self.info, load.load(entry, options, "encoder"), entry, options))
        self.stages: list[Stage] = []

    def timed(self, name: str, work: Callable[[], T]) -> T:
        """Do something once and note how long it takes."""
        began = time.perf_counter()
        done = work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.stages.append(Stage(name, time.perf_counter() - began))
        return done

    def encode(self) -> Path:
        """Time the stages of encoding; the file that they make."""
        # what is timed first pays for everything that is made once
        pieces = list(self.encoder.pieces())
        self.timed("encode: reading to RGB", lambda: self._count(self._frames()))
        self.timed("encode: reading, camera, network", lambda: list(self.encoder.pieces()))
        packer = group_packer(self.encoder, self.options.quality, self.options.level)
        self.timed("encode: choosing and packing", lambda: self._pack(packer.add, pieces) + len(list(packer.flush())))
        packed = self.folder / "a.vtw"
        with packed.open("wb") as stream:
            write_vtw(stream, self.encoder, pieces, quality=self.options.quality)
        return packed

    def decode(self, packed: Path) -> None:
        """Time the stages of decoding."""
        options = DecodeOptions(weights=self.options.weights, device=self.options.device, batch=self.options.batch)
        with VtwReader(packed) as reader:
            groups = range(len(reader.groups))
            clips = self.timed("decode: unpacking", lambda: [clip for n in groups for clip in reader.placed(n)])
            steps = reader.header.steps
        latents = self.timed("decode: dequantising", lambda: [dequantize(clip.symbols, steps) for clip in clips])
        with Decoder(packed, options, load=self.load.load) as decoder:

            def network() -> list[object]:
                return [
                    list(decoder.network.decode_placed(one, decoder.geometry, [clip.placement]))
                    for one, clip in zip(latents, clips, strict=True)
                ]

            network()
            self.timed("decode: network", network)
            frames = list(decoder.frames())

        def write() -> None:
            with FrameWriter(
                self.folder / "a.mp4", self.info.width, self.info.height, self.info.fps, options=OutputOptions()
            ) as writer:
                for some in frames:
                    writer.write(some)

        self.timed("decode: writing H.264", write)

    def _frames(self) -> Iterator[int]:
        with FrameReader(self.info) as reader:
            while len(frames := reader.read(self.encoder.geometry.clip_frames)):
                yield len(frames)

    @staticmethod
    def _count(numbers: Iterator[int]) -> int:
        return sum(numbers)

    @staticmethod
    def _pack(add: Callable[[Piece], Iterator[object]], pieces: list[Piece]) -> int:
        return sum(len(list(add(piece))) for piece in pieces)


@click.command()
@click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--size", "sizes", multiple=True, default=("398x224", "1280x720"), show_default=True)
@click.option("--frames", default=96, show_default=True, help="Frames to time.")
@click.option("--weights", default="mini", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--batch", type=int, help="Tiles in one call of the network.")
def main(
    video: Path, sizes: tuple[str, ...], frames: int, weights: str, device: str, precision: str, batch: int | None
) -> None:
    options = EncodeOptions(weights=weights, device=device, precision=precision, batch=batch, audio="none")
    load = NetworkCache()
    for size in sizes:
        width, height = map(int, size.split("x"))
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            with FrameReader(probe(video), width=width, height=height, max_frames=frames) as reader:
                shown = []
                while len(piece := reader.read(16)):
                    shown.append(piece)
            write_lossless(shown, folder / "in.mkv", width=width, height=height, fps=probe(video).fps)
            bench = Bench(folder / "in.mkv", folder, options, load)
            bench.decode(bench.encode())
            count = sum(map(len, shown))
        print(f"\n{size}, {count} frames, {bench.encoder.network.device}, {torch.get_num_threads()} threads\n")
        print("| stage | ms a frame | frames/s |\n|---|---:|---:|")
        for stage in bench.stages:
            print(f"| {stage.name} | {1000 * stage.seconds / count:.2f} | {count / stage.seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
