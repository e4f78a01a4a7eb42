"""``vidtwin import``: latents. (``vidtwin weights import`` is for networks.)"""

from __future__ import annotations

from typing import Any

import click

from vidtwin_codec.cli.common import console, level_option, output_options, print_json, progress, quality_option
from vidtwin_codec.cli.output import force_option
from vidtwin_codec.latents.importing import Imported, ImportLatentsOptions, import_latents
from vidtwin_codec.text import counted, human_bytes


@click.command("import")
@click.argument("source", metavar="LATENTS.safetensors|.npz")
@click.argument("output", metavar="OUTPUT.vtw|FOLDER")
@force_option("Replace existing outputs.")
@click.option(
    "--like",
    metavar="FILE.vtw",
    show_default="as the latents say",
    help="File to take size, rate, weights and audio from. Needed for tensors that vidtwin did not export.",
)
@quality_option(
    show_default="the steps that come with the latents",
    help="Quality to quantise for: 0 makes the smallest file, 100 loses nothing visible. Higher is better and larger.",
)
@level_option
@output_options
def import_command(source: str, output: str, as_json: bool, quiet: bool, **choices: Any) -> None:
    """Make .vtw files of latents: what `vidtwin export` wrote, as it was or changed, or what a model generated.

    Untouched latents come back symbol for symbol. Others go to the nearest symbol; any number of clips will do. OUTPUT
    is a folder where the source holds several videos. (Networks are imported with `vidtwin weights import`.)

    \b
    vidtwin import latents.safetensors out.vtw
    vidtwin import generated.npz --like any.vtw out.vtw
    """
    screen = console(quiet)
    with progress("import", screen) as reporter:
        done = import_latents(source, output, ImportLatentsOptions(**choices), reporter=reporter)
    for one in done:
        if as_json:
            values = {
                "frames": one.frames,
                "clips": one.clips,
                "vtw_bytes": one.vtw_bytes,
                "audio_bytes": one.audio_bytes,
            }
            print_json({"source": source, "output": one.output, **values})
        extent = f"{counted(one.frames, 'frame')}, {counted(one.clips, 'clip')}"
        screen.print(f"{one.output}: {human_bytes(one.vtw_bytes)}; {extent}; {_sound(one, choices['like'])}")


def _sound(made: Imported, like: str | None) -> str:
    """What has become of the sound."""
    if made.audio_bytes:
        return f"{human_bytes(made.audio_bytes)} of sound from {like}"
    return "no sound: tensors have none" + (f", and {like} neither" if like else "; --like FILE.vtw takes a file's")
