"""``vidtwin play``."""

from __future__ import annotations

from typing import Any

import click

from vidtwin_codec.cli.common import console, network_options, parse_seconds, progress
from vidtwin_codec.cli.output import quiet_option
from vidtwin_codec.decoding.players import PLAYERS, find_player
from vidtwin_codec.options import DecodeOptions


@click.command("play")
@click.argument("source", metavar="SOURCE.vtw")
@click.option(
    "--start", type=parse_seconds, metavar="TIME", default=0.0, help="Begin here: seconds or [HH:]MM:SS (default: 0)."
)
@click.option("--duration", type=parse_seconds, metavar="TIME", help="Stop after this long (default: at the end).")
@click.option("--only", type=click.Choice(["structure", "dynamics"]), help="Decode one branch alone.")
@click.option("--audio/--no-audio", default=True, help="Play the audio.  [default: audio]")
@click.option("--recover", is_flag=True, help="Play what is whole in a damaged file.")
@click.option("--player", type=click.Choice(PLAYERS), help="The player (default: the first of these on PATH).")
@network_options
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
