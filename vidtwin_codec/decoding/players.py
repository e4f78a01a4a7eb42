"""Players on this machine, and how each is told to show what comes down a pipe."""

from __future__ import annotations

import shutil

from vidtwin_codec.errors import VidtwinError

PLAYERS = ("mpv", "ffplay")
"""Programs that frames can be played with, the better one first: mpv waits where decoding is slower than watching."""
FORMAT = "nut"
"""The format that players get: raw pictures, and audio as it is."""


def find_player(wanted: str | None = None) -> tuple[str, str]:
    """The player to use: which of :data:`PLAYERS` it is, and its path.

    Args:
        wanted: the one to look for; None: the first that is there.

    Raises:
        VidtwinError: there is none on PATH.
    """
    for name in PLAYERS if wanted is None else (wanted,):
        found = shutil.which(name)
        if found:
            return name, found
    missing = " or ".join(PLAYERS) if wanted is None else wanted
    raise VidtwinError(
        f"no player found: there is no {missing} on PATH",
        "install one, or pipe into another player: 'vidtwin decode FILE.vtw - | PLAYER -'",
    )


def player_command(name: str, path: str, title: str) -> list[str]:
    """The command of a player that shows what comes on its standard input, and ends with it.

    Args:
        name: which of :data:`PLAYERS` it is.
        path: where it is.
        title: of its window.
    """
    if name == "mpv":
        own = ["--no-terminal", "--demuxer=lavf", f"--demuxer-lavf-format={FORMAT}", "--cache=yes"]
        return [path, *own, f"--force-media-title={title}", "--force-window=yes", "--", "-"]
    own = ["-hide_banner", "-loglevel", "error", "-autoexit"]
    return [path, *own, "-window_title", title, "-f", FORMAT, "-i", "pipe:0"]
