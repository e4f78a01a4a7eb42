"""Watching a .vtw, with players that write down what they are given."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import MakeVideo
from launching import WHOLE

from vidtwin_codec.encoding.encode import encode
from vidtwin_codec.media import probe
from vidtwin_codec.options import EncodeOptions

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the players are shell scripts")
BODY = {
    "whole": 'printf "%s\\n" "$0" "$@" > {folder}/arguments; cat > {folder}/seen.nut',
    "closed": "head -c 100 > /dev/null",
    "broken": "exit 3",
}


def players(folder: Path, *names: str, body: str = "whole") -> Path:
    """A folder with players of these names."""
    (folder / "bin").mkdir(exist_ok=True)
    for name in names:
        path = folder / "bin" / name
        path.write_text("#!/bin/sh\n" + BODY[body].format(folder=shlex.quote(str(folder))) + "\n")
        path.chmod(0o755)
    return folder / "bin"


def play(found: Path, *arguments: str | Path, alone: bool = False) -> tuple[int, str]:
    """Exit code and standard error of ``vidtwin play``, with players of this folder alone if ``alone``."""
    path = str(found) if alone else f"{found}{os.pathsep}{os.environ['PATH']}"
    command = [*WHOLE, "play", *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.fixture
def packed(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> Path:
    """Half a second of 40 x 36 with sound."""
    video = make_video("in.mp4", rate="50/3", frames=10, audio=True)
    encode(video, tmp_path / "a b.vtw", EncodeOptions(weights=str(micro_weights)))
    return tmp_path / "a b.vtw"


@pytest.mark.parametrize("name", ["mpv", "ffplay"])
def test_a_player_gets_pictures_and_sound(packed: Path, micro_weights: Path, tmp_path: Path, name: str) -> None:
    found = players(tmp_path, "mpv", "ffplay")
    code, said = play(found, packed, "--weights", micro_weights, "--player", name, "-q")
    assert (code, said) == (0, "")
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert Path(arguments[0]).name == name
    assert any("a b.vtw" in argument for argument in arguments)
    info = probe(tmp_path / "seen.nut")
    assert (info.width, info.height, info.frames, info.fps) == (40, 36, 10, Fraction(50, 3))
    assert len(info.audio_streams) == 1


def test_a_part_is_played(packed: Path, micro_weights: Path, tmp_path: Path) -> None:
    part = ["--start", "0.12", "--duration", "0.3", "--no-audio", "--only", "structure"]
    assert play(players(tmp_path, "mpv"), packed, "--weights", micro_weights, *part)[0] == 0
    info = probe(tmp_path / "seen.nut")
    assert (info.frames, info.audio_streams) == (5, ())


def test_a_player_that_is_closed_is_no_error(packed: Path, micro_weights: Path, tmp_path: Path) -> None:
    code, said = play(players(tmp_path, "mpv", body="closed"), packed, "--weights", micro_weights, "-q")
    assert (code, said) == (0, "")


def test_a_player_that_fails_is_said(packed: Path, micro_weights: Path, tmp_path: Path) -> None:
    code, said = play(players(tmp_path, "mpv", body="broken"), packed, "--weights", micro_weights, "-q")
    assert code == 1
    assert said.startswith("vidtwin: error: mpv: failed with exit code 3\n")


def test_without_a_player_that_is_said_at_once(tmp_path: Path) -> None:
    code, said = play(players(tmp_path), "missing.vtw", alone=True)
    assert code == 1
    assert said.startswith("vidtwin: error: no player found: there is no mpv or ffplay on PATH\n")
