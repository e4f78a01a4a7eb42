"""Whole batches in this process: what is made, what is skipped, what is made again."""

from __future__ import annotations

import csv
import json
import shutil
import threading
from pathlib import Path

import pytest
from batches import encoding, outputs, run_batch, spread, statuses, touch
from conftest import MakeVideo

import vidtwin_codec
from vidtwin_codec.batch import local
from vidtwin_codec.batch.engine import Ended, Progress
from vidtwin_codec.batch.options import BatchOptions, fingerprint, same_options
from vidtwin_codec.batch.rows import DONE, FAILED, LEFT, ROW_KEYS, SKIPPED
from vidtwin_codec.batch.run import Batch
from vidtwin_codec.batch.shards import Shard
from vidtwin_codec.container import verify
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.measure.options import KEYS
from vidtwin_codec.media import probe
from vidtwin_codec.options import DecodeOptions, EncodeOptions


@pytest.fixture
def videos(make_video: MakeVideo, tmp_path: Path) -> Path:
    """Three small videos in a tree, one with sound."""
    folder = tmp_path / "videos"
    (folder / "sub").mkdir(parents=True)
    make_video("a.mp4", frames=10, audio=True).rename(folder / "a.mp4")
    make_video("b.mp4", size="70x40", frames=6).rename(folder / "sub" / "b.mp4")
    make_video("c.mkv", frames=3).rename(folder / "sub" / "c.mkv")
    return folder


def test_outputs_are_those_of_encode_and_decode(videos: Path, micro_weights: Path, tmp_path: Path) -> None:
    packed, back = tmp_path / "packed", tmp_path / "back"
    work = encoding(micro_weights, short_side=36)
    batch = run_batch(videos, packed, work)
    assert statuses(batch) == {"a.mp4": DONE, "b.mp4": DONE, "c.mkv": DONE}
    assert list(outputs(packed)) == ["a.vtw", "sub/b.vtw", "sub/c.vtw"]
    for source, output in (("a.mp4", "a.vtw"), ("sub/b.mp4", "sub/b.vtw"), ("sub/c.mkv", "sub/c.vtw")):
        vidtwin_codec.encode(
            videos / source, tmp_path / "alone.vtw", encoding(micro_weights, short_side=36, force=True)
        )
        assert (packed / output).read_bytes() == (tmp_path / "alone.vtw").read_bytes()

    decoding = DecodeOptions(weights=str(micro_weights), device="cpu", preset="ultrafast")
    batch = run_batch(packed, back, decoding, extension="mov")
    assert set(statuses(batch).values()) == {DONE}
    assert list(outputs(back)) == ["a.mov", "sub/b.mov", "sub/c.mov"]
    vidtwin_codec.decode(packed / "a.vtw", tmp_path / "alone.mov", decoding)
    assert (back / "a.mov").read_bytes() == (tmp_path / "alone.mov").read_bytes()
    assert (probe(back / "sub" / "b.mov").width, probe(back / "sub" / "b.mov").frames) == (70, 6)
    assert set(statuses(run_batch(packed, back, decoding, extension="mov")).values()) == {SKIPPED}


def test_effort_and_targets_are_those_of_encode(videos: Path, micro_weights: Path, tmp_path: Path) -> None:
    for number, changes in enumerate(({"effort": 0}, {"target_kbps": 60.0, "audio": "none"})):
        packed, alone = tmp_path / f"packed{number}", tmp_path / "alone.vtw"
        assert set(statuses(run_batch(videos, packed, encoding(micro_weights, **changes))).values()) == {DONE}
        vidtwin_codec.encode(videos / "a.mp4", alone, encoding(micro_weights, force=True, **changes))
        assert (packed / "a.vtw").read_bytes() == alone.read_bytes()


def test_whole_frames_are_those_of_encode_merged_or_not(
    make_video: MakeVideo, window_weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name, size in (("a.mp4", "40x36"), ("b.mp4", "40x36"), ("c.mp4", "23x50")):
        make_video(name, size=size, frames=6).rename(tmp_path / "in" / name)
    work = encoding(window_weights)
    for merge in (False, True):
        batch = run_batch(tmp_path / "in", tmp_path / f"out{merge}", work, merge=merge, jobs=3)
        assert set(statuses(batch).values()) == {DONE}
    for name in ("a", "b", "c"):
        vidtwin_codec.encode(tmp_path / "in" / f"{name}.mp4", tmp_path / f"{name}.vtw", work)
        assert (tmp_path / "outFalse" / f"{name}.vtw").read_bytes() == (tmp_path / f"{name}.vtw").read_bytes()
        assert verify(tmp_path / "outTrue" / f"{name}.vtw") == []


def test_merged_calls_on_two_devices_give_the_same(
    videos: Path, micro_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_batch(videos, tmp_path / "one", encoding(micro_weights))
    monkeypatch.setattr(local, "_devices", lambda name: ["cpu", "cpu"])
    batch = run_batch(videos, tmp_path / "two", encoding(micro_weights), merge=True, jobs=3)
    assert set(statuses(batch).values()) == {DONE}
    assert list(outputs(tmp_path / "one")) == list(outputs(tmp_path / "two"))
    for name in outputs(tmp_path / "one"):
        options = DecodeOptions(weights=str(micro_weights), device="cpu")
        pairs = [vidtwin_codec.decode_frames(tmp_path / run / name, options) for run in ("one", "two")]
        for ours, theirs in zip(*pairs, strict=True):
            # sums of merged calls may round differently, which moves a symbol now and then
            assert abs(ours.astype(int) - theirs).mean() < 1


def test_a_rerun_skips_what_is_whole_and_the_same(videos: Path, micro_weights: Path, tmp_path: Path) -> None:
    packed, work = tmp_path / "packed", encoding(micro_weights)
    run_batch(videos, packed, work)
    before = {name: (packed / name).stat().st_mtime_ns for name in outputs(packed)}
    batch = run_batch(videos, packed, encoding(micro_weights, batch=2))  # not what goes into a file
    assert set(statuses(batch).values()) == {SKIPPED}
    assert {name: (packed / name).stat().st_mtime_ns for name in outputs(packed)} == before
    assert batch.summary["frames"] == 19
    assert all(row["vtw_bytes"] for row in batch.rows)


def redone(videos: Path, packed: Path, work: EncodeOptions, **changes: object) -> list[str]:
    found = statuses(run_batch(videos, packed, work, **changes))
    assert set(found.values()) <= {DONE, SKIPPED}
    return [name for name, status in found.items() if status == DONE]


def test_damaged_missing_and_changed_are_made_again(videos: Path, micro_weights: Path, tmp_path: Path) -> None:
    packed, work = tmp_path / "packed", encoding(micro_weights)
    run_batch(videos, packed, work)
    sound = outputs(packed)

    data = bytearray(sound["a.vtw"])
    data[len(data) // 2] ^= 1
    (packed / "a.vtw").write_bytes(data)
    (packed / "sub" / "b.vtw").unlink()
    assert redone(videos, packed, work) == ["a.mp4", "b.mp4"]
    assert outputs(packed) == sound

    (packed / "a.vtw").write_bytes(sound["a.vtw"][:-1])
    assert redone(videos, packed, work) == ["a.mp4"]

    touch(videos / "a.mp4")
    assert redone(videos, packed, work, digest=True) == []
    assert redone(videos, packed, work) == ["a.mp4"]
    shutil.copy(videos / "sub" / "c.mkv", videos / "a.mp4")
    assert redone(videos, packed, work, digest=True) == ["a.mp4"]
    assert outputs(packed)["a.vtw"] != sound["a.vtw"]

    other = encoding(micro_weights, quality=30)
    assert len(redone(videos, packed, other)) == 3
    assert redone(videos, packed, other) == []


def test_other_weights_make_everything_again(videos: Path, micro_weights: Path, tmp_path: Path) -> None:
    from vidtwin_codec.model.checkpoint import load_checkpoint, save_checkpoint
    from vidtwin_codec.weights import resolve

    model = load_checkpoint(micro_weights)
    with_other_steps = resolve(micro_weights).metadata.steps
    assert with_other_steps is not None
    other = tmp_path / "other.safetensors"
    save_checkpoint(
        other,
        model,
        name="other",
        steps=with_other_steps.scaled(2.0),
        compute_dtype="float32",
        storage="float32",
        origin="random numbers",
    )
    run_batch(videos, tmp_path / "packed", encoding(micro_weights))
    assert len(redone(videos, tmp_path / "packed", encoding(other))) == 3


def test_an_output_that_no_batch_made_is_left_alone(videos: Path, micro_weights: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "a.vtw").write_bytes(b"precious")
    batch = run_batch(videos, packed, encoding(micro_weights))
    assert statuses(batch) == {"a.mp4": FAILED, "b.mp4": DONE, "c.mkv": DONE}
    assert (packed / "a.vtw").read_bytes() == b"precious"
    assert redone(videos, packed, encoding(micro_weights, force=True)) == ["a.mp4"]
    assert (packed / "a.vtw").read_bytes() != b"precious"


def test_a_bad_file_does_not_stop_the_rest(videos: Path, micro_weights: Path, tmp_path: Path) -> None:
    (videos / "bad.mp4").write_bytes(b"not a video")
    (videos / "empty.mp4").touch()
    whole = (videos / "a.mp4").read_bytes()
    (videos / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    batch = run_batch(videos, tmp_path / "packed", encoding(micro_weights))
    failed = {Path(row["source"]).name: row["error"] for row in batch.rows if row["status"] == FAILED}
    assert sorted(failed) == ["bad.mp4", "cut.mp4", "empty.mp4"]
    assert "the file is empty" in failed["empty.mp4"]
    assert batch.summary[DONE] == 3
    # a file that a tree cannot hold
    (videos / "sub" / "b.mp4").rename(videos / "a.vtw.mp4")
    (tmp_path / "packed" / "sub" / "c.vtw").unlink()
    (tmp_path / "packed" / "sub" / "b.vtw").unlink()
    (tmp_path / "packed" / "sub").rmdir()
    (tmp_path / "packed" / "sub").write_bytes(b"in the way")
    batch = run_batch(videos, tmp_path / "packed", encoding(micro_weights))
    assert {name for name, status in statuses(batch).items() if status == FAILED} == {*failed, "c.mkv"}


def test_a_file_that_fails_at_work_leaves_nothing(
    videos: Path, micro_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidtwin_codec.batch import job_runner

    real = job_runner.encode

    def encode(source: Path, *arguments: object, **choices: object) -> object:
        made = real(source, *arguments, **choices)  # type: ignore[arg-type]
        if source.name == "b.mp4":
            raise VidtwinError("the disk is full")
        if source.name == "c.mkv":
            raise ZeroDivisionError("a bug")
        return made

    monkeypatch.setattr(job_runner, "encode", encode)
    batch = run_batch(videos, tmp_path / "packed", encoding(micro_weights))
    errors = {Path(row["source"]).name: row["error"] for row in batch.rows}
    assert errors == {"a.mp4": None, "b.mp4": "the disk is full", "c.mkv": "internal error: ZeroDivisionError: a bug"}
    assert list(outputs(tmp_path / "packed")) == ["a.vtw"]
    monkeypatch.undo()
    assert redone(videos, tmp_path / "packed", encoding(micro_weights)) == ["b.mp4", "c.mkv"]


def test_stopping_midway_leaves_whole_outputs_and_the_next_run_goes_on(
    make_video: MakeVideo, micro_weights: Path, tmp_path: Path
) -> None:
    videos = spread(make_video("one.mp4", frames=12), tmp_path / "videos", *(f"{n}.mp4" for n in range(8)))
    packed = tmp_path / "packed"
    with Batch(packed, BatchOptions(file_options=encoding(micro_weights), jobs=3)) as batch:
        events = batch.run(batch.plan([str(videos)]))
        for event in events:
            if isinstance(event, Ended):
                break
        events.close()
        done = batch.summary[DONE]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vidtwin")]
    assert 1 <= done < 8
    assert batch.summary[LEFT] == 8 - done
    kept = outputs(packed)
    assert done <= len(kept) < 8  # one may have been finished while the others were stopped
    again = run_batch(videos, packed, encoding(micro_weights))
    assert list(statuses(again).values()).count(SKIPPED) == len(kept)
    clean = tmp_path / "clean"
    run_batch(videos, clean, encoding(micro_weights))
    assert outputs(packed) == outputs(clean)


def test_a_journal_that_was_cut_off_or_runs_ahead_is_no_harm(videos: Path, micro_weights: Path, tmp_path: Path) -> None:
    packed, work = tmp_path / "packed", encoding(micro_weights)
    run_batch(videos, packed, work)
    sound = outputs(packed)
    (journal,) = (packed / ".vidtwin").glob("journal-*")
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    # a crash after the line and before the rename: the old output is still there
    (packed / "a.vtw").write_bytes(b"older")
    # and one in the middle of a line: its output was not renamed yet
    torn = next(line for line in lines if b'"sub/b.vtw"' in line)
    journal.write_bytes(b"".join(line for line in lines if line != torn) + torn[:50])
    (packed / "sub" / "b.vtw").unlink()
    assert redone(videos, packed, work) == ["a.mp4", "b.mp4"]
    assert outputs(packed) == sound


def test_the_report_has_the_keys_of_measure(videos: Path, micro_weights: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    (videos / "bad.mp4").write_bytes(b"no")
    batch = run_batch(videos, packed, encoding(micro_weights))
    report = json.loads((packed / "report.json").read_text())
    assert [row["status"] for row in report["files"]] == [DONE, FAILED, DONE, DONE]
    assert all(tuple(row) == ROW_KEYS for row in report["files"])
    assert set(KEYS) < set(ROW_KEYS)
    assert report["summary"]["failed"] == batch.summary["failed"] == 1
    assert report["summary"]["vtw_bytes"] == sum(len(data) for data in outputs(packed).values())
    table = list(csv.DictReader((packed / "report.csv").read_text().splitlines()))
    assert [row["frames"] for row in table] == ["10", "", "6", "3"]
    assert table[0]["psnr"] == ""
    # measuring what is there already needs no encoding, and is kept
    made = outputs(packed)
    batch = run_batch(videos, packed, encoding(micro_weights), measure=True)
    assert batch.summary["measured"] == 3
    assert outputs(packed) == made
    batch = run_batch(videos, packed, encoding(micro_weights), measure=True)
    assert (batch.summary["measured"], batch.summary[SKIPPED]) == (3, 3)
    found = vidtwin_codec.measure(
        videos / "a.mp4",
        packed / "a.vtw",
        vidtwin_codec.MeasureOptions(weights=str(micro_weights), device="cpu", metrics=("psnr",)),
    )
    assert batch.rows[0]["psnr"] == pytest.approx(found.scores.means["psnr"])


def test_measuring_while_encoding(videos: Path, micro_weights: Path, tmp_path: Path) -> None:
    batch = run_batch(videos, tmp_path / "packed", encoding(micro_weights), measure=True)
    assert all(row["psnr"] > 0 for row in batch.rows)
    with pytest.raises(VidtwinError, match="measured"):
        BatchOptions(file_options=DecodeOptions(), measure=True)


def test_shards_do_everything_once(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    videos = spread(make_video("one.mp4", frames=4), tmp_path / "videos", *(f"{n}.mp4" for n in range(5)))
    (videos / "bad.mp4").write_bytes(b"no")
    packed = tmp_path / "packed"
    found = [
        statuses(run_batch(videos, packed, encoding(micro_weights), shard=Shard(number, 3))) for number in (2, 1, 3)
    ]
    assert sorted(name for shard in found for name in shard) == ["0.mp4", "1.mp4", "2.mp4", "3.mp4", "4.mp4", "bad.mp4"]
    assert [status for shard in found for status in shard.values()].count(DONE) == 5
    assert all(shard for shard in found)
    assert sorted(path.name for path in packed.glob("report*json")) == [f"report-{n}-of-3.json" for n in (1, 2, 3)]


def test_in_place_beside_the_sources(videos: Path, micro_weights: Path) -> None:
    assert set(statuses(run_batch(videos, videos, encoding(micro_weights))).values()) == {DONE}
    assert (videos / "sub" / "b.vtw").is_file()
    # decoded, a.vtw would become the very source it was made from
    batch = run_batch(videos, videos, DecodeOptions(weights=str(micro_weights), device="cpu"))
    assert statuses(batch) == {"a.vtw": FAILED, "b.vtw": FAILED, "c.vtw": DONE}


def test_progress_adds_up(videos: Path, micro_weights: Path, tmp_path: Path) -> None:
    with Batch(tmp_path / "packed", BatchOptions(file_options=encoding(micro_weights))) as batch:
        plan = batch.plan([str(videos)])
        assert {job.name: job.frames for job in plan.jobs} == {"a.vtw": 10, "sub/b.vtw": 6, "sub/c.vtw": 3}
        # clips of 4 frames, tiles of 32 pixels: 40 x 36 takes 2 x 2 of them
        assert {job.name: job.cost for job in plan.jobs}["a.vtw"] == 3 * 4
        last: dict[str, Progress] = {}
        for event in batch.run(plan):
            if isinstance(event, Progress):
                last[event.job.name] = event
    assert {name: (event.done, event.total) for name, event in last.items()} == {
        "a.vtw": (10, 10),
        "sub/b.vtw": (6, 6),
        "sub/c.vtw": (3, 3),
    }


def test_options_that_cannot_change_an_output_are_no_difference() -> None:
    options = EncodeOptions(quality=50)
    assert same_options(fingerprint(options), EncodeOptions(quality=50, device="cuda", batch=3, force=True))
    assert not same_options(fingerprint(options), EncodeOptions(quality=51))
    # a file of an older version, before an option was invented, had that option's default
    older = {name: value for name, value in fingerprint(options).items() if name != "overlap"}
    assert same_options(older, EncodeOptions(quality=50))
    assert not same_options(older, EncodeOptions(quality=50, overlap=8))


def test_nothing_to_work_on(tmp_path: Path, micro_weights: Path) -> None:
    (tmp_path / "videos").mkdir()
    with pytest.raises(VidtwinError, match="nothing to work on"):
        run_batch(tmp_path / "videos", tmp_path / "packed", encoding(micro_weights))
    (tmp_path / "file").touch()
    with pytest.raises(VidtwinError, match="is not a folder"):
        run_batch(tmp_path / "videos", tmp_path / "file", encoding(micro_weights))
