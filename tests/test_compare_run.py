"""``vidtwin compare`` from the command line, and what it leaves behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeVideo

from vidtwin_codec.cli.main import main
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.compare import codecs as codecs_module
from vidtwin_codec.evaluation.compare.codecs import CODECS, Gop
from vidtwin_codec.evaluation.compare.ladder import Rung, matched_rung, rungs
from vidtwin_codec.evaluation.compare.options import CompareOptions
from vidtwin_codec.evaluation.compare.run import compare
from vidtwin_codec.evaluation.compare.sources import find_videos, titles
from vidtwin_codec.evaluation.report import render
from vidtwin_codec.media.ffmpeg import video_encoders


class Ran:
    """What a command left: its exit code, what it said on standard error, and what it wrote on standard output."""

    def __init__(self, code: int, said: str, wrote: str) -> None:
        self.code, self.said, self.wrote = code, said, wrote


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Ran:
    monkeypatch.setattr(sys, "argv", ["vidtwin", "compare", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    left = capsys.readouterr()
    return Ran(ended.value.code, left.err, left.out)


@pytest.fixture
def short(micro_weights: Path) -> list[str]:
    """Options that make it quick."""
    return ["--weights", str(micro_weights), "--qualities", "10,50,100", "--frames", "8"]


def test_a_comparison_from_end_to_end(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make_video: MakeVideo,
    tmp_path: Path,
    short: list[str],
) -> None:
    make_video("in.mp4", size="49x41", frames=12, audio=True)
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    report, numbers = tmp_path / "report.html", tmp_path / "report.json"
    known = video_encoders()
    monkeypatch.setattr(codecs_module, "video_encoders", lambda: known - {"libaom-av1"})
    done = run(
        *(monkeypatch, capsys, tmp_path, "-o", report, "--also-json", numbers, "--against", "x264,aom"),
        *("--short-sides", "native,32,200", "--json", *short),
    )
    assert done.code == 1, done.said  # one source could not be compared
    assert "broken.mp4 is left out" in done.said
    assert "libaom is left out: this ffmpeg was built without libaom-av1" in done.said

    values: dict[str, Any] = json.loads(numbers.read_text())
    numbers_line, failure = map(json.loads, done.wrote.splitlines())
    assert numbers_line == values
    assert failure["error"] == "1 of 2 sources could not be compared"
    (clip,) = values["clips"]
    assert (clip["name"], clip["width"], clip["height"], clip["frames"], clip["fps"]) == ("in.mp4", 49, 41, 8, "25")
    assert list(values["failed"]) == ["broken.mp4"]
    assert values["missing"] == {"libaom": "this ffmpeg was built without libaom-av1"}
    assert values["clip_frames"] == 4
    assert len(clip["vidtwin"]["points"]) == 6  # 200 would not shrink it
    assert [s["variant"]["gop"] for s in clip["others"]] == ["sequence", "clip"]
    low, high = (f([p["bytes"] for p in clip["vidtwin"]["points"]]) for f in (min, max))
    for series in clip["others"]:
        sizes = [p["bytes"] for p in series["points"]]
        assert len(sizes) >= 5
        assert sizes == sorted(sizes)
        assert max(sizes) > low
        if min(sizes) > 1.1 * low:
            assert f"takes {min(sizes)} bytes even at its coarsest setting" in series["notes"][0]
        goal = clip["vidtwin"]["points"][clip["vidtwin"]["matched"]]["bytes"]
        nearest = min(sizes, key=lambda size: max(size / goal, goal / size))
        assert series["points"][series["matched"]]["bytes"] == nearest
        for p in series["points"]:
            assert p["metrics"]["psnr"] > 10
            assert p["bits_per_pixel"] == pytest.approx(8 * p["bytes"] / (49 * 41 * 8))
            assert p["encode_seconds"] > 0
            assert p["decode_seconds"] > 0
    assert high > low

    assert {(d["codec"], d["variant"]["gop"], d["metric"]) for d in values["deltas"]} == {
        ("x264", gop, metric) for gop in ("sequence", "clip") for metric in ("psnr", "ssim", "vmaf")
    }
    assert all("in.mp4" in d["clips"] and "rate" in d["mean"] for d in values["deltas"])

    page = report.read_text(encoding="utf-8")
    assert "broken.mp4" in page
    assert page.count("data:image/") == 3 * 4  # three frames: source, vidtwin, x264 in two ways

    again = run(monkeypatch, capsys, tmp_path / "in.mp4", "-o", report, *short)
    assert again.code == 1
    assert "--force" in again.said


def test_wrong_wishes_are_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = tmp_path / "a.html"
    for options, said in (
        (["--against", "x263"], "x263: no such codec"),
        (["--preset", "medium,medium"], "a preset is named twice"),
        (["--qualities", "101"], "between 0 and 100"),
        (["--against", ""], "no codec is chosen"),
    ):
        done = run(monkeypatch, capsys, "in.mp4", "-o", output, *options)
        assert (done.code, said in done.said) == (2, True), done.said
    for options in (
        ["--qualities", "high"],
        ["--gop", "16"],
        ["--short-sides", "tall"],
        ["--frames", "0"],
        ["--also-json", str(output)],
        ["--json", "--also-json", "-"],
    ):
        assert run(monkeypatch, capsys, "in.mp4", "-o", output, *options).code == 2
    assert not output.exists()


def test_a_single_frame_can_be_compared(make_video: MakeVideo, micro_weights: Path) -> None:
    source = make_video("still.mp4", size="33x35", frames=1)
    options = CompareOptions(weights=str(micro_weights), against=("x264",), gops=(Gop.CLIP,), qualities=(10, 100))
    found = compare([source], options)
    (clip,) = found.clips
    assert (clip.frames, clip.view_frames, len(clip.others[0].views)) == (1, [0], 1)
    assert all(point.metrics["ssim"] is not None for point in clip.others[0].points)
    assert "33 × 35, 1 frame." in render(found)


def test_nothing_to_compare_is_an_error_and_leaves_no_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, short: list[str]
) -> None:
    output = tmp_path / "a.html"
    done = run(monkeypatch, capsys, tmp_path / "none.mp4", "-o", output, "--against", "x264", *short)
    assert done.code == 1
    assert "none of the sources could be compared" in done.said
    monkeypatch.setattr(codecs_module, "video_encoders", frozenset)
    done = run(monkeypatch, capsys, tmp_path / "none.mp4", "-o", output, "--against", "x264", *short)
    assert "none of the codecs to compare with can be run" in done.said
    assert not output.exists()


def test_the_ladder_leaves_out_sides_that_change_nothing() -> None:
    options = CompareOptions(qualities=(20, 75), short_sides=(None, 224, 480))
    steps = rungs(options, 640, 360)
    assert steps == [Rung(20, None), Rung(75, None), Rung(20, 224), Rung(75, 224)]
    assert rungs(options, 200, 100) == [Rung(20, None), Rung(75, None)]
    assert matched_rung(steps) == Rung(75, None)
    assert matched_rung([Rung(10, 224), Rung(90, 224), Rung(50, 224)]) == Rung(50, 224)


def test_sources_are_files_and_folders_each_once(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mkv", "notes.txt", "deep/b.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    found = find_videos([str(tmp_path), "other.mp4"])
    assert found == [*(str(tmp_path / name) for name in ("a.mkv", "b.mp4", "deep/b.mp4")), "other.mp4"]
    assert list(titles(found).values()) == ["a.mkv", f"{tmp_path.name}/b.mp4", "deep/b.mp4", "other.mp4"]
    assert list(titles(["b.mp4", "/b.mp4", "/one/b.mp4"]).values()) == ["b.mp4", "/b.mp4", "one/b.mp4"]
    for twice in (["a.mp4", "a.mp4"], ["a.mp4", "./deep/../a.mp4"], [str(tmp_path), str(tmp_path / "deep" / "b.mp4")]):
        with pytest.raises(VidtwinError, match="named twice"):
            find_videos(twice)
    (tmp_path / "empty").mkdir()
    with pytest.raises(VidtwinError, match="no videos in it"):
        find_videos([str(tmp_path / "empty")])


def test_the_default_codecs_are_known() -> None:
    assert set(CompareOptions().against) <= set(CODECS)
