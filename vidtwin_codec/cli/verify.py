"""``vidtwin verify``."""

from __future__ import annotations

import click

from vidtwin_codec.cli.common import console, output_options, print_json
from vidtwin_codec.cli.streams import say
from vidtwin_codec.container import verify
from vidtwin_codec.errors import VidtwinError


@click.command("verify")
@click.argument("files", metavar="FILE.vtw...", nargs=-1, required=True)
@output_options
def verify_command(files: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Check .vtw files: every checksum of header, audio, groups and index, and all symbols.

    Needs no network weights and decodes no pictures. Exits with 1 if any file is not sound.
    """
    screen = console(quiet)
    unsound = 0
    for name in files:
        problems = _problems(name)
        unsound += bool(problems)
        if as_json:
            print_json({"source": name, "sound": not problems, "problems": problems})
        elif problems:
            for problem in problems:
                say(problem if name in problem else f"{name}: {problem}")
        else:
            screen.print(f"{name}: sound")
    if unsound:
        count = "it" if len(files) == 1 else f"{unsound} of {len(files)} files"
        raise VidtwinError(f"{count} did not verify", "'vidtwin decode --recover' decodes what is whole")


def _problems(name: str) -> list[str]:
    try:
        return verify(name)
    except VidtwinError as error:
        return [error.message]
