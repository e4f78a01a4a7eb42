"""``vidtwin encode``."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from vidtwin_codec.cli.common import (
    audio_options,
    console,
    encoding_options,
    network_options,
    output_options,
    print_json,
    progress,
    refuse_mixed_stdout,
    refuse_several_targets,
)
from vidtwin_codec.cli.output import force_option
from vidtwin_codec.cli.usage import built
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import check_output, is_pipe
from vidtwin_codec.options import EncodeOptions, EncodeResult
from vidtwin_codec.options.target import Achieved
from vidtwin_codec.text import counted, human_bytes, human_ratio, human_time


@click.command("encode")
@click.argument("source", metavar="SOURCE")
@click.argument("output", metavar="OUTPUT.vtw", required=False)
@force_option()
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="Encode N pieces of ten seconds alone, and print the size, time and PSNR to expect; nothing is written.",
)
@encoding_options
@network_options
@audio_options
@output_options
def encode_command(
    source: str, output: str | None, sample: int | None, as_json: bool, quiet: bool, **choices: Any
) -> None:
    """Compress a video to a .vtw file.

    SOURCE is a video file, an image sequence such as frames_%04d.png, or - for standard input.
    OUTPUT may be - for standard output. What comes down a pipe as Matroska, MPEG-TS, fragmented MP4 or YUV4MPEG2 is
    encoded as it comes; anything else is stored first. In a .vtw audio stands before the pictures: with audio from a
    pipe, OUTPUT is written at the end. Names that begin with a dash go after --.

    \b
    vidtwin encode in.mp4 out.vtw
    vidtwin encode --short-side 224 --quality 40 in.mp4 small.vtw
    vidtwin encode --target-size 5MB in.mp4 fits.vtw
    vidtwin encode --sample 5 in.mp4
    """
    if sample is not None:
        _estimate(source, sample, as_json, quiet, choices)
        return
    if output is None:
        raise click.UsageError("Missing argument 'OUTPUT.vtw'.")
    refuse_mixed_stdout(output, as_json)
    refuse_several_targets(click.get_current_context())
    options = built(EncodeOptions, **choices)
    check_output(output, source, force=choices["force"])
    refuse_other_suffix(output, choices["force"])
    screen = console(quiet)
    # the network is loaded only now: help and wrong usage need not wait for it
    from vidtwin_codec.encoding.encode import encode

    with progress("encode", screen) as reporter:
        result = encode(source, output, options, reporter=reporter)
    if as_json:
        print_json(result.to_json())
    if result.target is not None:
        screen.print(_chosen(result, result.target))
    audio = f", {human_bytes(result.audio_bytes)} of them audio" if result.audio_bytes else ""
    to_source = "" if result.ratio_to_source is None else f"{human_ratio(result.ratio_to_source)} to the source, "
    screen.print(
        f"{output}: {human_bytes(result.vtw_bytes)}{audio}; {to_source}"
        f"latents {human_ratio(result.compression_ratio)} to raw RGB, {result.bits_per_pixel:.4f} bits per pixel; "
        f"{result.width}x{result.height}, {counted(result.frames, 'frame')} at {_rate(result.fps)} fps; "
        f"{human_time(result.seconds)} on {result.device}, {result.frames / result.seconds:.1f} frames/s",
    )


def _estimate(source: str, pieces: int, as_json: bool, quiet: bool, choices: dict[str, Any]) -> None:
    """Say what the video would come to; an output that is named all the same stays as it is."""
    options = built(EncodeOptions, **choices)
    if options.target is not None:
        raise click.UsageError(
            f"--sample estimates one quality; give --quality instead of --target-{options.target.name}"
        )
    screen = console(quiet)
    from vidtwin_codec.evaluation.sample import estimate

    with progress("sample", screen) as reporter:
        found = estimate(source, options, pieces=pieces, reporter=reporter)
    if as_json:
        print_json(found.to_json())
    whole = found.sampled >= 1
    taken = (
        "the whole video" if whole else f"{counted(found.pieces, 'piece')}, {100 * found.sampled:.2g} % of the video"
    )
    audio = f" ({human_bytes(found.audio_bytes)} of them audio)" if found.audio_bytes else ""
    size, psnr = (
        f" ± {shown}" if error else ""
        for error, shown in (
            (found.video_bytes_error, human_bytes(found.video_bytes_error or 0)),
            (found.psnr_error, f"{found.psnr_error or 0:.2f}"),
        )
    )
    about = "" if whole else "about "
    screen.print(
        f"{source}: {about}{human_bytes(found.vtw_bytes)}{size}{audio}, {found.kbps:.4g} kbit/s, "
        f"{found.psnr:.2f}{psnr} dB, in about {human_time(found.seconds)} on {found.device}; "
        f"from {taken}; nothing is written"
    )
    if found.psnr_error is None:
        screen.print("one piece alone does not say how far this is off; take more")
    elif not whole:
        screen.print(
            "± is one standard error, from how the pieces differ; a scene that none of them shows may differ more"
        )


def refuse_other_suffix(output: str, force: bool) -> None:
    """Refuse to give a .vtw the name of a video or of anything else, which no player would open.

    Raises:
        VidtwinError: the name does not end in .vtw, it is no pipe or device, and ``force`` is not set.
    """
    path = Path(output)
    # folders are refused by what checks outputs; devices and named pipes have the names they have
    if force or is_pipe(output) or path.suffix.lower() == ".vtw" or (path.exists() and not path.is_file()):
        return
    raise VidtwinError(
        f"{output}: encode writes .vtw files, and this name does not end in .vtw",
        f"name it {path.with_suffix('.vtw')}, or keep the name with --force",
    )


def _chosen(result: EncodeResult, achieved: Achieved) -> str:
    target = achieved.target
    side = "native size" if result.short_side is None else f"short side {result.short_side}"
    error = f" ± {achieved.standard_error:.2f}" if achieved.standard_error else ""
    more = "; a higher quality would gain nothing" if achieved.ceiling else ""
    return f"target {target}: {target.show(achieved.value)}{error} with quality {result.quality:g}, {side}{more}"


def _rate(fps: Fraction) -> str:
    return f"{float(fps):.3f}".rstrip("0").rstrip(".")
