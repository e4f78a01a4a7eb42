"""Standard streams that are closed or full, and names that are not UTF-8: clear words, no traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MakeVideo
from launching import WHOLE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes the streams")
GOLDEN = Path(__file__).parent / "golden" / "v1_coder4.vtw"


def shell(line: str, *arguments: str | Path) -> tuple[int, list[str]]:
    """Exit code and lines of standard error of ``$V ... $1 $2 …`` in a shell."""
    environment = {**os.environ, "V": f"{sys.executable} -m vidtwin_codec"}
    command = ["sh", "-c", line, "sh", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    return done.returncode, done.stderr.decode().splitlines()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("$V info $1 >&-", ["vidtwin: error: standard output is closed"]),
        ("$V --help >&-", ["vidtwin: error: standard output is closed"]),
        ("$V encode $1 - >&-", ["vidtwin: error: standard output is closed"]),
        ("$V encode - $2.vtw <&-", ["vidtwin: error: standard input is closed"]),
        ("$V batch --from-file - $2 <&-", ["vidtwin: error: standard input is closed"]),
        ("$V info $1 2>&- >&-", []),
        ("$V info $2 2>/dev/full", []),
    ],
)
def test_closed_streams_are_said_in_one_line(line: str, said: list[str], tmp_path: Path) -> None:
    assert shell(line, GOLDEN, tmp_path / "out") == (1, said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no full device")
@pytest.mark.parametrize("verb", ["--help", "encode --help", "info $1", "info --json $1", "verify --json $1"])
def test_full_output_is_said(verb: str) -> None:
    code, lines = shell(f"$V {verb} >/dev/full", GOLDEN)
    assert code == 1
    assert lines[0] == "vidtwin: error: standard output: the disk is full"
    assert len(lines) == 2


def test_closed_streams_that_are_not_needed_do_not_matter(
    make_video: MakeVideo, tmp_path: Path, micro_weights: Path
) -> None:
    video, output = make_video("in.mp4"), tmp_path / "o.vtw"
    code, lines = shell("$V encode -q $1 $2 --weights $3 <&- >&-", video, output, micro_weights)
    assert (code, lines) == (0, [])
    assert shell("$V verify -q $1", output) == (0, [])


@pytest.mark.skipif(sys.platform != "linux", reason="file systems elsewhere refuse such names")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"n\xe9\x1b[31m:warning:.vtw")
    shutil.copy(GOLDEN, path)
    shown = f"{tmp_path}/n\\xe9\\x1b[31m:warning:.vtw"
    for verb in ("info", "verify"):
        command = [*WHOLE, verb, "--json"]
        done = subprocess.run([*command, path], capture_output=True, check=True)
        assert json.loads(done.stdout.decode())["source"] == shown.replace("\\x1b", "\x1b")
    done = subprocess.run([*command[:-2], "info", path], capture_output=True, check=True)
    assert done.stdout.decode().splitlines()[0].rstrip() == shown
    done = subprocess.run([*command[:-2], "info", path + b"x"], capture_output=True, check=False)
    assert done.stderr.decode().splitlines() == [f"vidtwin: error: {shown}x: No such file or directory"]
