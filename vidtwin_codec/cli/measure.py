"""``vidtwin measure``."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from vidtwin_codec.cli.common import (
    ENCODING_OPTIONS,
    audio_options,
    console,
    encoding_options,
    forget_set_weights,
    network_options,
    output_options,
    print_json,
    progress,
    refuse_several_targets,
)
from vidtwin_codec.cli.measure_output import print_csv, print_report
from vidtwin_codec.cli.output import force_option
from vidtwin_codec.cli.usage import built
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.measure.options import PROTOCOLS, MeasureOptions
from vidtwin_codec.metrics import METRICS
from vidtwin_codec.options import Reporter


def parse_metrics(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """``psnr,ssim`` → names; all of them when nothing is said."""
    names = tuple(name.strip().replace("-", "_").lower() for name in value.split(",")) if value else METRICS
    for name in names:
        if name not in METRICS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(METRICS)}")
    return names


@click.command("measure")
@click.argument("source", metavar="SOURCE")
@click.argument("files", metavar="[FILE.vtw]...", nargs=-1)
@force_option("Replace an existing side-by-side video.")
@click.option(
    "--protocol",
    type=click.Choice(PROTOCOLS),
    default="codec",
    show_default=True,
    help="Protocol: codec measures packed bytes at the source's own size and rate, vidtwin is the paper's evaluation "
    "of the network alone.",
)
@click.option(
    "-m",
    "--metrics",
    metavar="NAME,...",
    callback=parse_metrics,
    show_default="all that can be measured here",
    help=f"Metrics to measure, with commas: {', '.join(METRICS)}.",
)
@click.option(
    "--side-by-side",
    metavar="OUTPUT.mp4",
    help="Write a video of the source, what is decoded, and four times their difference.",
)
@encoding_options
@network_options
@audio_options
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV on standard output, one line a file.")
@output_options
def measure_command(
    source: str,
    files: tuple[str, ...],
    as_csv: bool,
    as_json: bool,
    quiet: bool,
    **choices: Any,
) -> None:
    """Measure how close a video is to what comes back from its .vtw.

    SOURCE is a video, or a folder of them. Without a FILE.vtw it is encoded first, to a temporary file, with the
    options given. Frames are decoded in memory and compared with the source's one by one. FILE.vtw may be a folder;
    where SOURCE is one, each .vtw belongs to the video of the same name, and the last line is the mean.

    \b
    vidtwin measure in.mp4
    vidtwin measure in.mp4 a.vtw b.vtw
    vidtwin measure --csv clips/ encoded/ > measured.csv
    vidtwin measure --protocol vidtwin --weights base clips/
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv would mix on standard output; choose one")
    ctx = click.get_current_context()
    refuse_several_targets(ctx)
    # how the source is opened is no matter of encoding
    about_encoding = [name for name in ENCODING_OPTIONS if name not in ("allow_playlists", "hwaccel")]
    if not files:
        about_encoding = [name for name in about_encoding if name not in ("start", "duration")]
    given = [name for name in about_encoding if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given and (files or choices["protocol"] == "vidtwin"):
        why = "the .vtw is already encoded" if files else "the vidtwin protocol packs nothing"
        raise click.UsageError(f"--{given[0].replace('_', '-')} has nothing to act on: {why}")
    if files and choices["protocol"] == "vidtwin":
        raise click.UsageError("the vidtwin protocol measures the network alone; leave the .vtw files out")
    if files:
        forget_set_weights(ctx, choices)
    screen = console(quiet)
    # the network is loaded only now: help and wrong usage need not wait for it
    from vidtwin_codec.evaluation.measure.run import MeasureJob, check, measurer, pair, summarize

    options = built(MeasureOptions, **choices)
    jobs = pair(source, files, screen.print)
    check(options, jobs)
    measure = measurer(options)
    measured, rows, failures = [], [], 0

    def one(job: MeasureJob, reporter: Reporter) -> dict[str, Any]:
        try:
            found = measure(job, reporter)
        except VidtwinError as error:
            if len(jobs) == 1:
                raise
            name = job.vtw or job.source
            reporter.warned(f"{name}: not measured: {error.message.removeprefix(f'{name}: ')}")
            return {"source": job.source, "output": job.vtw, "error": error.message}
        measured.append(found)
        return found.to_json()

    for number, job in enumerate(jobs, 1):
        label = f"measure {number}/{len(jobs)}" if len(jobs) > 1 else "measure"
        with progress(label, screen) as reporter:
            rows.append(one(job, reporter))
        failures += "error" in rows[-1]
        if as_json:
            print_json(rows[-1])
    if len({found.source for found in measured}) > 1:
        rows.append(summarize(source, measured))
        if as_json:
            print_json(rows[-1])
    if as_csv:
        print_csv(rows)
    elif not as_json and not quiet:
        print_report(rows)
    if failures:
        raise VidtwinError(f"{failures} of {len(jobs)} files could not be measured")
