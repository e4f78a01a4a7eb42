"""The ``vidtwin`` command: verbs, each in a file of its own, and the one place where errors become exit codes."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType

import click

from vidtwin_codec import __version__
from vidtwin_codec.errors import VidtwinError

VERBS = {
    "encode": ("vidtwin_codec.cli.encode", "Compress a video to a .vtw file."),
    "decode": ("vidtwin_codec.cli.decode", "Turn a .vtw file back into a video."),
    "batch": ("vidtwin_codec.cli.batch", "Encode or decode whole folders; a rerun continues."),
    "info": ("vidtwin_codec.cli.info", "Show what a .vtw file holds."),
    "verify": ("vidtwin_codec.cli.verify", "Check every checksum of .vtw files."),
    "measure": ("vidtwin_codec.cli.measure", "Measure how close a video is to what comes back."),
    "compare": ("vidtwin_codec.cli.compare", "Compare with conventional codecs; writes an HTML report."),
    "mix": ("vidtwin_codec.cli.mix", "Structure of one .vtw file with the dynamics of another."),
    "inspect": ("vidtwin_codec.cli.inspect", "Show what a .vtw file's latents carry; writes an HTML page."),
    "export": ("vidtwin_codec.cli.export", "Write latents to a .safetensors or .npz file."),
    "import": ("vidtwin_codec.cli.import_", "Make .vtw files of such latents."),
    "weights": ("vidtwin_codec.cli.weights", "List, import, fetch and verify network weights."),
    "train": ("vidtwin_codec.cli.train", "Train or fine-tune network weights on videos."),
    "completion": ("vidtwin_codec.cli.completion", "Print a shell's completion script."),
}


class Verbs(click.Group):
    """Imports a verb's module only when it runs, so that help is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = getattr(importlib.import_module(VERBS[cmd_name][0]), f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, summary) for name, (_, summary) in VERBS.items()])


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 something failed, 2 wrong usage.",
)
@click.version_option(__version__, prog_name="vidtwin")
def cli() -> None:
    """vidtwin: a neural video codec.

    \b
    vidtwin encode in.mp4 out.vtw
    vidtwin decode out.vtw out.mp4
    """


def main() -> None:
    """Entry point: run a verb, turn what went wrong into one clear line and an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = cli.main(prog_name="vidtwin", standalone_mode=False)
    except VidtwinError as error:
        _say(f"error: {error.message}", error.hint)
        code = 1
    except click.Abort:
        _say("interrupted; nothing was written")
        code = 1
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except BrokenPipeError:
        # the reader of our output has gone; keep the interpreter from failing on its final flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(line: str, hint: str | None = None) -> None:
    click.echo(f"vidtwin: {line}", err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
