"""``vidtwin inspect``."""

from __future__ import annotations

from typing import Any

import click

from vidtwin_codec.cli.aliases import AliasedOption
from vidtwin_codec.cli.common import console, progress, reading_network_options
from vidtwin_codec.cli.output import force_option, progress_option, quiet_option
from vidtwin_codec.files import atomic_path, check_output
from vidtwin_codec.options import NetworkOptions
from vidtwin_codec.text import human_bytes, valid


@click.command("inspect")
@click.argument("source", metavar="SOURCE.vtw")
@click.option("-o", "--output", metavar="PAGE.html", required=True, help="Page to write.")
@force_option()
@click.option("--source", "video", metavar="VIDEO", help="Show frames of this video beside the decoded ones.")
@click.option(
    "--pictures",
    "frames",
    cls=AliasedOption,
    aliases=["--frames"],
    type=click.IntRange(1, 100),
    default=4,
    show_default=True,
    metavar="N",
    help="Frames to show, spread evenly over the video.",
)
@reading_network_options
@progress_option
@quiet_option
def inspect_command(
    source: str, output: str, frames: int, video: str | None, force: bool, quiet: bool, **choices: Any
) -> None:
    """Show what the latents of a .vtw file carry, on one HTML page that needs no network.

    Frames decoded from both parts, from structure alone and from dynamics alone; bits by clip and by channel; the
    latents as pictures.

    \b
    vidtwin inspect in.vtw -o in.html
    vidtwin inspect in.vtw --source in.mp4 -o in.html
    """
    check_output(output, source, force=force)
    if video is not None:
        check_output(output, video, force=force)
    screen = console(quiet)
    # torch is imported only now: help and wrong usage need not wait for it
    from vidtwin_codec.evaluation.report.latents import inspect_page

    with progress("inspect", screen) as reporter:
        page = inspect_page(source, frames, NetworkOptions(**choices), reporter, source=video)
    with atomic_path(output, force=force) as temporary:
        temporary.write_text(valid(page), encoding="utf-8")
        size = temporary.stat().st_size
    screen.print(f"{output}: {human_bytes(size)}")
