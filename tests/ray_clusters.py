"""What the tests of the Ray engine share: running a batch on a cluster, and getting at its processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from vidtwin_codec.batch.engine import Ended, Event, Warned
from vidtwin_codec.batch.options import BatchOptions
from vidtwin_codec.batch.ray.cluster import RayOptions
from vidtwin_codec.batch.ray.engine import RayEngine
from vidtwin_codec.batch.run import Batch
from vidtwin_codec.options import Reporter


class OnRay:
    """A whole batch on the cluster that this process is connected to, by default one core a worker.

    Attributes:
        batch: its rows and summary say how it went. notes: what the engine told. warnings: of files.
    """

    def __init__(
        self,
        source: Path,
        destination: Path,
        work: Any,
        *,
        cores: int = 1,
        split: float = 0,
        watch: Callable[[Event], object] = lambda _: None,
        **changes: Any,
    ) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        options = BatchOptions(file_options=work, **changes)
        choices = RayOptions(cores=cores, split=split)
        with (
            RayEngine(destination, options, choices, Reporter(said=self.notes.append)) as engine,
            Batch(destination, options, engine) as self.batch,
        ):
            ended = []
            for event in self.batch.run(self.batch.plan([str(source)])):
                watch(event)
                if isinstance(event, Warned):
                    self.warnings.append(event.text)
                elif isinstance(event, Ended):
                    ended.append(event.job.name)
        assert sorted(ended) == sorted(set(ended))


def workers() -> list[psutil.Process]:
    """The processes of all workers of this machine's user that hold an actor of ours."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or [""])[0].startswith("ray::RayWorker"):
            found.append(process)
    return found


def kill_busy_worker(seconds: float = 60) -> None:
    """SIGKILL for the first worker that is found reading a video. One without a job may be gone and not be missed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for worker in workers():
            # so that it cannot end the job between the look and the kill
            worker.suspend()
            if any("ffmpeg" in child.name() for child in worker.children()):
                worker.kill()
                return
            worker.resume()
    raise AssertionError("no worker was seen at work")


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
