"""An input that takes long to look at does not keep the others waiting."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from batches import encoding, outputs, run_batch, spread, statuses
from conftest import MakeVideo
from media_samples import stand_in

from vidtwin_codec.batch import plan
from vidtwin_codec.batch.engine import Ended
from vidtwin_codec.batch.looking import in_parallel
from vidtwin_codec.batch.options import BatchOptions
from vidtwin_codec.batch.plan import SLOW
from vidtwin_codec.batch.rows import DONE, SKIPPED
from vidtwin_codec.batch.run import Batch
from vidtwin_codec.media import ffmpeg, watch
from vidtwin_codec.options import Reporter

GOOD = ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A script in place of ffmpeg, to be written; nothing is waited for long."""
    script = tmp_path / "ffmpeg.sh"
    monkeypatch.setattr(plan, "PATIENCE_SECONDS", 1.5)
    monkeypatch.setattr(watch, "STALL_SECONDS", 6.0)
    monkeypatch.setattr(watch, "_LOOK_SECONDS", 0.2)
    watch._watcher.cache_clear()
    return script


def delaying(script: Path, monkeypatch: pytest.MonkeyPatch, delay: str) -> None:
    """From now on ffmpeg does something else first where a file is called ``slow.mp4``."""
    real = shutil.which(ffmpeg.executable())
    stand_in(script, f'if [[ "$*" == *slow.mp4* ]]; then {delay}; fi; exec {real} "$@"')
    monkeypatch.setattr("vidtwin_codec.media.ffmpeg.executable", lambda: str(script))


def test_others_are_encoded_while_ffmpeg_hangs_on_one(
    impatient: Path, make_video: MakeVideo, micro_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = spread(make_video("one.mp4", frames=8), tmp_path / "videos", *GOOD, "slow.mp4")
    delaying(impatient, monkeypatch, "exec sleep 100")
    order: list[str] = []
    with Batch(tmp_path / "packed", BatchOptions(file_options=encoding(micro_weights))) as batch:
        planned = batch.plan([str(videos)])
        assert [job.source.name for job in planned.jobs if job.reason == SLOW] == ["slow.mp4"]
        assert any("slow.mp4" in note for note in planned.notes)
        order += [event.job.source.name for event in batch.run(planned) if isinstance(event, Ended)]
    assert order[-1] == "slow.mp4"
    assert statuses(batch) == {**dict.fromkeys(GOOD, DONE), "slow.mp4": "failed"}
    (failed,) = [row for row in batch.rows if row["error"]]
    assert "ffmpeg hung and was ended" in failed["error"]


def test_what_was_slow_is_encoded_as_if_it_were_not(
    impatient: Path, make_video: MakeVideo, micro_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = spread(make_video("one.mp4", frames=8), tmp_path / "videos", "a.mp4", "slow.mp4")
    run_batch([str(videos)], tmp_path / "local", encoding(micro_weights))
    mark = tmp_path / "mark"
    delaying(impatient, monkeypatch, f"if [ ! -e {mark} ]; then touch {mark}; exec sleep 100; fi")
    batch = run_batch([str(videos)], tmp_path / "packed", encoding(micro_weights))
    assert mark.exists()
    assert statuses(batch) == {"a.mp4": DONE, "slow.mp4": DONE}
    assert outputs(tmp_path / "packed") == outputs(tmp_path / "local")
    mark.unlink()  # slow again, but up to date
    again = run_batch([str(videos)], tmp_path / "packed", encoding(micro_weights))
    assert statuses(again) == {"a.mp4": SKIPPED, "slow.mp4": SKIPPED}


def test_slow_items_are_given_up_and_those_behind_them_are_not(impatient: Path) -> None:
    release = threading.Event()
    begun: list[int] = []

    def look(item: int) -> int:
        if item < 20:
            begun.append(item)
            release.wait(30)
        return item

    advanced: list[int] = []
    reporter = Reporter(advanced=advanced.append)
    found = in_parallel(look, list(range(30)), reporter, patience=0.3)
    release.set()
    assert [item for item in found if item is not None] == list(range(20, 30))
    assert sorted(begun) == list(range(20))
    assert sum(advanced) == 30
