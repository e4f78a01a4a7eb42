"""vidtwin beside conventional codecs: the report, and the table and plot that the README shows.

    python benchmarks/compare.py FOLDER OUTPUT_FOLDER [--against x264,x265,svt-av1,vvenc] [--frames 48]
        [--preset medium] [--weights NAME|FILE]

Runs what `vidtwin compare` runs on every video in FOLDER and writes report.html, report.json, psnr.svg and vmaf.svg;
prints the table in markdown, and once more without the finest settings of the other codecs. The plots are means over
clips at equal bytes, conventional codecs with one GOP for the whole sequence. Run again, it goes on from what is in
OUTPUT_FOLDER/work.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import click

from vidtwin_codec.evaluation.compare import CompareOptions
from vidtwin_codec.evaluation.compare.bd import MeanDelta, all_numbers, mean_delta
from vidtwin_codec.evaluation.compare.codecs import PRESETS
from vidtwin_codec.evaluation.compare.results import Clip, Comparison
from vidtwin_codec.evaluation.compare.run import compare
from vidtwin_codec.evaluation.compare.sources import find_videos
from vidtwin_codec.evaluation.compare.work_folder import WorkFolder
from vidtwin_codec.evaluation.report import render
from vidtwin_codec.evaluation.report.lines import clip_lines, mean_lines
from vidtwin_codec.evaluation.report.plots import TITLES, rd_plot, standalone
from vidtwin_codec.evaluation.report.text import signed, variant_name
from vidtwin_codec.options import Reporter

LEAST_CRF = 18
"""What x264's makers call visually lossless: finer settings are of the ladder's range, but of little use."""


def markdown(comparison: Comparison) -> str:
    """BD-rate and BD-quality, a row for each codec and way; in brackets how many clips have a value."""
    head = "| vidtwin against | BD-rate (PSNR) | BD-PSNR | BD-rate (VMAF) | BD-VMAF |"
    rows = [head, "|---|---:|---:|---:|---:|"]
    for codec, label in comparison.codecs.items():
        for variant in comparison.variants:
            cells = []
            for metric, unit, digits in (("psnr", " dB", 2), ("vmaf", "", 1)):
                found = mean_delta(comparison.clips, codec, variant, metric)
                cells += _cells(found, unit, digits)
            rows.append(f"| {label} {variant_name(variant, comparison.clip_frames)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cells(found: MeanDelta | None, unit: str, digits: int) -> tuple[str, str]:
    if found is None:
        return "no result", "no result"
    rate = "no overlap" if found.rate is None else f"{signed(found.rate, 0)} % ({found.rate_clips})"
    gain = "no overlap" if found.quality is None else f"{signed(found.quality, digits)}{unit} ({found.quality_clips})"
    return rate, gain


@click.command()
@click.argument("folder", type=click.Path(exists=True))
@click.argument("output", type=click.Path(file_okay=False, path_type=Path))
@click.option("--against", default=",".join(CompareOptions.against), show_default=True)
@click.option("--frames", default=48, show_default=True, help="Of each video, from its start.")
@click.option("--preset", type=click.Choice(PRESETS), default=PRESETS[0], show_default=True)
@click.option("--weights")
@click.option("--device", default="auto", show_default=True)
def main(folder: str, output: Path, against: str, frames: int, preset: str, weights: str | None, device: str) -> None:
    output.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"{time.monotonic() - began:7.0f} s  {text}", err=True)

    options = CompareOptions(
        weights=weights, device=device, against=tuple(against.split(",")), presets=(preset,), frames=frames
    )
    comparison = compare(
        find_videos([folder]), options, work=WorkFolder(output / "work"), reporter=Reporter(said=say, warned=say)
    )
    (output / "report.html").write_text(render(comparison), encoding="utf-8")
    (output / "report.json").write_text(json.dumps(all_numbers(comparison), indent=1), encoding="utf-8")
    clips, codecs, variant = comparison.clips, comparison.codecs, comparison.variants[0]
    for metric in ("psnr", "vmaf"):
        lines = (
            mean_lines(clips, codecs, variant, metric)
            if len(clips) > 1
            else clip_lines(clips[0], codecs, variant, metric)
        )
        plot = rd_plot(lines, metric, f"{TITLES[metric]} of {len(clips)} clips over bits per pixel")
        (output / f"{metric}.svg").write_text(standalone(plot, metric), encoding="utf-8")
    used = comparison.used
    print(f"{len(clips)} clips, {sum(clip.frames for clip in clips)} frames; {', '.join(used.values())}\n")
    print(markdown(comparison))
    print(f"\nwithout settings below CRF (or QP) {LEAST_CRF}:\n")
    print(markdown(replace(comparison, clips=[usable(clip) for clip in comparison.clips])))


def usable(clip: Clip) -> Clip:
    """Without the points of other codecs that are finer than anybody asks of them."""
    others = [
        replace(series, points=[point for point in series.points if float(point.setting.split()[-1]) >= LEAST_CRF])
        for series in clip.others
    ]
    return replace(clip, others=others)


if __name__ == "__main__":
    main()
