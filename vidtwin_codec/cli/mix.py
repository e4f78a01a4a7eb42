"""``vidtwin mix``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vidtwin_codec.cli.aliases import AliasedOption
from vidtwin_codec.cli.common import (
    coded_size_option,
    console,
    duration_option,
    output_options,
    print_json,
    progress,
    reading_network_options,
    refuse_mixed_stdout,
    start_option,
    video_options,
)
from vidtwin_codec.cli.output import force_option
from vidtwin_codec.cli.usage import built
from vidtwin_codec.latents.mixing import LENGTHS, SOUNDS, MixOptions, mix, mix_to_vtw
from vidtwin_codec.options import DecodeOptions
from vidtwin_codec.text import counted, human_bytes, human_time


@click.command("mix")
@click.argument("structure", metavar="STRUCTURE.vtw")
@click.argument("dynamics", metavar="DYNAMICS.vtw")
@click.argument("output", metavar="OUTPUT.mp4")
@force_option()
@click.option(
    "--length",
    type=click.Choice(LENGTHS),
    default="shortest",
    show_default=True,
    help="Length of the output: that of one file, or of the shorter one; the other starts again when it ends.",
)
@video_options
@coded_size_option
@start_option("Time in the mixture to begin at")
@duration_option("Length of the part that is decoded")
@reading_network_options
@click.option(
    "--audio",
    "sound",
    cls=AliasedOption,
    aliases=["--sound"],
    type=click.Choice(SOUNDS),
    default="none",
    show_default=True,
    help="Audio track: that of one file, or none.",
)
@output_options
def mix_command(
    structure: str,
    dynamics: str,
    output: str,
    length: Any,
    sound: Any,
    as_json: bool,
    quiet: bool,
    **choices: Any,
) -> None:
    """Decode the structure (content, slow motion) of one .vtw file with the dynamics (fast local motion) of another.

    Both must have been made with the same weights. Size comes from the first, frame rate from the second; where frames
    have other numbers of tiles, each tile gets the dynamics of the nearest (whole frames must be of one size). OUTPUT
    may be - for standard output (as MP4); if it ends in .vtw, the mixture is kept as one, without running the network.

    \b
    vidtwin mix face.vtw talking.vtw out.mp4
    vidtwin mix --length dynamics face.vtw talking.vtw mixture.vtw
    """
    refuse_mixed_stdout(output, as_json)
    screen = console(quiet)
    options, decoding = MixOptions(length, sound), built(DecodeOptions, **choices)
    if Path(output).suffix.lower() == ".vtw":
        if choices["start"] or choices["duration"] or choices["coded_size"]:
            raise click.UsageError(
                "--start, --duration and --coded-size are for decoding; a .vtw keeps the whole mixture"
            )
        with progress("mix", screen) as reporter:
            force = choices["force"]
            counts = mix_to_vtw(structure, dynamics, output, options, force=force, warned=reporter.warned)
        if as_json:
            values = {"frames": counts.frames, "vtw_bytes": counts.vtw_bytes}
            print_json({"structure": structure, "dynamics": dynamics, "output": output, **values})
        screen.print(f"{output}: {human_bytes(counts.vtw_bytes)}; {counted(counts.frames, 'frame')}")
        return
    with progress("mix", screen) as reporter:
        result = mix(structure, dynamics, output, options, decoding, reporter=reporter)
    if as_json:
        values = result.to_json()
        del values["source"], values["vtw_bytes"]  # of the mixture, which is not kept
        print_json({"structure": structure, "dynamics": dynamics, **values})
    screen.print(
        f"{output}: {human_bytes(result.output_bytes)}; {result.width}x{result.height}, "
        f"{counted(result.frames, 'frame')}; {human_time(result.seconds)} on {result.device}, "
        f"{result.frames / result.seconds:.1f} frames/s",
    )
