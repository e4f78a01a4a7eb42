"""``vidtwin train``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from vidtwin_codec.cli.aliases import AliasedOption

# not the helpers in common.py: they need packages that a bare accelerator machine does not have
from vidtwin_codec.cli.meter import event_reporter, line_reporter, silent_reporter
from vidtwin_codec.cli.output import json_option, output_state, print_json, progress_option, quiet_option
from vidtwin_codec.cli.streams import say
from vidtwin_codec.cli.usage import built, parse_device
from vidtwin_codec.reporter import Reporter
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
    settings.setdefault("show_default", default is not None and default is not False)
    return click.option(*names, default=default, **settings)


_OF_ARCHITECTURE = "as --architecture says"


@click.command("train")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Weights file to write, a .safetensors.",
)
@_option("-f", "--force", is_flag=True, help="Replace an existing output, or start anew despite a saved state.")
@_option("--resume", is_flag=True, help="Continue an interrupted run from its saved state.")
@_option("--steps", type=int, metavar="N", help="Number of training steps. This or --minutes is needed.")
@_option("--minutes", type=float, metavar="MIN", help="Training time in minutes. This or --steps is needed.")
@_option("--name", metavar="NAME", show_default="the output's name", help="Name of the weights.")
@_option(
    "--storage",
    type=click.Choice(STORAGES),
    help="Type of the numbers in the output; float32 takes twice the bytes of the others.",
)
@_option("--init", metavar="NAME|FILE", show_default="a new network", help="Weights to fine-tune.")
@_option(
    "--architecture",
    "preset",
    cls=AliasedOption,
    aliases=["--preset"],
    type=click.Choice(PRESETS),
    help="Sizes of a new network. Larger ones are slower and take more memory.",
)
@_option(
    "--config",
    type=click.Path(path_type=Path),
    show_default=_OF_ARCHITECTURE,
    help="JSON file with the sizes of a new network.",
)
@_option(
    "--size",
    type=int,
    metavar="PIXELS",
    show_default=_OF_ARCHITECTURE,
    help="Height and width of the network's frames.",
)
@_option(
    "--patch",
    type=int,
    metavar="PIXELS",
    show_default=_OF_ARCHITECTURE,
    help="Height and width of a patch. Smaller is slower and takes more memory.",
)
@_option(
    "--width",
    type=int,
    metavar="N",
    show_default=_OF_ARCHITECTURE,
    help="Channels of a token, a multiple of 64. More is slower.",
)
@_option(
    "--encoder-depth",
    type=int,
    metavar="N",
    show_default="as --architecture or --init says",
    help="Transformer blocks of the encoder in all. More is slower.",
)
@_option(
    "--decoder-depth",
    type=int,
    metavar="N",
    show_default="as --architecture or --init says",
    help="Transformer blocks of the decoder in all. More is slower.",
)
@_option(
    "--train",
    type=click.Choice(TRAINED),
    help="Parameters that learn: all, those of the decoder, of its transformer blocks, or of its post-filter, which is "
    "added where there is none.",
)
@_option(
    "--eval-data", type=click.Path(path_type=Path), show_default="held-out files of DATA", help="Footage to measure on."
)
@_option(
    "--held-out",
    type=float,
    metavar="SHARE",
    help="Share of DATA's files that are measured on and never trained on, 0 to 0.9.",
)
@_option(
    "--short-side",
    type=int,
    metavar="PIXELS",
    show_default="8/7 of the network's",
    help="Shorter side that videos are decoded to, from which crops are cut.",
)
@_option(
    "--max-stride",
    type=int,
    metavar="N",
    help="Largest step between the frames of a clip, 1 or more; each clip draws 1 to N.",
)
@_option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    show_default="in the user's cache",
    help="Folder for decoded frames.",
)
@_option("--cache-gb", type=float, metavar="GB", help="Largest size of this folder in gigabytes.")
@_option("--data-on-device", is_flag=True, help="Hold all footage in the accelerator's memory, which is faster.")
@_option(
    "--clips-per-step",
    "batch",
    cls=AliasedOption,
    aliases=["--batch"],
    type=int,
    metavar="N",
    help="Clips of a step, over all processes together. More takes more memory.",
)
@_option("--loss", type=click.Choice(LOSSES), help="Pixel loss.")
@_option(
    "--final-loss", type=click.Choice(LOSSES), show_default="as --loss says", help="Pixel loss during the cooldown."
)
@_option(
    "--ssim-weight",
    type=float,
    metavar="X",
    help="Weight of structural similarity beside the pixel loss, 0 or more. A little keeps detail.",
)
@_option(
    "--objective",
    type=click.Choice(OBJECTIVES),
    help="Rate term: kl is the divergence of the posterior, rate the estimated bits of quantised latents.",
)
@_option("--kl-weight", type=float, metavar="X", help="Weight of the rate term, 0 or more. Higher gives fewer bits.")
@_option(
    "--noise",
    type=click.Choice(NOISES),
    show_default="gaussian with --objective kl, uniform with rate",
    help="Noise on the latents that the decoder sees.",
)
@_option(
    "--noise-scale",
    type=float,
    metavar="X",
    help="Factor on the noise, 0 or more. Less than 1 suits high qualities.",
)
@_option(
    "--noise-spread",
    type=float,
    metavar="OCTAVES",
    help="Range in octaves, 0 or more, from which each clip draws that factor. More suits a range of qualities.",
)
@_option(
    "--optimizer",
    type=click.Choice(OPTIMIZERS),
    help="Optimiser: adamw, or muon, which is Muon for the matrices of the blocks and AdamW for the rest.",
)
@_option("--lr", type=float, metavar="X", help="Learning rate of AdamW, more than 0.")
@_option("--muon-lr", type=float, metavar="X", help="Learning rate of Muon, more than 0.")
@_option("--weight-decay", type=float, metavar="X", help="Weight decay of matrices, 0 or more.")
@_option("--clip-norm", type=float, metavar="X", help="Largest norm of the gradient; longer ones are scaled down.")
@_option("--warmup", type=int, metavar="N", help="Steps at the start over which the learning rates rise.")
@_option(
    "--cooldown",
    type=float,
    metavar="SHARE",
    help="Share of the run, 0 to 1, at its end, over which the learning rates fall to zero.",
)
@_option("--ema", type=float, metavar="X", help="Decay a step of the moving average of the weights, 0 to 0.999999.")
@_option("--eval-every", type=int, metavar="N", help="Steps between measurements; the state is saved as often.")
@_option("--seed", type=int, metavar="N", help="Seed of everything that is drawn at random.")
@_option(
    "--device",
    metavar="NAME",
    envvar="VIDTWIN_DEVICE",
    show_envvar=True,
    callback=parse_device,
    help="Device that trains the network: auto, cpu, cuda, cuda:N or mps; auto is a GPU where there is one.",
)
@_option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="Arithmetic of the network; auto is bfloat16 where that is fast.",
)
@_option("--compile/--no-compile", show_default="on CUDA", help="Compile the network's blocks with torch.compile.")
@_option("--recompute", is_flag=True, help="Use gradient checkpointing: far less memory for a third more time.")
@json_option("Print the result as one JSON object on standard output; of a failure, its error.")
@progress_option
@quiet_option
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

    with _reporter(quiet) as reporter:
        result = train(options, reporter=reporter, command=shlex.join(["vidtwin", *sys.argv[1:]]))
    if result is None:
        return  # another process reports
    for note in result.notes:
        reporter.said(f"note: {note}")
    if as_json:
        print_json(result.to_json())
    psnr = f", held-out PSNR {result.psnr:.2f} dB" if result.psnr is not None else ""
    reporter.said(
        f"{result.output}: {result.steps} steps, {result.minutes:.1f} minutes{psnr}; model card {result.card}"
    )


@contextmanager
def _reporter(quiet: bool) -> Iterator[Reporter]:
    """As of every verb; where rich is not installed, in lines."""
    if os.environ.get("RANK", "0") != "0":  # torchrun's: the first process reports
        yield Reporter()
        return
    try:
        from vidtwin_codec.cli.progress import progress
        from vidtwin_codec.cli.screen import console
    except ModuleNotFoundError as error:
        if error.name != "rich":
            raise
    else:
        with progress("train", console(quiet)) as reporter:
            yield reporter
        return
    wanted = output_state().progress
    if wanted == "json":
        yield event_reporter("train")
    elif quiet:
        yield Reporter()
    else:
        yield line_reporter("train", say) if wanted == "auto" else silent_reporter(say)
