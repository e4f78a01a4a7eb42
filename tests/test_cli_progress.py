"""How far a verb is: on terminals of any width, in lines, and as events; failures as JSON."""

from __future__ import annotations

import io
import json
import subprocess
import time
from pathlib import Path

import pytest
from conftest import MakeVideo
from hypothesis import given
from hypothesis import strategies as st
from launching import vidtwin
from micro import micro_model
from rich.cells import cell_len
from rich.text import Text
from training_runs import micro_options

from vidtwin_codec.cli.progress import Line, Lines, Meter, progress
from vidtwin_codec.cli.screen import Screen, broken
from vidtwin_codec.model import save_checkpoint
from vidtwin_codec.reporter import Reporter

WIDTHS = (40, 80, 200)


def terminal(width: int) -> Screen:
    screen = Screen(width=width)
    screen.file, screen._force_terminal = io.StringIO(), True
    return screen


def written(screen: Screen) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def running(doing: str, unit: str = "frame") -> Meter:
    return Meter("encode", doing, unit, total=1200, done=300, began=time.monotonic() - 100)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("doing", ["cpu, float32", "probing 1920x1080 on cuda:0, bfloat16"])
def test_a_line_of_progress_fits_the_terminal(width: int, doing: str) -> None:
    meter, screen = running(doing), terminal(width)
    screen.print(Line(f"encode ({doing})", 0.25, meter.notes))
    (line,) = written(screen).splitlines()
    assert cell_len(_plain(line)) <= width
    assert "encode" in line
    assert "300/1200" in line
    assert "5:00 left" in line
    assert "3.0 fps" in line


def _plain(line: str) -> str:
    return Text.from_ansi(line).plain


def test_a_wide_terminal_shows_everything() -> None:
    label, bar, note = Line("encode (cpu)", 0.25, running("cpu").notes).layout(200)
    assert (label, bar) == ("encode (cpu)", 40)
    assert note == "300/1200 frames, 3.0 fps, 5:00 left"


@given(
    st.text(max_size=80),
    st.lists(st.text(st.characters(max_codepoint=0x2FFF, categories=("L", "N")), max_size=60), max_size=4),
    st.integers(20, 220),
)
def test_no_line_is_wider_than_its_terminal(label: str, notes: list[str], width: int) -> None:
    shown, bar, note = Line(label, None, notes).layout(width)
    assert cell_len(shown) + (bar + 2 if bar else 0) + (cell_len(note) + 2 if note else 0) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_bars_of_several_tasks_take_a_line_each(width: int) -> None:
    screen = terminal(width)
    with Lines(console=screen, auto_refresh=False) as bars:
        bars.add_task("batch", total=10, completed=3, notes=["3 of 10 files, about 12:00 to go", "3/10"])
        bars.add_task("a/very/long/name/of/a/folder/" * 5 + "x.mp4", total=1.0, notes=[])
        table = bars.make_tasks_table(bars.tasks)
    lines = [_plain(line) for line in _drawn(terminal(width), table)]
    assert len(lines) == 2
    assert all(cell_len(line) <= width for line in lines)
    assert "3 of 10" in lines[0] or "3/10" in lines[0]


def _drawn(screen: Screen, table: object) -> list[str]:
    screen.print(table)
    return written(screen).splitlines()


def test_a_stage_counts_what_it_says_and_the_next_one_frames() -> None:
    screen = Screen(width=80)
    screen.file = io.StringIO()
    with progress("compare", screen) as reporter:
        steps = reporter.stage("running codecs", "encoding")
        steps.started(12, "cpu")
        reporter.started(5, "")
        reporter.warned("odd")
        reporter.said("done")
    assert written(screen).splitlines() == [
        "compare: running codecs on cpu, 12 encodings",
        "compare: 5 frames",
        "warning: odd",
        "done",
    ]


def test_stage_without_a_device_names_none() -> None:
    said: list[object] = []
    Reporter(started=lambda *what: said.append(what)).stage("sharing out", "file").started(3, "")
    assert said == [(3, "sharing out")]


def test_a_stage_within_a_stage_names_both() -> None:
    said: list[object] = []
    piece = Reporter(started=lambda *what: said.append(what)).stage("piece 1 of 2")
    piece.stage("comparing").started(3, "cpu")
    piece.started(3, "cpu")
    assert said == [(3, "piece 1 of 2, comparing on cpu"), (3, "piece 1 of 2 on cpu")]


@given(st.lists(st.text("abcdefgh/.-", min_size=1, max_size=30), min_size=1), st.integers(30, 200))
def test_summaries_break_between_words(words: list[str], width: int) -> None:
    lines = broken(" ".join(words), width)
    assert " ".join(lines).split() == words
    assert all(len(line) <= width or len(line.split()) == 1 for line in lines)


def test_events_are_one_json_object_a_line(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    source, target = make_video("in.mp4", frames=9), tmp_path / "out.vtw"
    command = [*vidtwin(), "encode", "--progress", "json", "--weights", str(micro_weights), str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {event["event"] for event in events} >= {"started", "progress", "message"}
    last = [event for event in events if event["event"] == "progress"][-1]
    assert (last["verb"], last["unit"], last["done"], last["total"]) == ("encode", "frame", 9, 9)
    assert str(target) in events[-1]["text"]


def test_training_counts_steps_and_seconds(tmp_path: Path) -> None:
    options = micro_options(tmp_path, steps=3)
    command = [*vidtwin(), "train", str(options.data), "-o", str(options.output), "--config", str(options.config)]
    for budget, unit in (["--steps", "3"], "step"), (["--minutes", "0.02", "-f"], "second"):
        chosen = ["--device", "cpu", "--clips-per-step", "2", "--progress", "json", "--json", *budget]
        done = subprocess.run([*command, *chosen], capture_output=True, text=True, check=True)
        events = [json.loads(line) for line in done.stderr.splitlines()]
        started = [event for event in events if event["event"] == "started"]
        assert {"reading held-out clips", "encoding clips", "trying steps", "measuring the weights"} <= {
            event["stage"] for event in started
        }
        (training,) = (event for event in started if event["stage"].startswith("training on cpu"))
        assert (training["verb"], training["unit"], training["total"]) == ("train", unit, 3 if unit == "step" else 1)
        assert any(event["event"] == "progress" and event["unit"] == unit for event in events)
        assert json.loads(done.stdout)["steps"] == 3 or unit == "second"


def test_importing_weights_counts_steps(tmp_path: Path) -> None:
    source = tmp_path / "plain.safetensors"
    save_checkpoint(source, micro_model(), name="plain", origin="here")
    command = [*vidtwin(), "weights", "import", str(source), "--output", str(tmp_path / "out.safetensors")]
    done = subprocess.run([*command, "--progress", "json", "--json"], capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    last = [event for event in events if event["event"] == "progress" and event["unit"] == "step"][-1]
    assert last["done"] == last["total"] > 0
    assert json.loads(done.stdout)["path"] == str(tmp_path / "out.safetensors")
    quiet = subprocess.run([*command, "--force", "-q"], capture_output=True, text=True, check=True)
    assert quiet.stderr == ""


def test_files_of_a_batch_start_and_finish(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    source = make_video("in.mp4", frames=9)
    (tmp_path / "bad.mp4").write_bytes(b"no")
    command = [*vidtwin(), "batch", "--progress", "json", "--weights", str(micro_weights)]
    command += [str(source), str(tmp_path / "bad.mp4"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    events = [json.loads(line) for line in done.stderr.splitlines()]
    told = [event for event in events if event.get("source") == str(source)]
    assert [event["event"] for event in told] == ["started", "finished"]
    assert (told[0]["total"], told[1]["status"]) == (9, "done")
    assert Path(told[1]["output"]).is_file()


def test_before_the_first_stage_nothing_is_counted() -> None:
    assert Meter("train").notes == []
    assert Line("train", None, Meter("train").notes).layout(80) == ("train", 40, "")


@pytest.mark.parametrize(("unit", "shown"), [("byte", "300 B/1.2 kB"), ("second", "5:00/20:00, 5:00 left")])
def test_bytes_and_seconds_are_put_in_words(unit: str, shown: str) -> None:
    assert running("", unit).notes[0].startswith(shown)


def test_failures_are_json_where_json_is_wanted(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.vtw")
    done = subprocess.run([*vidtwin(), "info", "--json", missing], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert set(told) == {"error", "hint"}
    assert missing in told["error"]
    assert missing in done.stderr
    command = [*vidtwin(), "verify", "--progress", "json", missing]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert json.loads(done.stderr.splitlines()[-1])["event"] == "error"
