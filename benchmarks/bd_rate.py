"""BD-rate of some weights against others under the paper's protocol, with the real coder.

    python benchmarks/bd_rate.py FOLDER --anchor NAME|FILE --test NAME|FILE

Frames, clips and packing as in paper_protocol.py. Needs the extra `compare`.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from statistics import fmean

import bjontegaard
import click
import numpy as np
from numpy.typing import NDArray
from paper_protocol import packed_clip, score, wanted_clips

from vidtwin_codec.coding import LatentArrays, dequantize
from vidtwin_codec.coding.effort import DEFAULT_EFFORT, quality_steps
from vidtwin_codec.evaluation.measure.paper import Network
from vidtwin_codec.options import NetworkOptions

Curve = list[tuple[float, float]]
"""Bits per pixel and PSNR in decibels, ascending."""


def curve(network: Network, clips: NDArray[np.uint8], qualities: tuple[float, ...]) -> Curve:
    base = network.entry.metadata.steps
    assert base is not None  # weights without steps are not resolved
    arrays, points = network.encode(clips), []
    for quality in qualities:
        steps = quality_steps(base, quality, DEFAULT_EFFORT)
        coded = [packed_clip(arrays, clip, network.runner.layout, steps) for clip in range(len(clips))]
        symbols = LatentArrays(*(np.concatenate(column) for column in zip(*(one for one, _ in coded), strict=True)))
        decoded = network.decode(LatentArrays(*dequantize(symbols, steps)), steps)
        found = score(clips, decoded, sum(size for _, size in coded))
        if not points or (found.bits_per_pixel > points[-1][0] and found.psnr > points[-1][1]):
            points.append((found.bits_per_pixel, found.psnr))
    return points


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--anchor", required=True, help="Weights to compare with.")
@click.option("--test", required=True, help="Weights to compare.")
@click.option("--precision", default="auto", show_default=True)
@click.option("--quality", "qualities", type=float, multiple=True, default=(0, 15, 30, 45, 60, 75, 90))
def main(folder: Path, anchor: str, test: str, precision: str, qualities: tuple[float, ...]) -> None:
    one, other = (Network(NetworkOptions(weights=name, device="cpu", precision=precision)) for name in (anchor, test))
    rates, gains = [], []
    for path in sorted(folder.glob("*.mp4")):
        clips = wanted_clips(path, one, None, every=False)
        curves = [curve(network, clips, tuple(sorted(qualities))) for network in (one, other)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of little overlap; the curves are printed
            columns = [list(column) for points in curves for column in zip(*points, strict=True)]
            settings = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}
            rates.append(float(bjontegaard.bd_rate(*columns, **settings)))
            gains.append(float(bjontegaard.bd_psnr(*columns, **settings)))
        ends = "   ".join(f"{p[0][0]:.4f}-{p[-1][0]:.4f} bpp {p[0][1]:.2f}-{p[-1][1]:.2f} dB" for p in curves)
        print(f"{path.name[:28]:28} BD-rate {rates[-1]:+7.2f} %  BD-PSNR {gains[-1]:+6.3f} dB   {ends}", flush=True)
    for name, values in (("BD-rate, %", rates), ("BD-PSNR, dB", gains)):
        usable = [value for value in values if np.isfinite(value)]
        print(f"mean {name}: {fmean(usable):+.3f} ({len(usable)} of {len(values)} videos)" if usable else f"no {name}")


if __name__ == "__main__":
    main()
