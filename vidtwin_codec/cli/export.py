"""``vidtwin export``."""

from __future__ import annotations

import click

from vidtwin_codec.cli.common import console, output_options, print_json, progress
from vidtwin_codec.cli.output import force_option
from vidtwin_codec.latents.exporting import export_latents
from vidtwin_codec.text import counted, human_bytes


@click.command("export")
@click.argument("files", metavar="FILE.vtw...", nargs=-1, required=True)
@click.argument("output", metavar="OUTPUT.safetensors|.npz")
@force_option()
@output_options
def export_command(files: tuple[str, ...], output: str, force: bool, as_json: bool, quiet: bool) -> None:
    """Write the latents of .vtw files as float32 tensors to one file.

    Tensors are structure, dynamics_x and dynamics_y, by clip and tile; of several files, NAME/structure and so on. The
    values are exactly what the decoder is given. Folders are searched for .vtw files; audio is left out. `vidtwin
    import` goes back, and takes the audio from the original with `--like`. docs/LATENTS.md has shapes and metadata.

    \b
    vidtwin export in.vtw latents.safetensors
    vidtwin export folder/ all.npz
    """
    screen = console(quiet)
    with progress("export", screen) as reporter:
        done = export_latents(files, output, force=force, reporter=reporter)
    if as_json:
        print_json(
            {
                "output": output,
                "files": done.files,
                "clips": done.clips,
                "bytes": done.bytes,
                "with_sound": done.with_sound,
            }
        )
    sound = f"; the sound of {counted(done.with_sound, 'file')} is left out" if done.with_sound else ""
    screen.print(
        f"{output}: {human_bytes(done.bytes)}; {counted(done.files, 'file')}, {counted(done.clips, 'clip')}{sound}",
    )
