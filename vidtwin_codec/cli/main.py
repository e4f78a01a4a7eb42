"""The ``vidtwin`` command: verbs, each in a file of its own, and the one place where errors become exit codes."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import itertools
import os
import sys

import click

from vidtwin_codec import __version__, signals
from vidtwin_codec.cli.output import OutputState, print_json
from vidtwin_codec.cli.streams import guarded_streams, say
from vidtwin_codec.cli.usage import VerbGroup
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import finished_outputs
from vidtwin_codec.machine import is_thread_refusal, no_threads

VERBS = {
    "encode": ("vidtwin_codec.cli.encode", "Compress a video to a .vtw file."),
    "decode": ("vidtwin_codec.cli.decode", "Turn a .vtw file back into a video."),
    "play": ("vidtwin_codec.cli.play", "Watch a .vtw file in mpv or ffplay."),
    "batch": ("vidtwin_codec.cli.batch", "Encode or decode whole folders; a rerun goes on."),
    "info": ("vidtwin_codec.cli.info", "Show what a .vtw file holds."),
    "verify": ("vidtwin_codec.cli.verify", "Check every checksum of .vtw files."),
    "measure": ("vidtwin_codec.cli.measure", "Measure how close a video is to what comes back."),
    "compare": ("vidtwin_codec.cli.compare", "Compare with conventional codecs; writes an HTML report."),
    "mix": ("vidtwin_codec.cli.mix", "Decode the structure of one .vtw file with the dynamics of another."),
    "inspect": ("vidtwin_codec.cli.inspect", "Show what a .vtw file's latents carry; writes an HTML page."),
    "export": ("vidtwin_codec.cli.export", "Write latents to a .safetensors or .npz file."),
    "import": ("vidtwin_codec.cli.import_", "Make .vtw files from latents."),
    "weights": ("vidtwin_codec.cli.weights", "List, import, fetch, share and verify network weights."),
    "train": ("vidtwin_codec.cli.train", "Train or fine-tune network weights on videos."),
    "version": ("vidtwin_codec.cli.version", "Show the versions of vidtwin, torch and ffmpeg, and the device."),
    "completion": ("vidtwin_codec.cli.completion", "Print a shell's completion script."),
}

_GARBAGE = 20_000
"""New objects, less those that have gone, after which the interpreter looks for garbage among them."""


class Verbs(VerbGroup):
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
@click.version_option(__version__, prog_name="vidtwin", message="%(prog)s %(version)s")
def cli() -> None:
    """vidtwin: a neural video codec.

    \b
    vidtwin encode in.mp4 out.vtw
    vidtwin decode out.vtw out.mp4
    """


def main() -> None:
    """Entry point: run a verb, turn what went wrong into one clear line and an exit code."""
    # Threads that spin while they wait for the network's next product take the processor from ffmpeg: on two busy
    # cores, decoding to MP4 took a fifth longer.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Importing torch and numba makes objects by the hundred thousand, none of them garbage. Looking for some among them
    # while they come, and once more at the exit, took a quarter of what a short command takes.
    gc.set_threshold(_GARBAGE)
    atexit.register(gc.freeze)
    signals.obey()
    code = 1  # should a signal come while the end of an interrupted verb is being told
    with contextlib.suppress(KeyboardInterrupt):
        code = _outcome()
    signals.disregard()
    sys.exit(code)


def _outcome() -> int:
    """Run a verb with standard streams that explain themselves; the exit code."""
    state = OutputState()
    try:
        with guarded_streams():
            code = _run(state)
            if not code:
                sys.stdout.flush()
    except VidtwinError as error:  # standard output or standard error cannot be written
        return _failed(error, OutputState())
    except BrokenPipeError:  # the reader of our output has gone
        return 1
    return code


def _run(state: OutputState) -> int:
    """Run a verb, which notes in ``state`` how it is to talk."""
    try:
        code = cli.main(prog_name="vidtwin", standalone_mode=False, obj=state)
    except VidtwinError as error:
        return _failed(error, state)
    except click.Abort:
        finished = ", ".join(finished_outputs())
        _tell(f"interrupted; complete: {finished}" if finished else "interrupted; nothing was written", None, state)
        return 1
    except click.ClickException as error:
        return _misused(error, state)
    except MemoryError:
        return _failed(VidtwinError("this does not fit the memory of this machine", "close other programs"), state)
    except RuntimeError as error:
        if not is_thread_refusal(error):
            raise
        return _failed(no_threads(), state)
    return code if isinstance(code, int) else 0


def _misused(error: click.ClickException, state: OutputState) -> int:
    """Tell of wrong usage in the form of every error, and with the line of usage of its verb."""
    if type(error).__name__ == "NoArgsIsHelpError":  # of click 8.2: no verb at all, which is answered with help
        for line in error.format_message().splitlines():
            say(line)
        return error.exit_code
    # what is wrong may have come before these were looked at
    given = sys.argv[1:]
    state.json = state.json or "--json" in given
    if "--progress=json" in given or ("--progress", "json") in itertools.pairwise(given):
        state.progress = "json"
    context, text = getattr(error, "ctx", None), error.format_message().rstrip(".")
    hint = None
    if context is not None:
        hint = f"{' '.join(context.get_usage().split())} ({context.command_path} --help says more)"
    message = text[:1].lower() + text[1:]
    with contextlib.suppress(OSError, VidtwinError):
        _tell(f"error: {message}", hint, state, message)
    return error.exit_code


def _failed(error: VidtwinError, state: OutputState) -> int:
    # where standard error cannot be written either, there is nobody to tell
    with contextlib.suppress(OSError, VidtwinError):
        _tell(f"error: {error.message}", error.hint, state, error.message)
    return 1


def _tell(line: str, hint: str | None, state: OutputState, message: str | None = None) -> None:
    """Say why nothing more comes: to people or as an event on standard error, and with ``--json`` on standard output.

    Args:
        line: for people.
        hint: what to do about it.
        state: how the verb was to talk.
        message: for programs; the line if None.
    """
    if state.progress == "json":
        state.event("error", text=message or line, hint=hint)
    else:
        say(f"vidtwin: {line}")
        if hint:
            say(f"  {hint}")
    if state.json:
        print_json({"error": message or line, "hint": hint})
