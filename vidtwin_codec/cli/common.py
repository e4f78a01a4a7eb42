"""Options, progress and output that several verbs share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from vidtwin_codec.cli.output import json_option, print_json, progress_option, quiet_option
from vidtwin_codec.cli.progress import progress
from vidtwin_codec.cli.screen import Screen, console
from vidtwin_codec.cli.streams import check_stdout
from vidtwin_codec.cli.usage import parse_device
from vidtwin_codec.coding import DEFAULT_LEVEL, DEFAULT_QUALITY
from vidtwin_codec.coding.effort import DEFAULT_EFFORT, MAX_EFFORT
from vidtwin_codec.options import AUDIO_MODES, DEFAULT_OVERLAP
from vidtwin_codec.options.target import NAMES, parse_size

# shared with all verbs, which take them from here
__all__ = ["Screen", "console", "print_json", "progress"]

F = TypeVar("F", bound=Callable[..., Any])


def parse_rate(text: str) -> Fraction:
    """A frame rate: a whole number, a decimal or a fraction such as 30000/1001."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise click.BadParameter(f"{text!r} is not a frame rate; try 25 or 30000/1001") from None
    if rate <= 0:
        raise click.BadParameter(f"{text} is not a positive frame rate")
    return rate


def parse_seconds(text: str | float) -> float:
    """A time: seconds, or [HH:]MM:SS[.fraction]."""
    try:
        total = 0.0
        for part in str(text).split(":"):
            total = total * 60 + float(part)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a time; try 12.5 or 1:02:03.5") from None
    if not 0 <= total < float("inf"):
        raise click.BadParameter(f"{text} is not a time to go to")
    return total


def parse_bytes(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """A size such as 700k, 1.5MB or 4MiB."""
    try:
        return None if text is None else parse_size(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


TARGETS = tuple(f"target_{name}" for name in NAMES)
ENCODING_OPTIONS = (
    "quality",
    "short_side",
    *TARGETS,
    "fps",
    "start",
    "duration",
    "audio",
    "audio_kbps",
    "overlap",
    "effort",
    "camera",
    "level",
    "allow_playlists",
)
_POSITIVE = click.FloatRange(0, min_open=True)


def refuse_several_targets(context: click.Context) -> None:
    """Quality and targets exclude each other.

    Raises:
        UsageError: two of them are on the command line.
    """
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("quality", *TARGETS)
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if len(given) > 1:
        raise click.UsageError(f"{given[0]} and {given[1]} exclude each other; choose one")


def encoding_options(function: F) -> F:
    """What goes into a .vtw: :data:`ENCODING_OPTIONS`."""
    for option in (
        click.option(
            "--allow-playlists",
            is_flag=True,
            help="Take HLS, DASH, ffconcat and IMF playlists, which read other local files.",
        ),
        click.option(
            "--level", type=click.IntRange(1, 22), default=DEFAULT_LEVEL, show_default=True, help="zstd level."
        ),
        click.option(
            "--camera/--no-camera",
            default=True,
            show_default=True,
            help="Follow the camera: what a pan shows stands still for the network.",
        ),
        click.option(
            "--effort",
            type=click.IntRange(0, MAX_EFFORT),
            default=DEFAULT_EFFORT,
            show_default=True,
            help="0 rounds, 1 takes a little more time for fewer bytes.",
        ),
        click.option(
            "--overlap",
            type=click.IntRange(0),
            default=DEFAULT_OVERLAP,
            show_default=True,
            help="Pixels neighbour tiles share.",
        ),
        click.option("--audio-kbps", type=click.IntRange(6, 510), help="Opus bit rate (default: by channels)."),
        click.option(
            "--audio",
            type=click.Choice(AUDIO_MODES),
            default="opus",
            show_default=True,
            help="Opus at a low rate, the source's stream as it is, or none.",
        ),
        click.option(
            "--duration", type=parse_seconds, metavar="TIME", help="Take only so much of the source (default: all)."
        ),
        click.option("--start", type=parse_seconds, default=0.0, metavar="TIME", help="Skip so much of the source."),
        click.option(
            "--fps", type=parse_rate, metavar="RATE", help="Resample to this frame rate; of images, their rate."
        ),
        click.option(
            "--short-side",
            type=click.IntRange(1),
            metavar="PIXELS",
            help="Scale the shorter side down first (default: no; with a target, what serves it best).",
        ),
        click.option(
            "--target-vmaf",
            type=click.FloatRange(0, 100, min_open=True),
            metavar="VMAF",
            help="... for this VMAF, 0 to 100; needs an ffmpeg with libvmaf.",
        ),
        click.option("--target-psnr", type=_POSITIVE, metavar="DB", help="Choose the quality for this PSNR of RGB."),
        click.option(
            "--target-ratio", type=_POSITIVE, metavar="N", help="... for raw RGB N times as large as the latents."
        ),
        click.option(
            "--target-size",
            callback=parse_bytes,
            metavar="BYTES",
            help="... for a file no larger than this: 700k, 1.5MB, 4MiB.",
        ),
        click.option(
            "--target-kbps", type=_POSITIVE, metavar="KBPS", help="... for this many kilobits a second, sound included."
        ),
        click.option(
            "-Q",
            "--quality",
            type=click.FloatRange(0, 100),
            default=DEFAULT_QUALITY,
            show_default=True,
            help="0 smallest, 100 no visible loss from quantisation.",
        ),
    ):
        function = option(function)
    return function


def video_options(function: F) -> F:
    """How a decoded video is written: ``--codec --crf --preset --pix-fmt --lossless``."""
    for option in (
        click.option("--lossless", is_flag=True, help="Store the decoded frames exactly, for measuring."),
        click.option("--pix-fmt", help="Pixel format of the output, by ffmpeg's name (default: yuv420p)."),
        click.option("--preset", help="Speed preset of that encoder."),
        click.option("--crf", type=click.FloatRange(0, 63), help="Quality of that encoder, lower is better."),
        click.option(
            "--codec", default="auto", show_default=True, help="ffmpeg's name of the video encoder; auto is H.264."
        ),
    ):
        function = option(function)
    return function


DECODING_OPTIONS = ("only", "coded_size", "recover", "codec", "crf", "preset", "pix_fmt", "lossless")


def decoding_options(function: F) -> F:
    """What of a .vtw becomes a video, and how: :data:`DECODING_OPTIONS`."""
    function = video_options(function)
    for option in (
        click.option("--recover", is_flag=True, help="Decode what is whole in a damaged file."),
        click.option("--coded-size", is_flag=True, help="Keep the size the network saw; do not scale back."),
        click.option("--only", type=click.Choice(["structure", "dynamics"]), help="Decode one branch alone."),
    ):
        function = option(function)
    return function


def network_options(function: F) -> F:
    """``--weights --device --precision --batch``."""
    return _network_options(function, "VIDTWIN_WEIGHTS")


def reading_network_options(function: F) -> F:
    """The same for what reads .vtw files: these say which weights they need, and the environment does not."""
    return _network_options(function, None)


def forget_set_weights(context: click.Context, choices: dict[str, Any]) -> None:
    """Leave the weights that the environment names to verbs that encode, in one that turned out to read .vtw files."""
    if context.get_parameter_source("weights") is ParameterSource.ENVIRONMENT:
        choices["weights"] = None


def device_option(help_text: str) -> Callable[[F], F]:
    """``--device``, with ``VIDTWIN_DEVICE`` for those who set it once."""
    return click.option(
        "--device",
        metavar="auto|cpu|cuda|cuda:N|mps",
        default="auto",
        show_default=True,
        envvar="VIDTWIN_DEVICE",
        show_envvar=True,
        callback=parse_device,
        help=help_text,
    )


def _network_options(function: F, weights_variable: str | None) -> F:
    for option in (
        click.option("--batch", type=click.IntRange(1, 4096), help="Tiles at once (default: from memory)."),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "tf32", "bfloat16"]),
            default="auto",
            show_default=True,
            help="Arithmetic of the network.",
        ),
        device_option("Where to run."),
        click.option(
            "--weights",
            metavar="NAME|FILE",
            envvar=weights_variable,
            show_envvar=True,
            help="Network weights: a name, a file or a digest.",
        ),
    ):
        function = option(function)
    return function


def output_options(function: F) -> F:
    """``--json --progress --quiet``."""
    for option in (
        quiet_option,
        progress_option,
        json_option(),
    ):
        function = option(function)
    return function


def refuse_mixed_stdout(output: str, as_json: bool) -> None:
    """``--json`` and a file on standard output would be written over each other."""
    if as_json and output in ("-", "/dev/stdout"):
        raise click.UsageError(f"--json and an output of {output} would mix on standard output; name a file")
    if output == "-" and sys.stdout.isatty():
        raise click.UsageError("refusing to write a binary file to the terminal; redirect standard output")
    if output == "-":
        check_stdout()
