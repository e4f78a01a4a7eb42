"""``python -m vidtwin_codec.training.closed_form DATA OUTPUT.safetensors``: weights without training.

They hold no quantisation steps yet: ``vidtwin weights import OUTPUT.safetensors --name NAME`` calibrates those.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click
import torch
from torch import Tensor

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import check_output
from vidtwin_codec.model import VidTwin, save_checkpoint
from vidtwin_codec.pipeline.device import select_device
from vidtwin_codec.training.clips import ClipSampler
from vidtwin_codec.training.closed_form.allocation import KINDS
from vidtwin_codec.training.closed_form.build import check_config, transform_start
from vidtwin_codec.training.closed_form.components import Clips
from vidtwin_codec.training.evaluation import Quality, measure
from vidtwin_codec.training.footage import find_files
from vidtwin_codec.training.network import network_config
from vidtwin_codec.training.options import PRESETS, TrainOptions
from vidtwin_codec.training.preparation import load_footage

_BATCH = 8
_MEASURED = 48
"""Clips whose PSNR is told at the end."""


@click.command("python -m vidtwin_codec.training.closed_form", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--clips", "count", type=click.IntRange(min=1), default=320, show_default=True, help="Clips to look at.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which clips those are.")
@click.option(
    "--kinds", type=click.IntRange(min=1), default=KINDS, show_default=True, help="Of places that are told apart."
)
@click.option("--preset", type=click.Choice(PRESETS), default="mini", show_default=True, help="Sizes of the network.")
@click.option("--encoder-depth", type=click.IntRange(min=4), help="Preset with other encoder blocks.")
@click.option("--decoder-depth", type=click.IntRange(min=4), help="Preset with other decoder blocks.")
@click.option("--config", type=click.Path(path_type=Path), help="Sizes of the network, as JSON.")
@click.option("--name", help="What to call the weights.  [default: the output's name]")
@click.option("--cache", type=click.Path(file_okay=False, path_type=Path), help="Folder of decoded frames.")
@click.option("--cache-gb", type=float, default=20.0, show_default=True, help="Gigabytes it may take.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
def command(
    data: Path,
    output: Path,
    count: int,
    seed: int,
    kinds: int,
    preset: str,
    encoder_depth: int | None,
    decoder_depth: int | None,
    config: Path | None,
    name: str | None,
    cache: Path | None,
    cache_gb: float,
    force: bool,
) -> None:
    """Write down the weights of a transform codec for the kind of videos in DATA, a folder."""
    # the trainer's own way from a folder to clips and from choices to a network
    options = TrainOptions(
        data, output, steps=1, preset=preset, config=config, encoder_depth=encoder_depth, decoder_depth=decoder_depth,
        cache=cache, cache_gb=cache_gb, max_stride=1, seed=seed,
    )  # fmt: skip
    network = network_config(options)
    check_config(network)
    check_output(output, force=force)
    footage = load_footage(find_files(data), network, options, _say)
    sampler = ClipSampler(footage, network, seed=seed)
    _say(f"looking at {count} clips of {len(footage)} files")
    model = transform_start(_passes(sampler, count), network, seed=seed, kinds=kinds)
    quality = _train_quality(model, sampler, min(count, _MEASURED))
    origin = f"written in closed form from {count} clips of {len(footage)} files, seed {seed}"
    save_checkpoint(output, model, name=name or output.stem, origin=origin)
    _say(f"{output}: PSNR {quality.mean:.2f} dB on its own footage ({quality.worst:.1f} to {quality.best:.1f})")


def _passes(sampler: ClipSampler, count: int) -> Clips:
    def one() -> Iterator[Tensor]:
        clips = sampler.calibration_clips(count)
        while batch := list(islice(clips, _BATCH)):
            yield torch.cat(batch)

    return one


def _train_quality(model: VidTwin, sampler: ClipSampler, count: int) -> Quality:
    clips = torch.cat(list(sampler.calibration_clips(count))).permute(0, 2, 3, 4, 1)
    levels = ((clips + 1) * 127.5).round().byte()
    quality = measure(model, levels, select_device("cpu", "float32", "float32"))
    assert quality is not None
    return quality


def _say(line: str) -> None:
    click.echo(line, err=True)


def main() -> None:
    """Run the command; what went wrong becomes one line and exit code 1."""
    try:
        command()
    except VidtwinError as error:
        _say(f"error: {error.message}")
        if error.hint:
            _say(f"  {error.hint}")
        sys.exit(1)


if __name__ == "__main__":
    main()
