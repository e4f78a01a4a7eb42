"""A process that is asked to stop says what became of its work, whenever the signal comes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import MakeVideo
from launching import WHOLE

ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
MAIN = """
import sys, time
import click
from vidtwin_codec.cli import main as program
from vidtwin_codec.files import atomic_path

@click.command()
def verb():
{body}

program.cli = verb
sys.argv[1:] = []
program.main()
"""
WAIT = "print('ready', flush=True); time.sleep(30)"


def script(*lines: str) -> list[str]:
    return [sys.executable, "-c", MAIN.format(body="\n".join(f"    {line}" for line in lines))]


def interrupted(command: list[str], number: int, **choices: object) -> tuple[int, str]:
    """Exit code and messages of a process that gets a signal as soon as it is ready."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, **choices) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", child.communicate()
        child.send_signal(number)
        _, told = child.communicate(timeout=60)
    return child.returncode, told.strip()


@pytest.mark.parametrize("number", ALL)
def test_what_was_complete_before_the_signal_is_said(number: int, tmp_path: Path) -> None:
    target = tmp_path / "out.vtw"
    code, told = interrupted(script(WAIT), number)
    assert (code, told) == (1, "vidtwin: interrupted; nothing was written")
    write = f"with atomic_path({str(target)!r}, force=False) as path: path.write_bytes(b'all')"
    code, told = interrupted(script(write, WAIT), number)
    assert (code, told) == (1, f"vidtwin: interrupted; complete: {target}")
    assert target.read_bytes() == b"all"


@pytest.mark.parametrize("number", ALL)
def test_a_signal_after_the_work_changes_nothing(number: int) -> None:
    """While the interpreter ends it gives signals back to the system, which would kill the process."""
    late = "import atexit; atexit.register(lambda: (print('ready', flush=True), time.sleep(0.5)))"
    for outcome, expected in (("return", 0), ("raise click.UsageError('so')", 2)):
        code, told = interrupted(script(late, outcome), number)
        assert (code, "interrupted" in told, "Traceback" in told) == (expected, False, False), told


def test_an_interrupted_import_does_not_end_as_if_killed(tmp_path: Path) -> None:
    """The interpreter remembers an interrupt in the exec() of a text, as in the making of a dataclass."""
    (tmp_path / "program.py").write_text(
        MAIN.format(body="    exec(\"print('ready', flush=True); time.sleep(30)\", {'time': time})")
    )
    code, told = interrupted([sys.executable, "-m", "program"], signal.SIGINT, cwd=tmp_path)
    assert (code, told) == (1, "vidtwin: interrupted; nothing was written")


def test_signals_that_were_ignored_stay_so() -> None:
    """As ``nohup`` starts a program."""
    ignoring = "import signal, os; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    command = script("os.kill(os.getpid(), signal.SIGHUP); time.sleep(0.1); click.echo('went on')")
    command[2] = ignoring + command[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr


def test_a_refused_thread_is_one_line() -> None:
    done = subprocess.run(script('raise RuntimeError("can\'t start new thread")'), capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().startswith("vidtwin: error: the system allows no more threads")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("number", ALL)
def test_the_end_of_an_encode_is_whole_or_not_at_all(
    number: int, make_video: MakeVideo, tmp_path: Path, micro_weights: Path
) -> None:
    source, target = make_video("in.mp4"), tmp_path / "out.vtw"
    command = [*WHOLE, "encode", source, target, "--weights", micro_weights, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        while not target.exists() and child.poll() is None:
            time.sleep(0.001)
        child.send_signal(number)
        out, told = child.communicate(timeout=120)
    assert "Traceback" not in told
    if child.returncode == 0:
        assert '"output"' in out
    else:
        assert child.returncode == 1, told
        assert f"interrupted; complete: {target}" in told
