"""Watching a .vtw: decoded frames and sound go to a player as they come."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from vidtwin_codec.decoding.decode import open_decoder, shown_name, write_video
from vidtwin_codec.decoding.output import OpenOutput, PathLike
from vidtwin_codec.decoding.players import FORMAT, find_player, player_command
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error, is_pipe
from vidtwin_codec.media.formats import container_for
from vidtwin_codec.network.runner import LoadNetwork, NetworkRunner
from vidtwin_codec.options import DecodeOptions, Reporter
from vidtwin_codec.text import printable

_LEAVING_SECONDS = 2.0


def play(
    source: PathLike,
    options: DecodeOptions | None = None,
    *,
    player: str | None = None,
    reporter: Reporter | None = None,
    load: LoadNetwork = NetworkRunner.load,
) -> int:
    """Decode a .vtw into a player. Returns how many frames were decoded until the end, or until it was closed.

    Args:
        source: the .vtw, or ``-`` for standard input.
        options: of these ``start``, ``duration``, ``only``, ``audio``, ``recover`` and where the network runs.
        player: one of :data:`~vidtwin_codec.decoding.players.PLAYERS`; None: the first that is there.
        reporter: receives progress and warnings.
        load: reads the network.

    Raises:
        VidtwinError: there is no player, it fails, or the .vtw cannot be decoded.
    """
    options, reporter = options or DecodeOptions(), reporter or Reporter()
    name, path = find_player(player)
    title = printable("vidtwin" if is_pipe(source) else Path(source).name)
    container = container_for(Path(title), FORMAT)
    shown = 0

    def advanced(count: int) -> None:
        nonlocal shown
        shown += count
        reporter.advanced(count)

    told = Reporter(reporter.started, advanced, reporter.warned)
    with ExitStack() as stack:
        decoder = stack.enter_context(open_decoder(source, options, reporter, load))
        child = stack.enter_context(_player(player_command(name, path, title)))
        assert child.stdin is not None
        try:
            target = OpenOutput(Path(name), container, child.stdin)
            write_video(decoder, target, told, shown_name(source))
        except BrokenPipeError:
            pass  # it was closed
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        code = child.wait()
    if code:
        raise VidtwinError(f"{name}: failed with exit code {code}", "is there a display, and can it play NUT?")
    return shown


@contextlib.contextmanager
def _player(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0)
    except OSError as error:
        raise explain_os_error(error, command[0]) from error
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            end = time.monotonic() + _LEAVING_SECONDS
            while child.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
            child.kill()
        child.wait()
        assert child.stdin is not None
        with contextlib.suppress(OSError):
            child.stdin.close()
