"""``vidtwin verify``."""

from __future__ import annotations

import click

from vidtwin_codec.cli.common import console, output_options, print_json
from vidtwin_codec.cli.streams import say
from vidtwin_codec.container import verify
from vidtwin_codec.container.inspection import UNFINISHED
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import files_in


@click.command("verify")
@click.argument("files", metavar="FILE.vtw|FOLDER...", nargs=-1, required=True)
@click.option("--thorough", is_flag=True, help="Check everything, however long that takes.")
@output_options
def verify_command(files: tuple[str, ...], thorough: bool, as_json: bool, quiet: bool) -> None:
    """Check .vtw files: every checksum of header, audio, groups and index, and all symbols.

    Of a folder all .vtw files are checked, at any depth.

    Needs no network weights and decodes no pictures. Exits with 1 if any file is not sound. A small file that would
    take many seconds is not looked at to its end, and not called sound, without --thorough.
    """
    screen = console(quiet)
    unsound, unfinished = 0, False
    names = [path for name in files for path in files_in(name, {".vtw"}, "no .vtw file here")]
    for name in names:
        problems = _problems(name, thorough)
        unsound += bool(problems)
        unfinished = unfinished or any(problem.startswith(UNFINISHED) for problem in problems)
        if as_json:
            print_json({"source": name, "sound": not problems, "problems": problems})
        elif problems:
            for problem in problems:
                say(problem if name in problem else f"{name}: {problem}")
        else:
            screen.print(f"{name}: sound")
    if unsound:
        count = "it" if len(names) == 1 else f"{unsound} of {len(names)} files"
        hint = "'vidtwin decode --recover' decodes what is whole"
        if unfinished:
            hint = "--thorough checks everything, however long it takes"
        raise VidtwinError(f"{count} did not verify", hint)


def _problems(name: str, thorough: bool) -> list[str]:
    try:
        return verify(name, thorough=thorough)
    except VidtwinError as error:
        return [error.message]
