"""``vidtwin play``."""

from __future__ import annotations

from typing import Any

import click

from vidtwin_codec.cli.common import (
    console,
    duration_option,
    only_option,
    progress,
    reading_network_options,
    recover_option,
    start_option,
)
from vidtwin_codec.cli.output import quiet_option
from vidtwin_codec.decoding.players import PLAYERS, find_player
from vidtwin_codec.options import DecodeOptions


@click.command("play")
@click.argument("source", metavar="SOURCE.vtw")
@click.option(
    "--player",
    type=click.Choice(PLAYERS),
    show_default="the first of these on PATH",
    help="Player to start.",
)
@only_option
@recover_option
@start_option("Time to begin at")
@duration_option("Length of the part that is played")
@reading_network_options
@click.option("--audio/--no-audio", default=True, show_default=True, help="Play the audio.")
@quiet_option
def play_command(source: str, player: str | None, quiet: bool, **choices: Any) -> None:
    """Watch a .vtw file: it is decoded as it is shown, and nothing is stored.

    Needs mpv or ffplay on PATH. SOURCE may be - for standard input. Where decoding is slower than watching, mpv waits
    for pictures and ffplay shows them late.

    \b
    vidtwin play in.vtw
    vidtwin play --start 1:30 --only structure in.vtw
    """
    options = DecodeOptions(**choices)
    find_player(player)
    # the network is loaded only now: help and wrong usage need not wait for it
    from vidtwin_codec.decoding.play import play

    with progress("play", console(quiet)) as reporter:
        play(source, options, player=player, reporter=reporter)
