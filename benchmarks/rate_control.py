"""How near each target comes on a folder of videos, and what it costs beside a plain encode in the same run.

    python benchmarks/rate_control.py FOLDER

Every target is set to what the video comes to at another setting than the default, found by a plain encode: quality
``--quality`` at the native size. So each can be met, and the short side chosen for it can be compared: at the same
bytes the PSNR, at the same PSNR the bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from vidtwin_codec import EncodeOptions, EncodeResult, encode
from vidtwin_codec.evaluation.measure.codec import measure_codec
from vidtwin_codec.evaluation.measure.options import MeasureOptions
from vidtwin_codec.media import FrameReader, FrameWriter, OutputOptions, probe
from vidtwin_codec.network.runner import NetworkCache
from vidtwin_codec.options import Reporter
from vidtwin_codec.options.target import NAMES

HEADER = f"{'':28}{'target':>18}{'achieved':>12}{'error':>9}{'quality':>9}{'side':>7}{'PSNR':>8}{'time':>7}"

UNITS = {"psnr": "dB", "vmaf": "VMAF"}
"""Of scores."""


class Row(NamedTuple):
    """Error of one target (relative; of a score in its unit), PSNR measured on the whole file, time as a ratio."""

    name: str
    error: float
    psnr: float
    time: float
    met: bool


class Bench:
    """Networks and temporary files of one run."""

    def __init__(self, folder: Path, names: tuple[str, ...], short_side: int | None, audio: str) -> None:
        self.folder, self.names = folder, names
        self.common: dict[str, Any] = {"short_side": short_side, "audio": audio}
        self.load = NetworkCache().load

    def encode(self, source: Path, target: Path, **choices: Any) -> EncodeResult:
        return encode(source, target, EncodeOptions(force=True, **self.common, **choices), load=self.load)

    def score(self, source: Path, packed: Path, metric: str = "psnr") -> float:
        found = measure_codec(source, packed, MeasureOptions(metrics=(metric,)), Reporter(), self.load)
        return float(found.scores.means[metric] or 0)

    def rows(self, source: Path, quality: float) -> Iterator[Row]:
        packed = self.folder / "out.vtw"
        plain = self.encode(source, packed, quality=quality)
        reference = self.score(source, packed)
        wanted = {
            "kbps": plain.kbps,
            "size": plain.vtw_bytes,
            "ratio": plain.compression_ratio,
            "psnr": reference,
        }
        if "vmaf" in self.names:
            wanted["vmaf"] = self.score(source, packed, "vmaf")
        print(f"{source.stem[:27]:28}{f'quality {quality:g}':>18}{'':30}{'':7}{reference:8.2f}{1:7.2f}", flush=True)
        for name in self.names:
            result = self.encode(source, packed, **{f"target_{name}": wanted[name]})
            assert result.target is not None
            # at a fixed size the same bytes are the same file, near enough
            measured = self.score(source, packed) if name in UNITS or self.common["short_side"] is None else reference
            value = self.score(source, packed, name) if name in UNITS else result.target.value
            error = value - wanted[name] if name in UNITS else value / wanted[name] - 1
            ratio = result.seconds / plain.seconds
            shown = f"{error:+.2f} {UNITS[name]}" if name in UNITS else f"{100 * error:+.2f} %"
            print(
                f"{'':28}{f'{name} {wanted[name]:.5g}':>18}{value:12.5g}{shown:>9}{result.quality:9.2f}"
                f"{result.short_side or 'native':>7}{measured:8.2f}{ratio:7.2f}"
                + (f"  bytes {result.video_bytes / plain.video_bytes:.2f}" if name in UNITS else ""),
                flush=True,
            )
            yield Row(name, error, measured - reference, ratio, result.target.reason is None)


def joined(sources: list[Path], target: Path, repeat: int) -> Path:
    """All videos one after the other at the size of the first, ``repeat`` times: a long one with many scenes."""
    first = probe(sources[0])
    with FrameWriter(target, first.width, first.height, first.fps, options=OutputOptions(crf=12)) as writer:
        for source in sources * repeat:
            with FrameReader(probe(source), width=first.width, height=first.height) as reader:
                while len(frames := reader.read(16)):
                    writer.write(frames)
    return target


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--target", "names", type=click.Choice(NAMES), multiple=True, default=NAMES)
@click.option("--quality", type=float, default=55, show_default=True, help="What the targets are set to.")
@click.option("--short-side", type=int, help="Leave only the quality to be chosen.")
@click.option("--audio", default="opus", show_default=True)
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Take every n-th video.")
@click.option("--join", type=click.IntRange(0), default=0, help="All as one video, so many times over.")
def main(
    folder: Path, names: tuple[str, ...], quality: float, short_side: int | None, audio: str, every: int, join: int
) -> None:
    print(HEADER)
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(Path(temporary), names, short_side, audio)
        sources = sorted(folder.glob("*.mp4"))[::every]
        if join:
            sources = [joined(sources, Path(temporary, "joined.mp4"), join)]
        rows = [row for source in sources for row in bench.rows(source, quality)]
    for name in names:
        found = [row for row in rows if row.name == name]
        errors = np.abs([row.error for row in found])
        unit, factor = (UNITS[name], 1) if name in UNITS else ("%", 100)
        psnr, time = (np.mean([getattr(row, key) for row in found]) for key in ("psnr", "time"))
        print(
            f"{name:6} {len(found)} videos, {sum(row.met for row in found)} met; "
            f"error mean {factor * errors.mean():.2f} {unit}, largest {factor * errors.max():.2f} {unit}; "
            f"PSNR against the plain encode {psnr:+.2f} dB; time {time:.2f}"
        )


if __name__ == "__main__":
    main()
