"""The Ray engine on a real cluster of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from batches import encoding, outputs, run_batch, spread, statuses
from conftest import MakeVideo
from ray_clusters import OnRay, kill_busy_worker, wait_for, workers

from vidtwin_codec import VidtwinError
from vidtwin_codec.batch.engine import Ended, Event
from vidtwin_codec.batch.options import BatchOptions
from vidtwin_codec.batch.ray.cluster import RayOptions
from vidtwin_codec.batch.ray.engine import RayEngine
from vidtwin_codec.batch.records import FileStamp
from vidtwin_codec.batch.rows import DONE, LEFT, SKIPPED
from vidtwin_codec.batch.run import Batch
from vidtwin_codec.container import verify
from vidtwin_codec.options import DecodeOptions

# a cluster of several processes takes its time on a busy machine
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Four cores, as if; every run of this module starts workers of its own on it."""
    import ray

    os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def journal(packed: Path) -> list[str]:
    """Outputs that are recorded, each as often as it was made."""
    lines = [line for path in (packed / ".vidtwin").glob("journal-*") for line in path.read_text().splitlines()]
    return sorted(json.loads(line)["output"] for line in lines)


def leftovers(packed: Path) -> list[Path]:
    """Hidden files that a run should have removed."""
    state = packed / ".vidtwin"
    return [
        *packed.rglob(".vidtwin-*"),
        *(path for path in state.iterdir() if path.suffix != ".jsonl" and path.name != "locks"),
    ]


def test_outputs_are_those_of_the_local_engine(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    (videos / "sub").mkdir(parents=True)
    # three groups, in two parts
    make_video("long.mkv", rate=4, frames=90, audio=True).rename(videos / "long.mkv")
    make_video("b.mp4", size="70x40", frames=6, audio=True).rename(videos / "sub" / "b.mp4")
    (videos / "bad.mp4").write_bytes(b"no video")
    work = encoding(micro_weights, effort=0)
    local = run_batch(videos, tmp_path / "local", work)
    seen: list[Event] = []
    done = OnRay(videos, tmp_path / "ray", work, cores=2, split=10, watch=seen.append)
    assert outputs(tmp_path / "ray") == outputs(tmp_path / "local")
    assert statuses(done.batch) == statuses(local) == {"long.mkv": DONE, "b.mp4": DONE, "bad.mp4": "failed"}
    assert leftovers(tmp_path / "ray") == []
    assert (done.warnings, done.notes) == ([], [])
    times = {"seconds", "output"}
    for ours, theirs in zip(done.batch.rows, local.rows, strict=True):
        assert {k: v for k, v in ours.items() if k not in times} == {k: v for k, v in theirs.items() if k not in times}
        assert Path(ours["output"] or "ray").is_relative_to(tmp_path / "ray") or ours["output"] is None

    # progress of the parts adds up to that of the file
    shares = [event.done for event in seen if event.job.name == "long.vtw" and not isinstance(event, Ended)]
    assert shares == sorted(shares)
    assert shares[-1] == 90

    assert set(statuses(OnRay(videos, tmp_path / "ray", work).batch).values()) == {SKIPPED, "failed"}


def test_a_killed_worker_loses_nothing_and_doubles_nothing(
    make_video: MakeVideo, micro_weights: Path, tmp_path: Path
) -> None:
    names = [f"{n}.mp4" for n in range(5)]
    videos = spread(make_video("one.mp4", frames=40), tmp_path / "videos", *names)
    make_video("long.mkv", rate=4, frames=120).rename(videos / "long.mkv")
    killer = ThreadPoolExecutor(1)
    kills: list[Future[None]] = []

    def kill_once(event: Event) -> None:
        if isinstance(event, Ended) and not kills:
            kills.append(killer.submit(kill_busy_worker))

    packed = tmp_path / "packed"
    with killer:
        # calls of the network side by side: the local engine makes one at a time, because tests have one thread
        done = OnRay(videos, packed, encoding(micro_weights), cores=2, watch=kill_once, jobs=3, split=10)
    kills[0].result()
    assert statuses(done.batch) == dict.fromkeys([*names, "long.mkv"], DONE)
    # what was recorded but not yet renamed when the worker died is recorded again: that may be what it had in hand
    found = journal(packed)
    assert sorted(set(found)) == [*(f"{n}.vtw" for n in range(5)), "long.vtw"]
    assert len(found) <= 6 + 3
    assert leftovers(packed) == []
    (note,) = done.notes
    assert "was lost; others get its" in note
    assert done.warnings == []
    assert all(verify(packed / name) == [] for name in outputs(packed))
    run_batch(videos, tmp_path / "local", encoding(micro_weights))
    assert outputs(packed) == outputs(tmp_path / "local")


def test_decoding_and_stopping_midway(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    videos = spread(make_video("one.mp4", frames=40), tmp_path / "videos", *(f"{n}.mp4" for n in range(5)))
    packed, back = tmp_path / "packed", tmp_path / "back"
    run_batch(videos, packed, encoding(micro_weights))
    decoding = DecodeOptions(weights=str(micro_weights), device="cpu", preset="ultrafast")
    options = BatchOptions(file_options=decoding, jobs=2)
    with RayEngine(back, options, RayOptions(cores=4)) as engine, Batch(back, options, engine) as batch:
        with closing(batch.run(batch.plan([str(packed)]))) as events:
            next(event for event in events if isinstance(event, Ended))
        assert batch.summary[DONE] + batch.summary[LEFT] == 5
        assert batch.summary[LEFT] > 0
    assert leftovers(back) == []
    assert not list((back / ".vidtwin" / "locks").iterdir())
    wait_for(lambda: not workers())
    run_batch(packed, back, decoding)  # the other engine goes on
    assert journal(back) == [f"{n}.mp4" for n in range(5)]
    run_batch(packed, tmp_path / "local", decoding)
    assert outputs(back) == outputs(tmp_path / "local")


def test_a_worker_that_does_not_fit_ends_the_run(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    videos = spread(make_video("one.mp4"), tmp_path / "videos", "a.mp4")
    packed, options = tmp_path / "packed", BatchOptions(file_options=encoding(micro_weights))

    with RayEngine(packed, options, RayOptions(cores=2)) as engine, Batch(packed, options, engine) as batch:
        plan = batch.plan([str(videos)])
        # a folder of that name, but not this one
        plan.jobs = [replace(job, stamp=FileStamp(1, 1)) for job in plan.jobs]
        with pytest.raises(VidtwinError, match=r"a.mp4 is another file on") as caught:
            list(batch.run(plan))
    assert "file system that they share" in (caught.value.hint or "")
    assert outputs(packed) == {}
    assert leftovers(packed) == []


def driver(videos: Path, packed: Path, weights: Path) -> subprocess.Popen[bytes]:
    """A process of its own with a cluster of its own, which encodes a long file in parts and says when it has begun."""
    program = (
        "import sys; from pathlib import Path; from ray_clusters import OnRay; from batches import encoding\n"
        "from vidtwin_codec import signals\n"
        "if __name__ == '__main__':\n"
        "    signals.obey()\n"
        "    OnRay(Path(sys.argv[1]), Path(sys.argv[2]), encoding(Path(sys.argv[3])), split=5,\n"
        "          watch=lambda event: print('begun', flush=True))\n"
    )
    command = [sys.executable, "-c", program, str(videos), str(packed), str(weights)]
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)


def test_what_a_killed_driver_leaves_is_cleared_and_a_closed_terminal_leaves_nothing(
    make_video: MakeVideo, micro_weights: Path, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    make_video("long.mkv", rate=4, frames=600).rename(videos / "long.mkv")
    packed = tmp_path / "packed"
    for number, stays in ((signal.SIGKILL, True), (signal.SIGHUP, False)):
        with driver(videos, packed, micro_weights) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == b"begun\n", process.stderr.read().decode()
            process.send_signal(number)
            said = process.stderr.read().decode()
            process.wait(60)
        if not stays:
            assert "KeyboardInterrupt" in said  # as of Ctrl-C and SIGTERM, which the command line turns into a line
        assert bool(leftovers(packed)) == stays
        assert outputs(packed) == {}
