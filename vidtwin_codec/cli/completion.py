"""``vidtwin completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash:  eval "$(vidtwin completion bash)"                          in ~/.bashrc
    zsh:   eval "$(vidtwin completion zsh)"                           in ~/.zshrc
    fish:  vidtwin completion fish > ~/.config/fish/completions/vidtwin.fish
    """
    from vidtwin_codec.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None  # click ships all three
    click.echo(kind(cli, {}, "vidtwin", "_VIDTWIN_COMPLETE").source())
