"""``vidtwin decode``."""

from __future__ import annotations

from typing import Any

import click

from vidtwin_codec.cli.common import (
    console,
    decoding_options,
    duration_option,
    output_options,
    print_json,
    progress,
    reading_network_options,
    refuse_mixed_stdout,
    start_option,
)
from vidtwin_codec.cli.output import force_option
from vidtwin_codec.cli.usage import built
from vidtwin_codec.decoding.output import check_target
from vidtwin_codec.media.formats import FORMATS
from vidtwin_codec.options import DecodeOptions
from vidtwin_codec.text import counted, human_bytes, human_time


@click.command("decode")
@click.argument("source", metavar="SOURCE.vtw")
@click.argument("output", metavar="OUTPUT")
@force_option()
@click.option(
    "--format",
    type=click.Choice(FORMATS),
    show_default="by OUTPUT's extension; mp4 for -",
    help="Format of OUTPUT.",
)
@decoding_options
@start_option("Time to begin at")
@duration_option("Length of the part that is decoded")
@reading_network_options
@click.option(
    "--audio",
    type=click.Choice(["copy", "none"]),
    default="copy",
    show_default=True,
    help="Audio track: copy keeps that of the .vtw, none leaves it out.",
)
@click.option("--no-audio", is_flag=True, hidden=True, help="Leave the audio out, as --audio none does.")
@output_options
def decode_command(
    source: str, output: str, audio: str, no_audio: bool, as_json: bool, quiet: bool, **choices: Any
) -> None:
    """Turn a .vtw file back into a video.

    OUTPUT's extension says what is written: .mp4, .m4v, .mov, .mkv, .webm, .gif, raw .y4m, .nut and .rgb, or numbered
    images such as frames_%04d.png (.jpg, .bmp, .ppm, .tif).
    SOURCE may be - for standard input. OUTPUT may be - for standard output, which gets frames as they are decoded:
    fragmented MP4, or what --format says.

    \b
    vidtwin decode in.vtw out.mp4
    vidtwin decode --start 1:30 --duration 10 in.vtw part.mp4
    vidtwin decode --recover damaged.vtw rest.mp4
    vidtwin decode in.vtw frames_%04d.png
    vidtwin decode --format y4m in.vtw - | x265 --y4m - -o out.hevc
    """
    refuse_mixed_stdout(output, as_json)
    choices["audio"] = audio == "copy" and not no_audio
    options = built(DecodeOptions, **choices)
    screen = console(quiet)
    check_target(output, source, options)
    # the network is loaded only now: help and wrong usage need not wait for it
    from vidtwin_codec.decoding.decode import decode

    with progress("decode", screen) as reporter:
        result = decode(source, output, options, reporter=reporter)
    if as_json:
        print_json(result.to_json())
    screen.print(
        f"{output}: {human_bytes(result.output_bytes)} from {human_bytes(result.vtw_bytes)}; "
        f"{result.width}x{result.height}, {counted(result.frames, 'frame')}; "
        f"{human_time(result.seconds)} on {result.device}, {result.frames / result.seconds:.1f} frames/s",
    )
