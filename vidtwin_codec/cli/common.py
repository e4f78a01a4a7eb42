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
from vidtwin_codec.cli.usage import parse_device, parse_hwaccel
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
        raise click.BadParameter(f"{text} is not a time of 0 seconds or more")
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
    "hwaccel",
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


def _applied(function: F, *options: Callable[[F], F]) -> F:
    """Add options, which help lists in this order."""
    for option in reversed(options):
        function = option(function)
    return function


def start_option(help: str) -> Callable[[F], F]:
    """``--start``."""
    return click.option(
        "--start", type=parse_seconds, metavar="TIME", default=0.0, show_default=True, help=help + _TIME
    )


def duration_option(help: str) -> Callable[[F], F]:
    """``--duration``."""
    return click.option("--duration", type=parse_seconds, metavar="TIME", show_default="to the end", help=help + _TIME)


_TIME = ", in seconds or as [HH:]MM:SS."


def quality_option(**settings: Any) -> Callable[[F], F]:
    """``--quality``."""
    return click.option("-Q", "--quality", type=click.FloatRange(0, 100), metavar="Q", **settings)


def level_option(function: F) -> F:
    """``--level``."""
    return click.option(
        "--level",
        type=click.IntRange(1, 22),
        metavar="N",
        default=DEFAULT_LEVEL,
        show_default=True,
        help="Compression level of zstd. Higher is smaller and slower.",
    )(function)


def encoding_options(function: F) -> F:
    """What goes into a .vtw, but for audio: :data:`ENCODING_OPTIONS`."""
    return _applied(
        function,
        click.option(
            "--allow-playlists",
            is_flag=True,
            help="Accept HLS, DASH, ffconcat and IMF playlists as input, which make ffmpeg read other local files.",
        ),
        click.option(
            "--hwaccel",
            metavar="NAME",
            default="none",
            show_default=True,
            envvar="VIDTWIN_HWACCEL",
            show_envvar=True,
            callback=parse_hwaccel,
            help="Hardware that decodes the source: none, auto, or what `ffmpeg -hwaccels` lists, such as cuda; auto "
            "is what works here.",
        ),
        quality_option(
            default=DEFAULT_QUALITY,
            show_default=True,
            help="Quality: 0 makes the smallest file, 100 loses nothing visible by quantisation. Higher is better and "
            "larger.",
        ),
        click.option(
            "--target-kbps",
            type=_POSITIVE,
            metavar="KBPS",
            help="Choose the quality for this bit rate in kilobits a second, audio included.",
        ),
        click.option(
            "--target-size",
            callback=parse_bytes,
            metavar="BYTES",
            help="Choose the highest quality whose file is no larger than this, such as 700k, 1.5MB or 4MiB.",
        ),
        click.option(
            "--target-ratio",
            type=_POSITIVE,
            metavar="N",
            help="Choose the quality for raw RGB N times as large as the latents. Higher is smaller.",
        ),
        click.option(
            "--target-psnr",
            type=_POSITIVE,
            metavar="DB",
            help="Choose the quality for this PSNR of RGB in dB. Higher is better and larger.",
        ),
        click.option(
            "--target-vmaf",
            type=click.FloatRange(0, 100, min_open=True),
            metavar="VMAF",
            help="Choose the quality for this VMAF. Higher is better and larger. Needs an ffmpeg with libvmaf.",
        ),
        click.option(
            "--short-side",
            type=click.IntRange(1),
            metavar="PIXELS",
            show_default="the source's; with a target, what serves it best",
            help="Shorter side that frames are scaled down to before they are coded. Smaller is faster and takes fewer "
            "bytes.",
        ),
        click.option(
            "--fps",
            type=parse_rate,
            metavar="RATE",
            show_default="the source's; 25 for images",
            help="Frame rate to resample to, such as 25 or 30000/1001; of images, the rate they have.",
        ),
        click.option(
            "--effort",
            type=click.IntRange(0, MAX_EFFORT),
            metavar="N",
            default=DEFAULT_EFFORT,
            show_default=True,
            help="Effort in choosing symbols: 0 rounds, 1 takes a little more time for fewer bytes.",
        ),
        click.option(
            "--camera/--no-camera",
            default=True,
            show_default=True,
            help="Follow the camera, so that what a pan shows stands still for the network and takes fewer bytes.",
        ),
        click.option(
            "--overlap",
            type=click.IntRange(0),
            metavar="PIXELS",
            default=DEFAULT_OVERLAP,
            show_default=True,
            help="Pixels that neighbouring tiles share. More hides seams better and is slower.",
        ),
        level_option,
        start_option("Part of the source to skip at its start"),
        duration_option("Length of the part of the source that is taken"),
    )


def audio_options(function: F) -> F:
    """``--audio --audio-kbps``."""
    return _applied(
        function,
        click.option(
            "--audio",
            type=click.Choice(AUDIO_MODES),
            default="opus",
            show_default=True,
            help="Audio track: opus codes it at a low rate, copy keeps the source's stream, none leaves it out.",
        ),
        click.option(
            "--audio-kbps",
            type=click.IntRange(6, 510),
            metavar="KBPS",
            show_default="32 for mono, 48 for stereo",
            help="Bit rate of Opus in kilobits a second. Higher is better and larger.",
        ),
    )


def video_options(function: F) -> F:
    """How a decoded video is written: ``--codec --crf --preset --pix-fmt --lossless``."""
    return _applied(
        function,
        click.option(
            "--codec",
            metavar="NAME",
            default="auto",
            show_default=True,
            help="Video encoder of the output, by ffmpeg's name; auto is what suits its format, mostly H.264.",
        ),
        click.option(
            "--crf",
            type=click.FloatRange(0, 63),
            metavar="N",
            show_default="by the encoder; 14 for H.264",
            help="Constant rate factor of the video encoder. Lower is better and larger.",
        ),
        click.option(
            "--preset",
            metavar="NAME",
            show_default="by the encoder; veryfast for H.264",
            help="Speed preset of the video encoder, by its own names. Slower makes smaller files.",
        ),
        click.option(
            "--pix-fmt",
            metavar="NAME",
            show_default="yuv420p",
            help="Pixel format of the output, by ffmpeg's name.",
        ),
        click.option(
            "--lossless", is_flag=True, help="Store the decoded frames exactly, for measuring. Makes large files."
        ),
    )


DECODING_OPTIONS = ("only", "coded_size", "recover", "codec", "crf", "preset", "pix_fmt", "lossless")
only_option = click.option(
    "--only",
    type=click.Choice(["structure", "dynamics"]),
    show_default="both",
    help="Branch to decode alone.",
)
coded_size_option = click.option(
    "--coded-size", is_flag=True, help="Keep the size that the network saw; do not scale back to the source's."
)
recover_option = click.option(
    "--recover", is_flag=True, help="Decode what is whole in a damaged file, and leave out the rest."
)


def decoding_options(function: F) -> F:
    """What of a .vtw becomes a video, and how: :data:`DECODING_OPTIONS`."""
    return _applied(function, video_options, only_option, coded_size_option, recover_option)


def network_options(function: F) -> F:
    """``--weights --device --precision --batch --postfilter``."""
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
        metavar="NAME",
        default="auto",
        show_default=True,
        envvar="VIDTWIN_DEVICE",
        show_envvar=True,
        callback=parse_device,
        help=f"{help_text}: auto, cpu, cuda, cuda:N or mps; auto is a GPU where there is one.",
    )


def _network_options(function: F, weights_variable: str | None) -> F:
    return _applied(
        function,
        click.option(
            "--weights",
            metavar="NAME|FILE",
            envvar=weights_variable,
            show_envvar=True,
            show_default="mini" if weights_variable else "those that the .vtw names",
            help="Network weights: a name that `vidtwin weights list` shows, a file or a digest.",
        ),
        device_option("Device that runs the network"),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "tf32", "bfloat16"]),
            default="auto",
            show_default=True,
            help="Arithmetic of the network; auto is the fastest that the weights and the device bear.",
        ),
        click.option(
            "--batch",
            type=click.IntRange(1, 4096),
            metavar="N",
            show_default="by the device's memory",
            help="Tiles in one call of the network. More takes more memory, and is faster on a GPU.",
        ),
        click.option(
            "--postfilter/--no-postfilter",
            default=True,
            show_default=True,
            help="Filter decoded frames, where the weights have a filter for that: a better picture, in more time.",
        ),
    )


def output_options(function: F) -> F:
    """``--json --progress --quiet``."""
    return _applied(function, json_option(), progress_option, quiet_option)


def refuse_mixed_stdout(output: str, as_json: bool) -> None:
    """``--json`` and a file on standard output would be written over each other."""
    if as_json and output in ("-", "/dev/stdout"):
        raise click.UsageError(f"--json and the output {output} would mix on standard output; name a file")
    if output == "-" and sys.stdout.isatty():
        raise click.UsageError("refusing to write a binary file to the terminal; redirect standard output")
    if output == "-":
        check_stdout()
