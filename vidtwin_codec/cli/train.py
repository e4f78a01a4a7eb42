"""``vidtwin train``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from vidtwin_codec.cli.aliases import AliasedOption

# no other verb's helpers: they need packages that a bare accelerator machine does not have
from vidtwin_codec.cli.streams import say
from vidtwin_codec.cli.usage import built, parse_device
from vidtwin_codec.text import to_json
from vidtwin_codec.training.options import (
    LOSSES,
    NOISES,
    OBJECTIVES,
    OPTIMIZERS,
    PRECISIONS,
    PRESETS,
    STORAGES,
    TRAINED,
    TrainOptions,
)

_DEFAULTS = {field.name: field.default for field in fields(TrainOptions)}


def _option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    """A click option whose default is the dataclass's."""
    last = next(name for name in reversed(names) if name.startswith("--"))
    field = names[-1] if names[-1].isidentifier() else last.lstrip("-").split("/")[0].replace("-", "_")
    default = _DEFAULTS[field]
    shown = default is not None and default is not False
    return click.option(*names, default=default, show_default=shown, **settings)


@click.command("train")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The .safetensors to write."
)
@_option("--steps", type=int, help="Train for so many steps.")
@_option("--minutes", type=float, help="Train for so long.")
@_option("--resume", is_flag=True, help="Go on where an interrupted run stopped.")
@_option("-f", "--force", is_flag=True, help="Replace an existing output, or start anew despite a saved state.")
@_option("--init", metavar="NAME|FILE", help="Weights to start from (fine-tuning).")
@_option(
    "--architecture",
    "preset",
    cls=AliasedOption,
    aliases=["--preset"],
    type=click.Choice(PRESETS),
    help="Sizes of a new network.",
)
@_option("--config", type=click.Path(path_type=Path), help="Sizes of a new network, as JSON.")
@_option("--size", type=int, help="Preset with another frame height and width.")
@_option("--patch", type=int, help="Preset with another patch size.")
@_option("--width", type=int, help="Preset with other channels of a token.")
@_option("--encoder-depth", type=int, help="Preset with other encoder blocks; with --init, blocks to have in all.")
@_option("--decoder-depth", type=int, help="Preset with other decoder blocks; with --init, blocks to have in all.")
@_option("--train", type=click.Choice(TRAINED), help="What may change; blocks: the decoder's transformer blocks.")
@_option("--eval-data", type=click.Path(path_type=Path), help="Footage to measure on.  [default: some of DATA]")
@_option("--held-out", type=float, help="Share of DATA's files to measure on, never trained on.")
@_option("--short-side", type=int, help="Decode videos to this short side.  [default: 8/7 of the network's]")
@_option("--max-stride", type=int, help="Clips take every frame up to every so manieth.")
@_option("--cache", type=click.Path(file_okay=False, path_type=Path), help="Folder of decoded frames.")
@_option("--cache-gb", type=float, help="Gigabytes it may take.")
@_option("--data-on-device", is_flag=True, help="Hold all footage in the accelerator's memory.")
@_option(
    "--clips-per-step",
    "batch",
    cls=AliasedOption,
    aliases=["--batch"],
    type=int,
    help="Clips a step, over all processes.",
)
@_option("--loss", type=click.Choice(LOSSES), help="Pixel loss.")
@_option("--final-loss", type=click.Choice(LOSSES), help="Pixel loss of the cooldown.  [default: the same]")
@_option("--objective", type=click.Choice(OBJECTIVES), help="The rate: a divergence, or bits of quantised latents.")
@_option("--kl-weight", type=float, help="Weight of the rate; more of it, fewer bits.")
@_option("--noise", type=click.Choice(NOISES), help="Noise on the latents while training.  [default: the objective's]")
@_option("--noise-scale", type=float, help="What it is multiplied by.")
@_option("--noise-spread", type=float, help="Octaves by which that varies from clip to clip.")
@_option(
    "--optimizer",
    type=click.Choice(OPTIMIZERS),
    help="muon: for the blocks' matrices.",
)
@_option("--lr", type=float, help="AdamW's rate.")
@_option("--muon-lr", type=float, help="Muon's rate.")
@_option("--weight-decay", type=float, help="Of matrices.")
@_option("--clip-norm", type=float, help="Longest gradient.")
@_option("--warmup", type=int, help="Steps over which the rates rise.")
@_option("--cooldown", type=float, help="Last share of the run, over which they fall to zero.")
@_option("--ema", type=float, help="Decay of the average of weights that is kept.")
@_option("--seed", type=int, help="Of everything random.")
@_option(
    "--device",
    metavar="auto|cpu|cuda|cuda:N|mps",
    envvar="VIDTWIN_DEVICE",
    show_envvar=True,
    callback=parse_device,
    help="Where to run.",
)
@_option("--precision", type=click.Choice(PRECISIONS), help="Arithmetic of the network.")
@_option("--compile/--no-compile", help="torch.compile.  [default: on CUDA]")
@_option("--recompute", is_flag=True, help="Gradient checkpointing: less memory, a third more time.")
@_option("--eval-every", type=int, help="Steps between measuring; the state is saved as often.")
@_option("--storage", type=click.Choice(STORAGES), help="How the output stores its numbers.")
@_option("--name", help="What to call the weights.  [default: the output's name]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on standard output.")
@click.option("-q", "--quiet", is_flag=True, help="Only errors.")
def train_command(as_json: bool, quiet: bool, **choices: Any) -> None:
    """Train or fine-tune network weights on DATA, a folder of videos.

    Interrupt with Ctrl-C at any time: the state is saved, and the same command with --resume goes on.
    The log, the plot and the state are kept in NAME.training beside the output, the model card in NAME.md.

    \b
    vidtwin train videos/ -o mine.safetensors --minutes 600
    vidtwin train videos/ -o tuned.safetensors --init base --steps 2000 --clips-per-step 2 --recompute --lr 2e-5
    torchrun --nproc-per-node 4 -m vidtwin_codec.training videos/ -o mine.safetensors --clips-per-step 256 --steps 9000
    """
    options = built(TrainOptions, **choices)
    # the network is loaded only now: help and wrong usage need not wait for it
    from vidtwin_codec.training.run import train

    result = train(options, say=_silent if quiet else say, command=shlex.join(["vidtwin", *sys.argv[1:]]))
    if result is None:
        return  # another process reports
    if not quiet:
        for note in result.notes:
            say(f"note: {note}")
    if as_json:
        click.echo(to_json(result.to_json()))
    elif not quiet:
        psnr = f", held-out PSNR {result.psnr:.2f} dB" if result.psnr is not None else ""
        say(f"{result.output}: {result.steps} steps, {result.minutes:.1f} minutes{psnr}; model card {result.card}")


def _silent(line: str) -> None:
    pass
