"""What the Ray engine does with its workers, without a cluster: who gets what, and what becomes of what is lost."""

from __future__ import annotations

import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from batches import encoding
from conftest import MakeVideo, Run
from hypothesis import given, settings
from hypothesis import strategies as st

from vidtwin_codec import VidtwinError
from vidtwin_codec.batch.engine import Ended, Event, Job, Warned
from vidtwin_codec.batch.options import BatchOptions
from vidtwin_codec.batch.ray import agreement
from vidtwin_codec.batch.ray.agreement import Program, SharedFiles, shared_files
from vidtwin_codec.batch.ray.cluster import RayCluster, RayOptions, _connect
from vidtwin_codec.batch.ray.pool import Lost, WorkerHandle
from vidtwin_codec.batch.ray.schedule import MOST_LOSSES, Schedule
from vidtwin_codec.batch.ray.segments import Segment
from vidtwin_codec.batch.ray.splitting import PartJob, count_parts
from vidtwin_codec.batch.ray.worker import RayWorker, Refused, Task, WorkerMessage
from vidtwin_codec.batch.records import FileStamp
from vidtwin_codec.batch.rows import DONE, SKIPPED
from vidtwin_codec.files import atomic_path
from vidtwin_codec.media import MediaInfo, probe
from vidtwin_codec.options import Reporter
from vidtwin_codec.temporaries import mark_temporaries, remove_marked

PART_CLIPS, CLIP_FRAMES = 10, 4


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> MediaInfo:
    """Of a video of an hour, as if."""
    from media_samples import ffmpeg

    path = tmp_path_factory.mktemp("video") / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=32x32:rate=4", "-frames:v", "4", f"file:{path}")
    return replace(probe(path), frames=4 * 3600)


def job(name: str, cost: float = 1.0, info: MediaInfo | None = None) -> Job:
    seconds = 3600.0 if info else 1.0
    path = Path("/videos", name)
    return Job(
        path,
        path.with_suffix(".vtw"),
        name,
        FileStamp(1, 1),
        info,
        14400,
        seconds,
        cost,
        1,
        "new",
        PART_CLIPS,
        CLIP_FRAMES,
    )


class Workers:
    """A pool whose workers do what ``dies`` says: it is given the jobs in hand, and says which worker dies of them."""

    def __init__(self, count: int, dies: Any = lambda jobs: False) -> None:
        self.ready = [WorkerHandle(None, f"mark{number}", "machine") for number in range(count)]
        self._dies = dies
        self.most_beside_suspects = 0
        self.given: list[Task] = []

    @property
    def size(self) -> int:
        return len(self.ready)

    def start_workers(self, wanted: int) -> None:
        pass

    def be_lenient(self) -> None:
        pass

    def give(self, worker: WorkerHandle, task: Task) -> None:
        worker.tasks[task.number] = task
        self.given.append(task)

    def wait(self) -> Iterator[tuple[WorkerHandle, WorkerMessage] | Lost]:
        for worker in list(self.ready):
            if not worker.tasks:
                continue
            if self._dies([task.job for task in worker.tasks.values()]):
                self.ready[self.ready.index(worker)] = WorkerHandle(None, worker.mark, "machine")
                yield Lost(worker, "it died")
                continue
            message = WorkerMessage()
            number, task = next(iter(worker.tasks.items()))
            if isinstance(task.job, PartJob):
                message.segments[number] = Segment(task.job.target, ())
            else:
                message.rows[number] = {"source": "?", "output": "?", "status": SKIPPED, "made": task.job}
            yield worker, message

    def close(self) -> list[WorkerHandle]:
        return self.ready


def carry_out(
    pool: Workers, jobs: list[Job], options: BatchOptions, folder: Path, split: float = 0
) -> tuple[list[Event], list[str]]:
    notes: list[str] = []
    going = Schedule(pool, options, 4, Reporter(said=notes.append))  # type: ignore[arg-type]
    going.plan([(one, one) for one in jobs], pool.size, split, folder)
    events: list[Event] = []
    for _ in range(10_000):
        if not going.left:
            break
        events += going.step()
    assert going.left == 0
    ended = [event.job for event in events if isinstance(event, Ended)]
    assert sorted(job.name for job in ended) == sorted(job.name for job in jobs)
    assert len(set(ended)) == len(ended)
    return events, notes


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(0, 30), st.sets(st.integers(0, 29), max_size=3))
def test_a_file_that_kills_workers_fails_alone(count: int, files: int, deadly: set[int]) -> None:
    bad = {str(number) for number in deadly if number < files}
    pool = Workers(count, lambda jobs: any(job.name in bad for job in jobs))
    jobs = [job(str(number), cost=float(number % 7)) for number in range(files)]
    events, notes = carry_out(pool, jobs, BatchOptions(), Path("/nowhere"))
    ended = {event.job.name: event for event in events if isinstance(event, Ended)}
    assert {name for name, event in ended.items() if event.error} == bad
    assert all(f"{MOST_LOSSES} workers were lost" in (ended[name].error or "") for name in bad)
    assert MOST_LOSSES * len(bad) >= len(notes) >= min(len(bad), 1)
    # what another worker had finished before it died is of this run; what was there before it is not
    statuses = {event.row["status"] for event in ended.values() if event.row}
    assert statuses <= ({DONE, SKIPPED} if bad else {SKIPPED})


def test_long_files_go_in_parts(info: MediaInfo, micro_weights: Path, tmp_path: Path) -> None:
    options = BatchOptions(file_options=encoding(micro_weights))
    long, short = job("long", 900.0, info), job("short", 1.0)
    pool = Workers(3)
    events, _ = carry_out(pool, [long, short], options, tmp_path, split=600)
    parts = [task.job for task in pool.given if isinstance(task.job, PartJob)]
    assert [(part.first, part.count) for part in sorted(parts, key=lambda part: part.first)] == [
        *((0, 1200), (1200, 1200), (2400, None))
    ]
    assert sum(part.cost for part in parts) == pytest.approx(900)
    (row,) = [event.row for event in events if isinstance(event, Ended) and event.job is long]
    assert row is not None
    assert [segment.path for segment in row["made"].segments] == [tmp_path / "0" / f"{n}.part" for n in range(3)]

    # a part that cannot be had: the whole file, once
    pool = Workers(2, lambda jobs: any(isinstance(job, PartJob) and job.first for job in jobs))
    events, _ = carry_out(pool, [long, short], options, tmp_path, split=600)
    assert len([event for event in events if isinstance(event, Warned)]) == 1
    (row,) = [event.row for event in events if isinstance(event, Ended) and event.job is long]
    assert row is not None
    assert row["made"].segments == ()


def test_which_files_are_split(info: MediaInfo, micro_weights: Path) -> None:
    options, long = BatchOptions(file_options=encoding(micro_weights)), job("long", 100.0, info)
    assert count_parts(long, options, 600, 4, 100.0) == 4
    assert count_parts(long, options, 600, 50, 100.0) == 6
    assert count_parts(long, options, 1, 5000, 100.0) == 360, "no more than there are groups"
    assert count_parts(long, options, 600, 4, 1000.0) == 1, "others keep the workers busy"
    assert count_parts(long, options, 600, 1, 100.0) == 1
    assert count_parts(long, options, 0, 4, 100.0) == 1
    assert count_parts(long, replace(options, measure=True), 600, 4, 100.0) == 1
    assert count_parts(job("vtw", 100.0), options, 600, 4, 100.0) == 1


def test_the_program_and_the_files_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Program.here().check()
    with pytest.raises(VidtwinError, match="is not the same program"):
        replace(Program.here(), code="0").check()
    refused = RayWorker().prepare(("9.9", Program.here().code), "mark", b"what another version has pickled")
    assert isinstance(refused, Refused)
    assert "this is vidtwin 9.9" in refused.message
    assert "same version" in (refused.hint or "")
    monkeypatch.setattr(agreement, "_PATIENCE_SECONDS", 0.3)
    source = tmp_path / "a.mp4"
    source.write_bytes(b"1")
    seen = replace(job("a.mp4"), source=source, stamp=FileStamp.of(source))
    with shared_files(tmp_path / "out", [seen]) as files:
        files.check()
        with pytest.raises(VidtwinError, match="is not to be seen on"):
            SharedFiles(tmp_path / "other" / "token", files.secret, ()).check()
        with pytest.raises(VidtwinError, match="is another one on"):
            replace(files, secret="0").check()
        shutil.move(source, tmp_path / "b.mp4")
        with pytest.raises(VidtwinError, match=r"a.mp4 cannot be read on .* \(.*No such file") as caught:
            files.check()
        assert "file system that they share" in (caught.value.hint or "")
    assert list((tmp_path / "out" / ".vidtwin").iterdir()) == []


def test_temporaries_of_a_killed_process_can_be_told_apart(tmp_path: Path) -> None:
    mark_temporaries("one")
    try:
        with atomic_path(tmp_path / "a.vtw") as mine:
            assert mine.name.startswith(".vidtwin-one-")
            mark_temporaries("two")
            with atomic_path(tmp_path / "b.vtw") as other:
                remove_marked(tmp_path, "one")
                assert not mine.exists()
                assert other.exists()
            mine.touch()
    finally:
        mark_temporaries("")


def test_without_ray(
    run: Run,
    make_video: MakeVideo,
    micro_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, packed = make_video("a.mp4"), tmp_path / "packed"
    command = ("batch", source, packed, "--weights", micro_weights, "--device", "cpu")
    for name in ("--ray-address=auto", "--worker-cores=2", "--split-minutes=3"):
        code, _, err = run(*command, name)
        assert (code, "works with --engine ray alone" in err) == (2, True), err
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = run(*command, "--engine", "ray")
    assert (code, "Ray is not installed" in err, "vidtwin-codec[ray]" in err) == (1, True, True)
    assert not packed.exists()


def fake_ray(*machines: dict[str, float], error: Exception | None = None) -> Any:
    def init(**_: object) -> None:
        if error:
            raise error

    nodes = [{"Alive": True, "Resources": machine} for machine in machines]
    exceptions = SimpleNamespace(RayError=RecursionError)
    return SimpleNamespace(exceptions=exceptions, init=init, nodes=lambda: nodes, is_initialized=lambda: True)


def test_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    def cluster(device: str, *machines: dict[str, float], cores: int | None = None) -> tuple[str, int, int, float]:
        monkeypatch.setitem(sys.modules, "ray", fake_ray(*machines))
        found = RayCluster(RayOptions(cores=cores), device)
        return found.kind, found.cores, found.room(), round(found.memory_share, 3)

    assert cluster("auto", {"CPU": 2}) == ("cpu", 2, 1, 1.0)
    assert cluster("auto", {"CPU": 16}, {"CPU": 8}, {"object_store_memory": 1}) == ("cpu", 4, 6, 0.25)
    assert cluster("cpu", {"CPU": 16, "GPU": 2}, cores=8) == ("cpu", 8, 2, 0.5)
    assert cluster("auto", {"CPU": 16, "GPU": 2}, {"CPU": 64}) == ("cuda", 8, 2, 0.5)
    assert cluster("cuda", {"CPU": 6, "GPU": 4}, {"CPU": 64, "GPU": 1}) == ("cuda", 1, 5, 0.25)
    for device, machine, cores, reason in (
        ("cuda", {"CPU": 16.0}, None, "no machine of the Ray cluster has a GPU"),
        ("cpu", {"CPU": 2.0}, 4, "no machine of the Ray cluster has 4 CPUs"),
        ("cpu", {"GPU": 2.0}, None, "no machine of the Ray cluster has"),
        ("cuda:1", {"CPU": 2.0, "GPU": 2.0}, None, "Ray hands out CPUs and CUDA GPUs itself"),
    ):
        with pytest.raises(VidtwinError, match=reason):
            cluster(device, machine, cores=cores)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(VidtwinError, match=f"no Ray cluster at {address}: not a cluster"):
            _connect(fake_ray(error=ConnectionError("not a cluster")), address)
    with pytest.raises(VidtwinError, match=f"no Ray cluster at {address}: Connection refused"):
        _connect(fake_ray(), address)  # nobody answers there any more
    with pytest.raises(VidtwinError, match="address of a Ray client"):
        _connect(fake_ray(), "ray://nowhere:10001")


@pytest.mark.parametrize("address", ["ray://head:10001", "nowhere", "head:", "head:port", "http://head:6379"])
def test_what_is_no_address_is_wrong_usage(run: Run, tmp_path: Path, address: str) -> None:
    code, _, err = run("batch", tmp_path, tmp_path / "out", "--engine", "ray", "--ray-address", address)
    assert (code, f"'--ray-address': {address}: " in err) == (2, True), err


def test_a_cluster_that_is_not_there_is_one_line(run: Run, make_video: MakeVideo, tmp_path: Path) -> None:
    source, began = make_video("a.mp4"), time.monotonic()
    code, _, err = run("batch", source, tmp_path / "out", "--engine", "ray", "--ray-address", "127.0.0.1:1")
    assert (code, "no Ray cluster at 127.0.0.1:1: Connection refused" in err) == (1, True), err
    assert len(err.splitlines()) == 2  # what is wrong, and what to do about it
    assert time.monotonic() - began < 60
