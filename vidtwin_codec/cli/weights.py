"""``vidtwin weights``: what weights are here, and getting more."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.table import Table

from vidtwin_codec import weights
from vidtwin_codec.calibration.fetching import fetch
from vidtwin_codec.calibration.importing import ImportOptions, ImportResult, import_checkpoint
from vidtwin_codec.cli.common import Screen, console, device_option, print_json, progress
from vidtwin_codec.cli.meter import silent_reporter
from vidtwin_codec.cli.output import force_option, json_option, output_state, progress_option, quiet_option
from vidtwin_codec.cli.usage import VerbGroup, built
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.reporter import Reporter
from vidtwin_codec.weights.hub import without_bars
from vidtwin_codec.weights.pushing import push

F = TypeVar("F", bound=Callable[..., Any])

_STORAGES = ("float16", "bfloat16", "float32")
_json_option = json_option("Print one JSON object a line on standard output; of a failure, its error.")


def _output_options(function: F) -> F:
    """``--json --progress --quiet``."""
    return _json_option(progress_option(quiet_option(function)))


@click.group("weights", cls=VerbGroup)
def weights_command() -> None:
    """List, import, fetch, share and verify the network's weights.

    \b
    mini      ships with vidtwin and is the default
    compact   ships with vidtwin; decodes files of earlier versions
    base      the released VidTwin: `vidtwin weights fetch base`
    Any other VidTwin checkpoint becomes usable with `vidtwin weights import FILE`.
    """


@weights_command.command("list")
@_json_option
def list_command(as_json: bool) -> None:
    """Show the weights on this machine."""
    entries = weights.list_entries()
    if as_json:
        for entry in entries:
            print_json(_described(entry))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "digest", "parameters", "clip", "precision", "origin"):
        table.add_column(heading, no_wrap=heading != "origin", overflow="fold")
    for entry in entries:
        found = _described(entry)
        table.add_row(
            entry.name,
            entry.sha256[:12],
            f"{entry.metadata.parameters / 1e6:.1f} M",
            f"{found['frames']} of any size"
            if found["any_size"]
            else f"{found['frames']} x {found['height']} x {found['width']}",
            entry.metadata.compute_dtype,
            entry.origin,
        )
    width = None if sys.stdout.isatty() else 200
    Screen(width=width).print(table)


@weights_command.command("import", short_help="Make a checkpoint usable.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.safetensors",
    show_default="in the user's cache",
    help="File to write.",
)
@force_option()
@click.option("--name", metavar="NAME", show_default="the file's name", help="Name that the weights get.")
@click.option(
    "--clips",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="VIDEO",
    show_default="made-up clips",
    help="Video to calibrate the quantisation steps on. May be repeated.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    show_default="what the checkpoint says",
    help="Configuration of the network, as the released YAML has it in model.params.",
)
@click.option(
    "--storage",
    type=click.Choice(_STORAGES),
    show_default="float16",
    help="Type of the numbers in the file; float32 takes twice the bytes of the others.",
)
@click.option("--description", metavar="TEXT", default="", help="Description in a few words, kept in the file.")
@click.option(
    "--origin",
    metavar="TEXT",
    show_default="the checkpoint's digest",
    help="Origin of the weights, kept in the file.",
)
@device_option("Device to calibrate on")
@_output_options
def import_command(file: Path, as_json: bool, quiet: bool, **values: Any) -> None:
    """Make a checkpoint usable: .ckpt and .safetensors of VidTwin, or weights from another vidtwin.

    Only tensors are read; a checkpoint that would run code is refused. Weights that come without
    quantisation steps get them by calibration on --clips, which takes a few minutes on a CPU for weights
    of the released size.
    """
    options = built(ImportOptions, **{**values, "clips": tuple(values["clips"])})
    screen = console(quiet)
    with progress("import", screen) as reporter:
        result = import_checkpoint(file, options, reporter=reporter)
    _report(result, "imported", screen, as_json)


@weights_command.command("fetch", short_help="Download weights from the hub.")
@click.argument("name", metavar="[NAME|USER/REPO]", default="base")
@device_option("Device to calibrate on")
@_output_options
def fetch_command(name: str, device: str, as_json: bool, quiet: bool) -> None:
    """Download weights from the Hugging Face hub and import them: by NAME, or what `push` put into USER/REPO.

    Needs the extra: pip install "vidtwin-codec[hub]". An interrupted download goes on where it
    stopped. HF_ENDPOINT chooses a mirror.
    """
    screen = console(quiet)
    with progress("fetch", screen) as reporter:
        result = fetch(name, device=device, reporter=reporter)
    _report(result, "fetched", screen, as_json)


@weights_command.command("push", short_help="Upload weights to the hub.")
@click.argument("name")
@click.argument("repository", metavar="USER/REPO")
@click.option("--private", is_flag=True, help="Show a new repository to its owner alone.")
@_output_options
def push_command(name: str, repository: str, private: bool, as_json: bool, quiet: bool) -> None:
    """Put weights into a repository of the Hugging Face hub: the file, its SHA-256 and a model card.

    The repository is made if it is not there; a card that is there stays. `vidtwin weights fetch USER/REPO` gets the
    same bytes elsewhere, so that .vtw files made with them decode. Needs the extra "vidtwin-codec[hub]", and a
    token that may write (`hf auth login`, or HF_TOKEN).
    """
    screen = console(quiet)
    with _upload(screen) as reporter:
        done = push(name, repository, private=private, reporter=reporter)
    if as_json:
        print_json({"name": done.entry.name, "sha256": done.entry.sha256, "repository": repository, "url": done.url})
    else:
        Screen().print(f"pushed {done.entry.name}: {done.url}")
        screen.print(f"get it elsewhere: vidtwin weights fetch {repository}")


@weights_command.command("verify", short_help="Check weights against their digests.")
@click.argument("name", required=False)
@_json_option
def verify_command(name: str | None, as_json: bool) -> None:
    """Read weights again and compare them with their recorded digest: all, or those of NAME."""
    verdicts = weights.verify(name)
    for verdict in verdicts:
        if as_json:
            found = {"name": verdict.name, "path": str(verdict.path), "sha256": verdict.sha256}
            print_json({**found, "ok": verdict.problem is None, "problem": verdict.problem})
        else:
            Screen().print(f"{verdict.name}: {verdict.problem or f'intact, SHA-256 {verdict.sha256}'}")
    failed = [verdict.name for verdict in verdicts if verdict.problem is not None]
    if failed:
        raise VidtwinError(
            f"damaged weights: {', '.join(failed)}", "delete the files and import or install the weights again"
        )


@contextmanager
def _upload(screen: Screen) -> Iterator[Reporter]:
    """On a terminal the hub library's own bar, which knows how far an upload is; elsewhere ours."""
    if screen.is_terminal and output_state().progress == "auto" and not screen.quiet:
        yield silent_reporter(screen.print)
        return
    with without_bars(), progress("push", screen) as reporter:
        yield reporter


def _report(result: ImportResult, done: str, screen: Screen, as_json: bool) -> None:
    entry = result.entry
    for note in result.notes:
        screen.print(f"note: {note}")
    if as_json:
        print_json({**_described(entry), "notes": result.notes})
    else:
        Screen(quiet=screen.quiet).print(f"{done} {entry.name}: {entry.path}")
        screen.print(f"use it: vidtwin encode --weights {entry.name} in.mp4 out.vtw")


def _described(entry: weights.Entry) -> dict[str, Any]:
    metadata = entry.metadata
    return {
        "name": entry.name,
        "sha256": entry.sha256,
        "path": str(entry.path),
        "bytes": entry.path.stat().st_size,
        "embedded": entry.embedded,
        "parameters": metadata.parameters,
        "storage": metadata.storage,
        "compute_dtype": metadata.compute_dtype,
        "frames": metadata.config.get("frames"),
        "height": metadata.config.get("height"),
        "width": metadata.config.get("width"),
        "any_size": bool(metadata.config.get("any_grid")),
        "structure_channels": metadata.config.get("structure_channels"),
        "dynamics_channels": metadata.config.get("dynamics_channels"),
        "origin": entry.origin,
        "description": entry.description,
    }
