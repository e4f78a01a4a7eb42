"""``vidtwin compare``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vidtwin_codec.cli.common import (
    console,
    network_options,
    output_options,
    parse_seconds,
    print_json,
    progress,
    start_option,
)
from vidtwin_codec.cli.output import force_option
from vidtwin_codec.cli.usage import built
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.compare.codecs import CODECS, PRESETS, Gop
from vidtwin_codec.evaluation.compare.options import DEFAULT_SECONDS, CompareOptions
from vidtwin_codec.files import atomic_path, check_output, is_pipe
from vidtwin_codec.text import to_json, valid

GOPS = {"both": tuple(Gop), "sequence": (Gop.SEQUENCE,), "clip": (Gop.CLIP,)}
_DEFAULTS = CompareOptions()


def _side(text: str) -> int | None:
    return None if text == "native" else int(text)


def _several(convert: Callable[[str], Any], example: str) -> Callable[[click.Context, click.Parameter, str], Any]:
    """A callback for an option that takes a list with commas."""

    def parse(context: click.Context, parameter: click.Parameter, text: str) -> tuple[Any, ...]:
        try:
            return tuple(convert(part.strip()) for part in text.split(",") if part.strip())
        except ValueError:
            raise click.BadParameter(f"{text!r} is not a list such as {example}") from None

    return parse


def _shown(values: tuple[Any, ...]) -> str:
    return ",".join(
        "native" if value is None else f"{value:g}" if isinstance(value, float) else str(value) for value in values
    )


@click.command("compare")
@click.argument("sources", metavar="SOURCES...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="REPORT.html", required=True, help="Page to write.")
@click.option("--also-json", metavar="FILE", help="Write all numbers to this file, too, as JSON.")
@force_option("Replace existing outputs.")
@click.option(
    "--work",
    metavar="FOLDER",
    show_default="beside the report, until it is complete",
    help="Folder that keeps finished measurements, so that later comparisons need not repeat them.",
)
@click.option(
    "--against",
    metavar="CODECS",
    default=_shown(_DEFAULTS.against),
    show_default=True,
    callback=_several(str, "x264,x265"),
    help=f"Codecs to compare with, with commas: {', '.join(CODECS)}.",
)
@click.option(
    "--preset",
    "presets",
    metavar="PRESETS",
    default=_shown(_DEFAULTS.presets),
    show_default=True,
    callback=_several(str, "medium,slow"),
    help=f"Speed presets of those codecs, with commas: {', '.join(PRESETS)}.",
)
@click.option(
    "--gop",
    type=click.Choice(list(GOPS)),
    default="both",
    show_default=True,
    help="Key frames of those codecs: one GOP for the sequence, closed ones as long as a clip, or both.",
)
@click.option(
    "--qualities",
    metavar="LIST",
    default=_shown(_DEFAULTS.qualities),
    show_default=True,
    callback=_several(float, "25,50,75,100"),
    help="Qualities of vidtwin, 0 to 100, with commas.",
)
@click.option(
    "--short-sides",
    metavar="LIST",
    default=_shown(_DEFAULTS.short_sides),
    show_default=True,
    callback=_several(_side, "native,224"),
    help="Short sides of vidtwin in pixels, with commas; each is coded at every quality.",
)
@click.option(
    "--camera/--no-camera",
    default=_DEFAULTS.camera,
    show_default=True,
    help="Follow the camera, so that what a pan shows stands still for the network and takes fewer bytes.",
)
@start_option("Part of each source to skip at its start")
@click.option(
    "--duration",
    "--seconds",
    "seconds",
    type=parse_seconds,
    metavar="TIME",
    default=DEFAULT_SECONDS,
    show_default=True,
    help="Length of the part of each source that is compared, in seconds or as [HH:]MM:SS.",
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    metavar="N",
    show_default="as long as --duration says",
    help="Frames of each source that are compared.",
)
@network_options
@output_options
def compare_command(
    sources: tuple[str, ...],
    output: str,
    also_json: str | None,
    gop: str,
    work: str | None,
    force: bool,
    as_json: bool,
    quiet: bool,
    **choices: Any,
) -> None:
    """Compare vidtwin with conventional codecs on the same frames, at the same bytes.

    SOURCES are videos or folders of them. The report is one HTML page that needs no network: rate-distortion curves,
    Bjøntegaard deltas, speeds, and frames side by side. It takes minutes a clip on a CPU; docs/COMPARE.md says what is
    measured and how. After an interruption, the same command goes on with what is still missing.

    \b
    vidtwin compare clips/ -o report.html
    vidtwin compare a.mp4 --against x265 --preset slow --frames 64 -o report.html --also-json report.json
    """
    options = built(CompareOptions, gops=GOPS[gop], **choices)
    if also_json == output:
        raise click.UsageError(f"the report and its numbers cannot both go to {output}")
    if as_json and "-" in (output, also_json):
        raise click.UsageError("--json and a file of - would mix on standard output; name a file")
    for target in filter(None, (output, also_json)):
        check_output(target, force=force)
    screen = console(quiet)
    # torch is imported only now: help and wrong usage need not wait for it
    from vidtwin_codec.evaluation.compare.bd import all_numbers
    from vidtwin_codec.evaluation.compare.run import compare
    from vidtwin_codec.evaluation.compare.sources import find_videos
    from vidtwin_codec.evaluation.compare.work_folder import WorkFolder
    from vidtwin_codec.evaluation.report import render

    videos = find_videos(sources)
    # beside the report unless that is a pipe, whose run cannot be told from another
    kept = WorkFolder(Path(work) if work else None if is_pipe(output) else Path(f"{output}.work"))
    try:
        with progress("compare", screen) as reporter:
            result = compare(videos, options, work=kept, reporter=reporter)
        _write(output, render(result), force)
    except KeyboardInterrupt:
        if kept.folder is None:
            raise
        raise VidtwinError(
            f"interrupted; what is finished is kept in {kept.folder}", "run the same command again to go on from there"
        ) from None
    if as_json:
        print_json(all_numbers(result))
    if also_json:
        _write(also_json, to_json(all_numbers(result), indent=1) + "\n", force)
    screen.print(f"{output}: {len(result.clips)} of {len(videos)} sources compared")
    if result.failed:
        raise VidtwinError(
            f"{len(result.failed)} of {len(videos)} sources could not be compared",
            "the report names them" + (f"; the rest is kept in {kept.folder} for another try" if kept.folder else ""),
        )
    if not work:
        kept.remove()


def _write(target: str, text: str, force: bool) -> None:
    with atomic_path(target, force=force) as temporary:
        temporary.write_text(valid(text), encoding="utf-8")
