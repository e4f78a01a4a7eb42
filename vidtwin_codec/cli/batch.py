"""``vidtwin batch``."""

from __future__ import annotations

import contextlib
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from vidtwin_codec.batch.options import BatchOptions
from vidtwin_codec.batch.ray.cluster import RayOptions, check_address
from vidtwin_codec.batch.shards import Shard
from vidtwin_codec.cli.batch_output import BatchProgress, print_plan, print_summary
from vidtwin_codec.cli.common import (
    DECODING_OPTIONS,
    ENCODING_OPTIONS,
    audio_options,
    console,
    decoding_options,
    encoding_options,
    forget_set_weights,
    network_options,
    output_options,
    print_json,
    progress,
    refuse_several_targets,
)
from vidtwin_codec.cli.output import force_option
from vidtwin_codec.cli.usage import built
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.options import DecodeOptions, EncodeOptions, Reporter

NETWORK_OPTIONS = ("weights", "device", "precision", "batch", "postfilter")


def parse_shard(context: click.Context, parameter: click.Parameter, text: str | None) -> Shard | None:
    """``3/8``."""
    try:
        return None if text is None else Shard.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def parse_ray_address(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """``auto`` or HOST:PORT."""
    try:
        if text:
            check_address(text)
    except VidtwinError as error:
        raise click.BadParameter(f"{error.message}; {error.hint}") from None
    return text or None


@click.command("batch")
@click.argument("names", metavar="[SRC]... DST", nargs=-1, required=True)
@click.option("--decode", is_flag=True, help="Decode .vtw files to videos instead of encoding videos.")
@click.option(
    "--from-file",
    "lists",
    metavar="LIST",
    multiple=True,
    help="Take the files that LIST names, too, one a line; - is standard input. May be repeated.",
)
@click.option(
    "--root",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    show_default="each SRC",
    help="Folder below which files keep their place in DST.",
)
@click.option("--hidden", is_flag=True, help="Take hidden files and folders, too.")
@click.option("--extension", metavar="EXT", default=".mp4", show_default=True, help="Extension of decoded videos.")
@force_option("Replace outputs that no batch has made.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--measure", is_flag=True, help="Add PSNR to the report by decoding each .vtw, which is slower.")
@click.option(
    "--digest", is_flag=True, help="Tell changed sources by SHA-256 and not by size and time, which is slower."
)
@click.option(
    "--shard",
    metavar="I/N",
    callback=parse_shard,
    show_default="all",
    help="Part I of N parts of about equal duration, for job arrays.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 1024),
    metavar="N",
    show_default="by cores and memory",
    help="Files that are worked on at once. More takes more memory.",
)
@click.option(
    "--merge/--no-merge",
    default=None,
    show_default="on a GPU",
    help="Put clips of different files into one call of the network.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Engine: local works on this machine, ray on the machines of a Ray cluster.",
)
@click.option(
    "--ray-address",
    metavar="ADDRESS",
    callback=parse_ray_address,
    show_default="$RAY_ADDRESS, or a new cluster on this machine",
    help="Address of the Ray cluster, as HOST:PORT; auto is one that was started on this machine.",
)
@click.option(
    "--worker-cores",
    type=click.IntRange(1),
    metavar="N",
    show_default="4, or up to 8 beside a GPU",
    help="CPU cores of each Ray worker.",
)
@click.option(
    "--split-minutes",
    type=click.FloatRange(0),
    metavar="MIN",
    default=10,
    show_default=True,
    help="Length in minutes of the parts of long files that Ray workers encode; 0 keeps files whole.",
)
@encoding_options
@decoding_options
@network_options
@audio_options
@output_options
def batch_command(
    names: tuple[str, ...],
    decode: bool,
    lists: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    force: bool,
    **choices: Any,
) -> None:
    """Encode every video below SRC into the same tree below DST, or decode with --decode.

    SRC is a folder, a pattern in quotes, or a file; there may be several. All are looked at before work starts, but for
    those that take long, whose turn is last. One bad file does not stop the others. The same command again goes on
    where the last one stopped: what is whole and was made from the same source with the same options is skipped.
    DST/report.json and report.csv hold a line for every file.

    \b
    vidtwin batch videos/ packed/
    vidtwin batch --short-side 224 --measure 'clips/**/*.mp4' packed/
    vidtwin batch --decode packed/ back/
    vidtwin batch --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT videos/ packed/
    """
    *sources, destination = names
    if not sources and not lists:
        raise click.UsageError(f"no SRC before DST ({destination}): name what to work on, then the folder to write to")
    ray = _ray_choices(choices)
    options = _options(decode, force, ray, choices)
    screen = console(quiet)
    # torch is imported only now: help and wrong usage need not wait for it
    from vidtwin_codec.batch.rows import FAILED, LEFT
    from vidtwin_codec.batch.run import Batch

    with contextlib.ExitStack() as held:
        engine = None
        if ray is not None:
            from vidtwin_codec.batch.ray.engine import RayEngine

            engine = held.enter_context(RayEngine(destination, options, RayOptions(**ray), Reporter(said=screen.print)))
        batch = held.enter_context(Batch(destination, options, engine))
        with progress("batch", screen) as reporter:
            plan = batch.plan(sources, lists, reporter)
        for note in plan.notes:
            screen.print(note)
        if dry_run:
            print_plan(plan, as_json, quiet)
            if plan.failed:
                raise VidtwinError(f"{len(plan.failed)} of {len(batch.rows)} files cannot be worked on")
            return
        with contextlib.ExitStack() as stack:
            shown = stack.enter_context(BatchProgress(plan, screen, measured=options.measure))
            if as_json:
                for known in (*plan.skipped, *plan.failed):
                    print_json(known)
            try:
                for event in stack.enter_context(closing(batch.run(plan))):
                    row = shown.show(event)
                    if as_json and row is not None:
                        print_json(row)
            except KeyboardInterrupt:
                done = len(batch.rows) - batch.summary[LEFT]
                raise VidtwinError(
                    f"interrupted; {done} of {len(batch.rows)} files are done with, nothing is left half-written",
                    "run the same command again to go on",
                ) from None
        summary = batch.summary
        if as_json:
            print_json({"status": "summary", **summary})
        print_summary(batch, screen)
        if summary[FAILED]:
            raise VidtwinError(f"{summary[FAILED]} of {summary['files']} files failed", f"see {batch.report_path}")


def _ray_choices(choices: dict[str, Any]) -> dict[str, Any] | None:
    """Arguments of :class:`RayOptions`, taken out of ``choices``; None for another engine."""
    minutes = choices.pop("split_minutes")
    ray = {"address": choices.pop("ray_address"), "cores": choices.pop("worker_cores"), "split": 60 * minutes}
    if choices.pop("engine") == "ray":
        return ray
    context = click.get_current_context()
    for name in ("ray_address", "worker_cores", "split_minutes"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} works with --engine ray alone")
    return None


def _options(decode: bool, force: bool, ray: dict[str, Any] | None, choices: dict[str, Any]) -> BatchOptions:
    from vidtwin_codec.media.hwaccel import check_device  # only here: help need not wait for it

    context = click.get_current_context()
    refuse_several_targets(context)
    # decoding has one choice about sound: to leave it out
    useless = set(ENCODING_OPTIONS) - {"audio"} if decode else {*DECODING_OPTIONS, "extension"}
    for name in sorted(useless):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            why = "is for encoding; leave it out with --decode" if decode else "is for decoding; add --decode"
            raise click.UsageError(f"--{name.replace('_', '-')} {why}")
    if decode:
        forget_set_weights(context, choices)
    network = {name: choices.pop(name) for name in NETWORK_OPTIONS}
    encoding = {name: choices.pop(name) for name in ENCODING_OPTIONS}
    decoding = {name: choices.pop(name) for name in DECODING_OPTIONS}
    if decode and choices["measure"]:
        raise click.UsageError("--measure is for encoding; leave it out with --decode")
    if decode:
        sound = encoding["audio"] != "none"
        file_options: Any = built(DecodeOptions, **network, **decoding, audio=sound, force=force)
    else:
        file_options = built(EncodeOptions, **network, **encoding, force=force)
        if ray is None:  # Ray's workers have devices of their own
            check_device(file_options.hwaccel)
    return built(BatchOptions, file_options=file_options, **choices)
