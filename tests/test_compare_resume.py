"""One pass of the network for a whole ladder, and nothing measured twice after an interruption."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeVideo

from vidtwin_codec import DecodeOptions, EncodeOptions, VidtwinError, decode_frames, encode
from vidtwin_codec.cli.main import main
from vidtwin_codec.evaluation.compare import CompareOptions, Comparison, Gop
from vidtwin_codec.evaluation.compare import conventional as conventional_module
from vidtwin_codec.evaluation.compare import ladder as ladder_module
from vidtwin_codec.evaluation.compare.job import ClipJob
from vidtwin_codec.evaluation.compare.ladder import climb, rungs
from vidtwin_codec.evaluation.compare.reference import prepare
from vidtwin_codec.evaluation.compare.run import compare
from vidtwin_codec.evaluation.compare.work_folder import WorkFolder, code_digest
from vidtwin_codec.metrics import psnr
from vidtwin_codec.network.runner import NetworkCache, NetworkRunner
from vidtwin_codec.options import Reporter


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the expensive things happen."""
    counted: Counter[str] = Counter()

    def count(owner: object, name: str, as_name: str) -> None:
        real = getattr(owner, name)

        def counting(*arguments: Any, **named: Any) -> Any:
            counted[as_name] += 1
            return real(*arguments, **named)

        monkeypatch.setattr(owner, name, counting)

    count(NetworkRunner, "load", "load")
    count(NetworkRunner, "begin_encoding", "network")
    count(conventional_module, "encode_stream", "encode_stream")
    count(conventional_module, "measure", "conventional")
    count(ladder_module, "measure", "vidtwin")
    return counted


@pytest.fixture
def options(micro_weights: Path) -> CompareOptions:
    # several tiles, two clips, the last one in part; a call of the network for each
    return CompareOptions(
        weights=str(micro_weights),
        device="cpu",
        batch=1,
        against=("x264",),
        gops=(Gop.CLIP,),
        qualities=(10, 50, 100),
        short_sides=(None, 32),
        frames=7,
    )


def test_every_rung_has_the_bytes_and_frames_of_encode_and_decode(
    make_video: MakeVideo,
    options: CompareOptions,
    calls: Counter[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reference = prepare(make_video("in.mp4", size="49x41", frames=8), tmp_path, frames=7, seconds=1)
    packed: list[bytes] = []
    unlink = Path.unlink

    def kept(path: Path, missing_ok: bool = False) -> None:
        if path.name == "rung.vtw":
            packed.append(path.read_bytes())
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", kept)
    (tmp_path / "job").mkdir()
    job = ClipJob(reference, tmp_path / "job", [1, 5], WorkFolder(), Reporter())
    series, _ = climb(job, options, NetworkCache().load, "any")
    assert calls["load"] == 2  # either half
    assert calls["network"] == 2 * 2  # clips, sizes
    original = np.concatenate(list(reference.read()))
    for step, data in zip(rungs(options, 49, 41), packed, strict=True):
        network = {"weights": options.weights, "device": "cpu", "batch": 1}
        alone = EncodeOptions(quality=step.quality, short_side=step.short_side, audio="none", force=True, **network)
        result = encode(reference.rgb, tmp_path / "alone.vtw", alone)
        assert data == (tmp_path / "alone.vtw").read_bytes()
        (point,) = (point for point in series.points if point.setting == step.title)
        assert point.bytes == result.video_bytes == len(data)
        frames = np.concatenate(list(decode_frames(tmp_path / "alone.vtw", DecodeOptions(**network))))
        assert point.metrics["psnr"] == pytest.approx(float(psnr(original, frames).mean()), abs=1e-9)
        if series.points[series.matched or 0] is point:
            assert np.array_equal(series.views, frames[[1, 5]])
        assert point.encode_seconds > 0
        assert point.decode_seconds > 0


def test_networks_are_kept_apart_by_what_decides_about_them(micro_weights: Path, calls: Counter[str]) -> None:
    from vidtwin_codec.weights import resolve

    entry, networks = resolve(micro_weights), NetworkCache()
    options = EncodeOptions(device="cpu")
    first = networks.load(entry, options, "encoder")
    assert networks.load(entry, dataclasses.replace(options, quality=1), "encoder") is first
    for other in ({"batch": 3}, {"precision": "bfloat16"}):
        assert networks.load(entry, dataclasses.replace(options, **other), "encoder") is not first
    assert networks.load(entry, options, "decoder") is not first
    assert calls["load"] == 4


class CutError(Exception):
    """Stands for a crash."""


def plain(comparison: Comparison) -> dict[str, Any]:
    """Everything but the seconds."""
    values = comparison.to_json()
    for clip in values["clips"]:
        for series in (clip["vidtwin"], *clip["others"]):
            for point in series["points"]:
                del point["encode_seconds"], point["decode_seconds"]
    return values


def test_a_comparison_that_was_cut_short_goes_on(
    make_video: MakeVideo, options: CompareOptions, calls: Counter[str], tmp_path: Path
) -> None:
    source, said = make_video("in.mp4", size="49x41", frames=8), list[str]()

    def until(count: int) -> Any:
        said.clear()

        def listen(text: str) -> None:
            said.append(text)
            if len(said) == count:
                raise CutError

        return listen

    whole = compare([source], options)
    every = calls.copy()
    calls.clear()
    work = tmp_path / "work"
    for stop in (4, 9):  # among vidtwin's rungs, among x264's rates
        with pytest.raises(CutError):
            compare([source], options, work=WorkFolder(work), reporter=Reporter(said=until(stop)))
    resumed = compare([source], options, work=WorkFolder(work))
    assert plain(resumed) == plain(whole)
    assert (calls["vidtwin"], calls["conventional"]) == (every["vidtwin"], every["conventional"])
    for clip, other in zip(resumed.clips, whole.clips, strict=True):
        for one, two in zip((clip.vidtwin, *clip.others), (other.vidtwin, *other.others), strict=True):
            assert len(one.views) == len(two.views) == 3
            assert np.array_equal(one.views, two.views)
    calls.clear()
    # a copy under another name holds the same frames
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(source.read_bytes())
    again = compare([copy], options, work=WorkFolder(work))
    assert again.clips[0].vidtwin.points == resumed.clips[0].vidtwin.points
    assert set(calls) == {"load"}
    # fewer frames are another thing
    compare([source], dataclasses.replace(options, frames=5), work=WorkFolder(work))
    assert calls["vidtwin"] == 6


def test_a_record_that_cannot_be_trusted_counts_as_none(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "work")
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    work.keep({"crf": 3}, {"bytes": 7, "vmaf": None}, [image])
    found = WorkFolder(tmp_path / "work").recall({"crf": 3})
    assert found is not None
    assert found.values == {"bytes": 7, "vmaf": None}
    assert np.array_equal(found.images, [image])
    assert work.recall({"crf": 4}) is None
    (file,) = (tmp_path / "work").glob("*.npz")
    good = file.read_bytes()
    for bad in (b"", b"no zip", good[:-30], good.replace(b"record", b"rec0rd"), good[:60] + b"\0" * 20 + good[80:]):
        file.write_bytes(bad)
        assert work.recall({"crf": 3}) is None
    file.write_bytes(good)
    # one record in another's place
    work.keep({"crf": 5}, {"bytes": 8}, [])
    (other,) = set((tmp_path / "work").glob("*.npz")) - {file}
    other.write_bytes(good)
    assert work.recall({"crf": 5}) is None


def test_code_that_takes_part_is_part_of_the_key() -> None:
    both, one = code_digest("evaluation/compare/streams", "metrics"), code_digest("metrics")
    assert both != one != code_digest("media")
    assert both == code_digest("evaluation/compare/streams", "metrics")
    with pytest.raises(FileNotFoundError):
        code_digest("compare/no_such_module")


def test_a_work_folder_is_nobody_elses_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(VidtwinError, match="is not a work folder"):
        WorkFolder(tmp_path)
    with pytest.raises(VidtwinError, match=r"thesis\.txt"):
        WorkFolder(tmp_path / "thesis.txt")
    work = WorkFolder(tmp_path / "new" / "work")
    assert not (tmp_path / "new").exists()  # nothing to keep yet
    work.keep({"crf": 3}, {}, [])
    WorkFolder(tmp_path / "new" / "work").remove()
    assert not (tmp_path / "new" / "work").exists()
    work.keep({"crf": 3}, {}, [])
    (tmp_path / "new" / "work" / "mine.txt").write_text("put here by hand")
    work.remove()
    assert [path.name for path in (tmp_path / "new" / "work").iterdir()] == ["mine.txt"]
    nothing = WorkFolder()
    nothing.keep({}, {}, [])
    assert nothing.recall({}) is None
    nothing.remove()


def test_the_command_keeps_what_is_finished_until_the_report_is_there(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make_video: MakeVideo,
    tmp_path: Path,
    micro_weights: Path,
    calls: Counter[str],
) -> None:
    make_video("in.mp4", frames=6)
    report, beside = tmp_path / "report.html", tmp_path / "report.html.work"
    options = ["--weights", str(micro_weights), "--qualities", "10,50", "--against", "x264", "--gop", "clip"]

    def run(*more: str) -> int:
        sources = [str(tmp_path / "in.mp4"), "-o", str(report), *options, *more]
        monkeypatch.setattr(sys, "argv", ["vidtwin", "compare", *sources])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code

    encode_stream = conventional_module.encode_stream

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(conventional_module, "encode_stream", interrupted)
    assert run() == 1
    said = capsys.readouterr().err
    assert f"what is finished is kept in {beside}" in said
    assert "nothing was written" not in said
    assert not report.exists()
    assert len(list(beside.glob("*.npz"))) == 2
    calls.clear()

    monkeypatch.setattr(conventional_module, "encode_stream", encode_stream)
    assert run() == 0
    assert calls["vidtwin"] == 0
    assert report.exists()
    assert not beside.exists()

    chosen = tmp_path / "kept"
    assert run("--force", "--work", str(chosen)) == 0
    assert chosen.exists()
    calls.clear()
    assert run("--force", "--work", str(chosen)) == 0
    assert set(calls) == {"load"}
