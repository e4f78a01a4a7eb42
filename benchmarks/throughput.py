"""Where the time of encoding and decoding goes, stage by stage, in processor seconds for a second of video.

    python benchmarks/throughput.py VIDEO [--short-side 224 --short-side 0] [--weights NAME|FILE] [--device cuda]

VIDEO is read as it is, and encoded with each short side (0: the video's own) at the default quality. Every stage is
run by itself, one after the other, on what the stage before it left in memory; in `vidtwin encode` and `decode` they
overlap, so that the slowest thread sets the pace. Processor time counts every thread and, where a stage has one,
its ffmpeg; it bears a busy machine better than the clock, beside which it stands. Of the network, the share of the
matmul rate is that of its first or last layer's multiplications over what one large product reaches in the same run,
by the processor or, on a card, by the clock. On a card `--precision` and `--batch` are worth trying.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar

import click
import torch
from network import products

try:
    from vidtwin_codec import weights as known_weights
    from vidtwin_codec.coding import dequantize
    from vidtwin_codec.container import VtwReader
    from vidtwin_codec.decoding.decoder import Decoder
    from vidtwin_codec.encoding.encoder import EncodeJob, Encoder, Piece
    from vidtwin_codec.encoding.writing import group_packer, write_vtw
    from vidtwin_codec.errors import VidtwinError
    from vidtwin_codec.media import FrameReader, FrameWriter, OutputOptions, probe
    from vidtwin_codec.media.ffmpeg import Child, thread_count
    from vidtwin_codec.model import VidTwin
    from vidtwin_codec.network.device import Device
    from vidtwin_codec.network.following import Follower, placed_geometry
    from vidtwin_codec.network.geometry import Frames, resize_frames
    from vidtwin_codec.network.runner import NetworkCache
    from vidtwin_codec.options import DecodeOptions, EncodeOptions
except ModuleNotFoundError as error:
    raise SystemExit(f"{error.name} is not installed; benchmarks/network.py times the network without it") from error

T = TypeVar("T")
_SIDE = 2048
_PRODUCTS = 8


class Seconds(NamedTuple):
    """What something takes: processor seconds of this process, those of ffmpeg, and seconds of the clock."""

    own: float
    child: float
    clock: float

    @classmethod
    def now(cls) -> Seconds:
        """The counters as they stand; a child counts once it has ended."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return cls(time.process_time(), usage.ru_utime + usage.ru_stime, time.perf_counter())

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))


class Row(NamedTuple):
    """A line of the table; the share of the matmul rate is of a network alone."""

    stage: str
    processor: float
    clock: float | None = None
    matmul: float | None = None


def timed(work: Callable[[], T]) -> tuple[T, Seconds]:
    """Do something once; what it returns and what it takes."""
    began = Seconds.now()
    done = work()
    return done, Seconds.now() - began


class Bench:
    """One video at one short side."""

    def __init__(self, source: Path, folder: Path, options: EncodeOptions, load: NetworkCache, frames: int) -> None:
        assert options.weights is not None
        self.source, self.folder, self.load, self.options = source, folder, load, options
        self.info = probe(source, duration=frames / probe(source).fps)
        entry = known_weights.resolve(options.weights)
        self.encoder = Encoder(EncodeJob(self.info, load.load(entry, options, "encoder"), entry, options))
        self.rate, self.processor_rate = self._product_rates(self.encoder.network.device)
        self.frames = 0

    @property
    def device(self) -> Device:
        """Where the network runs."""
        return self.encoder.network.device

    def encode(self) -> tuple[Path, list[Row]]:
        """Time the stages of encoding; the file that they make."""
        encoder, geometry = self.encoder, self.encoder.geometry
        pieces = list(encoder.pieces())  # pays for what is made once, as does the packing of a clip
        self._pack(pieces[:1])
        _, decoding = timed(self._decode_source)
        clips, reading = timed(lambda: list(self._clips()))
        self.frames = sum(map(len, clips))
        rows = [
            Row("ffmpeg: decoding the source", decoding.child, decoding.clock),
            Row("ffmpeg: scaling, RGB, pipe", reading.child - decoding.child),
            Row("reading the pipe", reading.own, reading.clock),
        ]
        follower = Follower(geometry, encoder.layout, encoder.most_clips_per_group)
        stretches, camera = timed(
            lambda: [one for number, clip in enumerate(clips) for one in follower.follow(clip, number)]
        )
        rows.append(Row("camera and canvases", camera.own, camera.clock))

        def network() -> None:
            for one in stretches:
                encoder.network.encode(one.frames, placed_geometry(geometry, encoder.layout, one.placements[0]))

        _, spent = timed(network)
        rows.append(self._network("cutting and network", spent, [one.frames.shape[1:3] for one in stretches]))
        _, packing = timed(lambda: self._pack(pieces))
        rows.append(Row("choosing and packing", packing.own, packing.clock))
        packed = self.folder / "a.vtw"
        with packed.open("wb") as stream:
            write_vtw(stream, encoder, pieces, quality=self.options.quality)
        return packed, rows

    def _pack(self, pieces: list[Piece]) -> None:
        with closing(group_packer(self.encoder, self.options.quality, self.options.level)) as packer:
            for _ in chain(*map(packer.add, pieces), packer.flush()):
                pass

    def decode(self, packed: Path) -> list[Row]:
        """Time the stages of decoding."""
        options = DecodeOptions(
            weights=self.options.weights,
            device=self.options.device,
            precision=self.options.precision,
            batch=self.options.batch,
        )
        with VtwReader(packed) as reader:
            groups = range(len(reader.groups))
            clips, unpacking = timed(lambda: [clip for n in groups for clip in reader.placed(n)])
            steps = reader.header.steps
        latents, dequantising = timed(lambda: [dequantize(clip.symbols, steps) for clip in clips])
        with Decoder(packed, options, load=self.load.load) as decoder:

            def network() -> list[Frames]:
                pairs = zip(latents, clips, strict=True)
                parts = (
                    decoder.network.decode_placed(one, decoder.geometry, [clip.placement], decoder.showing)
                    for one, clip in pairs
                )
                return list(chain(*parts))

            network()
            shown, spent = timed(network)
            cell = decoder.network.model.config.patch_size
            shapes = [(one.structure.shape[2] * cell, one.structure.shape[3] * cell) for one in latents]
            rows = [
                Row("unpacking", unpacking.own, unpacking.clock),
                Row("dequantising", dequantising.own, dequantising.clock),
                self._network("network and joining", spent, shapes, decoder.network.model),
            ]
            sized, scaling = timed(
                lambda: [resize_frames(torch.from_numpy(one), decoder.width, decoder.height).numpy() for one in shown]
            )
            rows.append(Row("scaling to the display size", scaling.own, scaling.clock))

        def write(name: str) -> None:
            path, size = self.folder / name, (self.info.width, self.info.height)
            with FrameWriter(path, *size, self.info.fps, options=OutputOptions()) as writer:
                for some in sized:
                    writer.write(some)

        _, converting = timed(lambda: write("a.y4m"))
        _, writing = timed(lambda: write("a.mp4"))
        rows.append(Row("writing the pipe", writing.own))
        rows.append(Row("ffmpeg: pipe, YUV", converting.child))
        rows.append(Row("ffmpeg: H.264", writing.child - converting.child, writing.clock))
        return rows

    def _network(
        self, stage: str, spent: Seconds, shapes: list[tuple[int, int]], decoder: VidTwin | None = None
    ) -> Row:
        model = decoder or self.encoder.network.model
        if not model.config.any_grid:
            return Row(stage, spent.own, spent.clock)
        patch = model.config.patch_size
        grids = [(-(-height // patch), -(-width // patch)) for height, width in shapes]
        count = sum(products(model, *grid, decoding=decoder is not None) for grid in grids)
        on_cpu = self.device.device.type == "cpu"
        share = count / spent.own / self.processor_rate if on_cpu else count / spent.clock / self.rate
        return Row(stage, spent.own, spent.clock, share)

    def _decode_source(self) -> None:
        source, limit = self.info.source.arguments, str(float(self.info.duration or 0))
        with Child(["-threads", str(thread_count()), *source, "-t", limit, "-an", "-f", "null", "-"]) as child:
            if child.wait():
                raise SystemExit(f"{self.source}: {child.reason()}")

    def _clips(self) -> Iterator[Frames]:
        geometry = self.encoder.geometry
        with FrameReader(self.info, width=geometry.width, height=geometry.height) as reader:
            while len(clip := reader.read_full(geometry.clip_frames)):
                yield clip

    @staticmethod
    def _product_rates(device: Device) -> tuple[float, float]:
        """Multiplications of a large product a second of the clock, and a second of the processor."""
        left, right = (torch.randn(_SIDE, _SIDE, device=device.device, dtype=device.precision) for _ in range(2))
        torch.mm(left, right)
        _, spent = timed(lambda: [torch.mm(left, right) for _ in range(_PRODUCTS)])
        return _PRODUCTS * _SIDE**3 / spent.clock, _PRODUCTS * _SIDE**3 / spent.own


def show(title: str, rows: list[Row], frames: int, seconds: float) -> None:
    """Print a table; a stage's share is of all stages' processor time."""
    whole = sum(row.processor for row in rows)
    print(f"\n| {title} | processor s a second | share | clock, ms a frame | of matmul |\n|---|---:|---:|---:|---:|")
    for row in rows:
        clock = "" if row.clock is None else f"{1000 * row.clock / frames:.1f}"
        matmul = "" if row.matmul is None else f"{row.matmul:.0%}"
        print(f"| {row.stage} | {row.processor / seconds:.3f} | {row.processor / whole:.0%} | {clock} | {matmul} |")
    print(f"| all | {whole / seconds:.3f} | | | |", flush=True)


@click.command()
@click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--short-side", "sides", type=int, multiple=True, default=(224, 0), show_default=True)
@click.option("--frames", default=96, show_default=True, help="Frames to time.")
@click.option("--weights", default="mini", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--batch", type=int, help="Tiles in one call of the network.")
def main(
    video: Path, sides: tuple[int, ...], frames: int, weights: str, device: str, precision: str, batch: int | None
) -> None:
    load = NetworkCache()
    for side in sides:
        options = EncodeOptions(
            weights=weights, device=device, precision=precision, batch=batch, audio="none", short_side=side or None
        )
        with tempfile.TemporaryDirectory() as temporary:
            bench = Bench(video, Path(temporary), options, load, frames)
            packed, encoding = bench.encode()
            decoding = bench.decode(packed)
        geometry = bench.encoder.geometry
        size = f"{geometry.width} x {geometry.height} of {bench.info.width} x {bench.info.height}"
        print(f"\n{size}, {bench.frames} frames, {bench.device}, {torch.get_num_threads()} threads")
        seconds = float(bench.frames / bench.info.fps)
        show("encode", encoding, bench.frames, seconds)
        show("decode", decoding, bench.frames, seconds)


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as error:  # ffmpeg is looked for only when it is needed
        raise SystemExit(f"{error.name} is not installed; benchmarks/network.py needs no ffmpeg") from error
    except VidtwinError as error:
        raise SystemExit(f"{error.message}; {error.hint}" if error.hint else error.message) from error
