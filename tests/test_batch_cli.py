"""``vidtwin batch`` as a command: exit codes, JSON, dry runs, interrupts, two runs at once."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from batches import encoding, json_lines, outputs, run_batch, spread
from conftest import MakeVideo, Run
from launching import vidtwin

from vidtwin_codec.batch.rows import ROW_KEYS


@pytest.fixture
def videos(make_video: MakeVideo, tmp_path: Path) -> Path:
    return spread(make_video("one.mp4", frames=8), tmp_path / "videos", "a.mp4", "sub/b.mp4", "sub/b.mov")


def test_a_run_and_a_rerun(run: Run, videos: Path, micro_weights: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    (videos / "bad.mp4").write_bytes(b"no")
    command = ("batch", videos, packed, "--weights", micro_weights, "--device", "cpu")

    code, out, err = run(*command, "--dry-run", "--json")
    assert code == 1
    *lines, failure = json_lines(out)
    assert [line["status"] for line in lines] == ["to do", "to do", "to do", "failed"]
    assert failure["error"] == "1 of 4 files cannot be worked on"
    assert not packed.exists()

    code, out, err = run(*command, "--json")
    *lines, failure = json_lines(out)
    assert failure["error"] == "1 of 4 files failed"
    assert code == 1
    assert [tuple(line) for line in lines[:-1]] == [ROW_KEYS] * 4
    assert sorted(line["status"] for line in lines[:-1]) == ["done", "done", "done", "failed"]
    assert (lines[-1]["status"], lines[-1]["files"], lines[-1]["done"]) == ("summary", 4, 3)
    assert "alike but for their extension, which the output keeps: 2 (sub/b.mov, sub/b.mp4)" in err
    assert "1 of 4 files failed" in err
    assert f"failed: {videos}/bad.mp4: not a video that can be read" in err
    assert list(outputs(packed)) == ["a.vtw", "sub/b.mov.vtw", "sub/b.mp4.vtw"]

    (videos / "bad.mp4").unlink()
    code, out, err = run(*command)
    assert (code, out) == (0, "")
    assert "3 skipped" in err
    assert "report.json" in err

    code, out, _ = run(*command, "--dry-run")
    assert code == 0
    assert "0 files to do" in out

    code, out, err = run(
        "batch", "--decode", packed, tmp_path / "back", "--weights", micro_weights, "-q", "--crf", "30"
    )
    assert (code, out, err) == (0, "", "")
    assert list(outputs(tmp_path / "back")) == ["a.mp4", "sub/b.mov.mp4", "sub/b.mp4.mp4"]


def test_wrong_usage(run: Run, videos: Path, tmp_path: Path) -> None:
    for arguments, said in (
        ([videos], "name what to work on"),
        ([videos, tmp_path / "out", "--crf", "20"], "--crf is for decoding"),
        (["--decode", videos, tmp_path / "out", "--quality", "20"], "--quality is for encoding"),
        (["--decode", videos, tmp_path / "out", "--measure"], "--measure is for encoding"),
        ([videos, tmp_path / "out", "--shard", "5/4"], "there is no shard 5/4"),
        ([videos, tmp_path / "out", "--quality", "20", "--target-kbps", "9"], "--quality and --target-kbps exclude"),
        (["--decode", videos, tmp_path / "out", "--target-kbps", "9"], "--target-kbps is for encoding"),
    ):
        code, _, err = run("batch", *arguments)
        assert (code, said in err) == (2, True), err
    code, _, err = run("batch", tmp_path / "nothing", tmp_path / "out")
    assert (code, "no such file" in err) == (1, True), err


def start(videos: Path, packed: Path, weights: Path) -> subprocess.Popen[str]:
    choices = ["--weights", str(weights), "--device", "cpu", "--jobs", "2"]
    command = [*vidtwin(), "batch", str(videos), str(packed), *choices]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_nothing_half_written(
    number: int, make_video: MakeVideo, micro_weights: Path, tmp_path: Path
) -> None:
    videos = spread(make_video("one.mp4", frames=200), tmp_path / "videos", *(f"{n}.mp4" for n in range(10)))
    packed = tmp_path / "packed"
    child = start(videos, packed, micro_weights)
    while not (packed.is_dir() and outputs(packed)):
        assert child.poll() is None, child.communicate()
        time.sleep(0.01)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (1, ""), err
    assert "interrupted" in err
    assert "Traceback" not in err
    made = outputs(packed)
    assert 1 <= len(made) < 10
    assert not list(packed.glob(".vidtwin-*"))
    report = json.loads((packed / "report.json").read_text())
    assert report["summary"]["left"] > 0


def test_two_runs_at_once_do_each_file_once(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    videos = spread(make_video("one.mp4", frames=40), tmp_path / "videos", *(f"{n}.mp4" for n in range(8)))
    packed = tmp_path / "packed"
    both = [start(videos, packed, micro_weights) for _ in range(2)]
    said = [child.communicate(timeout=150) for child in both]
    print(*said, sep="\n")  # a message of the assertion would be cut
    assert [child.returncode for child in both] == [0, 0]
    journals = [line for path in (packed / ".vidtwin").glob("journal-*") for line in path.read_text().splitlines()]
    assert sorted(json.loads(line)["output"] for line in journals) == [f"{n}.vtw" for n in range(8)]
    run_batch(videos, tmp_path / "clean", encoding(micro_weights))
    assert outputs(packed) == outputs(tmp_path / "clean")
