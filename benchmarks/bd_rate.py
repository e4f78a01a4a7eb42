"""BD-rate of some weights against others, with the real coder.

    python benchmarks/bd_rate.py FOLDER --anchor NAME|FILE --test NAME|FILE [--own-size] [--seconds 0.6]

Frames, clips and packing as in paper_protocol.py, by PSNR. With `--own-size` whole frames of the beginning of each
video, by PSNR, MS-SSIM and VMAF, as `vidtwin measure` gives them. Needs the extra `compare`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean

import click
from paper_protocol import coded_score, wanted_clips

from vidtwin_codec import MeasureOptions, Reporter
from vidtwin_codec.evaluation.compare.bd import Curve, Delta, curve_delta
from vidtwin_codec.evaluation.measure.paper import Network
from vidtwin_codec.evaluation.measure.run import MeasureJob, measurer
from vidtwin_codec.options import NetworkOptions

Curves = dict[str, Curve]
UNITS = {"psnr": " dB", "ms_ssim": "", "vmaf": ""}


def rising(points: Iterable[tuple[float, float]]) -> Curve:
    """The points that are larger and better than those before."""
    rates: list[float] = []
    values: list[float] = []
    for rate, value in points:
        if not rates or (rate > rates[-1] and value > values[-1]):
            rates.append(rate)
            values.append(value)
    return rates, values


def of_crops(options: NetworkOptions, qualities: tuple[float, ...]) -> Callable[[Path], Curves]:
    network = Network(options)

    def curves(path: Path) -> Curves:
        clips = wanted_clips(path, network, None, every=False)
        arrays = network.encode(clips)
        found = [coded_score(network, clips, arrays, quality) for quality in qualities]
        return {"psnr": rising((one.bits_per_pixel, one.psnr) for one in found)}

    return curves


def of_whole_frames(options: NetworkOptions, qualities: tuple[float, ...], seconds: float) -> Callable[[Path], Curves]:
    chosen = {"weights": options.weights, "device": options.device, "precision": options.precision}
    measurers = [
        measurer(MeasureOptions(**chosen, quality=quality, duration=seconds, metrics=tuple(UNITS)))
        for quality in qualities
    ]

    def curves(path: Path) -> Curves:
        found = [measured(MeasureJob(str(path), None), Reporter()).to_json() for measured in measurers]
        known = [name for name in UNITS if found[0][name] is not None]
        return {name: rising((one["bits_per_pixel"], one[name]) for one in found) for name in known}

    return curves


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--anchor", required=True, help="Weights to compare with.")
@click.option("--test", required=True, help="Weights to compare.")
@click.option("--precision", default="auto", show_default=True)
@click.option("--quality", "qualities", type=float, multiple=True, default=(0, 15, 30, 45, 60, 75, 90))
@click.option("--own-size", is_flag=True, help="Whole frames in place of 224 x 224 crops.")
@click.option("--seconds", default=0.6, show_default=True, help="Of each video, with --own-size.")
def main(
    folder: Path,
    anchor: str,
    test: str,
    precision: str,
    qualities: tuple[float, ...],
    own_size: bool,
    seconds: float,
) -> None:
    ordered = tuple(sorted(qualities))
    sides = []
    for name in (anchor, test):
        options = NetworkOptions(weights=name, device="cpu", precision=precision)
        sides.append(of_whole_frames(options, ordered, seconds) if own_size else of_crops(options, ordered))
    deltas: dict[str, list[Delta]] = {name: [] for name in UNITS}
    for path in sorted(folder.glob("*.mp4")):
        one, other = (curves(path) for curves in sides)
        for name in one:
            found = curve_delta(one[name], other[name])
            deltas[name].append(found)
            rate = "none" if found.rate is None else f"{found.rate:+.2f} %"
            gain = "none" if found.quality is None else f"{found.quality:+.4f}{UNITS[name]}"
            ends = "   ".join(f"{r[0]:.4f}-{r[-1]:.4f} bpp {v[0]:.4g}-{v[-1]:.4g}" for r, v in (one[name], other[name]))
            print(f"{path.name[:28]:28} {name:7} BD-rate {rate:>9}  gain {gain:>11}   {ends}", flush=True)
    for name, found in deltas.items():
        for what, values in (("BD-rate in %", [one.rate for one in found]), ("gain", [one.quality for one in found])):
            known = [value for value in values if value is not None]
            if known:
                print(f"mean {what} by {name}: {fmean(known):+.4g} ({len(known)} of {len(found)} videos)")


if __name__ == "__main__":
    main()
