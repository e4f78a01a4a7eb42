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

    All .vtw files of a folder are checked, at any depth.

    Needs no network weights and decodes no pictures. Exits with 1 if any file is damaged. A file that would take
    many times longer than others of its size is checked up to a point only, which is said, and is not called intact:
    --thorough checks it to its end. With --json, "checked" is "all", or "part" of such a file.
    """
    screen = console(quiet)
    unsound, unfinished, wrong = 0, 0, 0
    names = [path for name in files for path in files_in(name, {".vtw"}, "no .vtw file here")]
    for name in names:
        problems = _problems(name, thorough)
        unsound += bool(problems)
        part = any(problem.startswith(UNFINISHED) for problem in problems)
        unfinished += part
        wrong += len(problems) > part
        if as_json:
            checked = "part" if part else "all"
            print_json({"source": name, "sound": not problems, "checked": checked, "problems": problems})
        elif problems:
            for problem in problems:
                say(problem if name in problem else f"{name}: {problem}")
        else:
            screen.print(f"{name}: intact")
    if unsound:
        one = f"{names[0]}:" if len(names) == 1 else ""
        said = [f"{one or f'{wrong} of {len(names)} files'} did not verify"] if wrong else []
        if unfinished:
            count = one or f"{unfinished} of {len(names)} files"
            said.append(f"{count} was checked in part only" + ("" if wrong else ", and nothing is wrong so far"))
        hint = "'vidtwin decode --recover' decodes what is whole"
        if unfinished:
            hint = "--thorough checks everything, however long it takes"
        raise VidtwinError("; ".join(said), hint)


def _problems(name: str, thorough: bool) -> list[str]:
    try:
        return verify(name, thorough=thorough)
    except VidtwinError as error:
        return [error.message]
