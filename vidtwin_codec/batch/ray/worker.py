"""A worker of the Ray engine: what runs in a Ray actor. It holds the networks, and does jobs as the local engine."""

from __future__ import annotations

import os
import pickle
import platform
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from vidtwin_codec.batch.engine import Ended, Job, Progress, Row, Warned
from vidtwin_codec.batch.lanes import AtOnce, Busy, Lanes
from vidtwin_codec.batch.ray.agreement import Program, SharedFiles
from vidtwin_codec.batch.ray.segments import Segment
from vidtwin_codec.batch.ray.splitting import PartJob
from vidtwin_codec.batch.work import Worker
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.ffmpeg import limit_threads
from vidtwin_codec.network.device import select_device
from vidtwin_codec.network.runner import LoadNetwork
from vidtwin_codec.options import EncodeOptions, Reporter
from vidtwin_codec.temporaries import mark_temporaries

TALK_SECONDS = 0.5
"""How often a worker tells of progress; the end of a job is told at once."""


@dataclass(frozen=True)
class Setup:
    """What a worker is to be.

    Attributes:
        worker: does the jobs. files: what it must see.
        device: of torch. threads: of torch and of each ffmpeg.
        at_once: jobs and calls of the network, within those threads.
        memory_share: of the machine's memory, of which each of its workers gets a part.
    """

    worker: Worker
    files: SharedFiles
    device: str
    threads: int
    at_once: AtOnce
    memory_share: float


@dataclass(frozen=True)
class Ready:
    """A worker is ready: the machine it is on."""

    machine: str


@dataclass(frozen=True)
class Refused:
    """A worker cannot work there, and why."""

    message: str
    hint: str | None


@dataclass
class Told:
    """What has happened since the last time; jobs by their numbers.

    Attributes:
        progress: stage, frames done, frames in all.
        warnings: number and text. busy: jobs that another run is at.
        rows: of finished jobs. segments: of finished parts. errors: of failed jobs.
    """

    progress: dict[int, tuple[str, int, int | None]] = field(default_factory=dict)
    warnings: list[tuple[int, str]] = field(default_factory=list)
    busy: list[int] = field(default_factory=list)
    rows: dict[int, Row] = field(default_factory=dict)
    segments: dict[int, Segment] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)

    @property
    def urgent(self) -> bool:
        """Whether a job has come to an end."""
        return bool(self.busy or self.rows or self.segments or self.errors)


@dataclass(frozen=True)
class Order:
    """A job to do: its number, and whether to wait for another run that is at it."""

    number: int
    job: Job
    wait: bool


def _end_process() -> None:
    os._exit(1)


class RayWorker:
    """The actor. Nothing is done before :meth:`prepare`."""

    def __init__(self) -> None:
        self._lanes: Lanes | None = None
        self._worker: Worker | None = None
        self._numbers: dict[Job, int] = {}
        self._segments: dict[Job, Segment] = {}

    def prepare(self, program: tuple[str, str], mark: str, setup: bytes) -> Ready | Refused:
        """Make sure that work here gives what it would give there, and get ready.

        Args:
            program: version and code of the driver. mark: for the names of temporary files.
            setup: a pickled :class:`Setup`; only the same program can read it.
        """
        try:
            Program(*program).check()
            plan = pickle.loads(setup)
            assert isinstance(plan, Setup)
            plan.files.check()
            plan.worker.settle()
            select_device(plan.device, "float32", "float32")
        except VidtwinError as error:
            return Refused(error.message, error.hint)
        mark_temporaries(mark)
        torch.set_num_threads(plan.threads)
        limit_threads(plan.threads)
        self._worker = plan.worker
        self._lanes = Lanes([plan.device], plan.at_once, self._perform, plan.memory_share).__enter__()
        return Ready(platform.node())

    def work(self, orders: Sequence[Order]) -> Told:
        """Take orders, and tell what has happened; waits a little for that."""
        assert self._lanes is not None
        for order in orders:
            self._numbers[order.job] = order.number
            self._lanes.put(order.job, wait=order.wait)
        told, until = Told(), time.monotonic() + TALK_SECONDS
        while (left := until - time.monotonic()) > 0 and not told.urgent:
            try:
                self._note(self._lanes.events.get(timeout=left), told)
            except queue.Empty:
                break
        while not self._lanes.events.empty():
            self._note(self._lanes.events.get(), told)
        if self._lanes.broken is not None:
            # a process is what such a failure lives as long as: as a lost worker its jobs go elsewhere
            _end_process()
        return told

    def close(self) -> None:
        """Drop what is in hand, without a trace."""
        if self._lanes is not None:
            self._lanes.close()

    def _note(self, event: Progress | Warned | Ended | Busy, told: Told) -> None:
        number = self._numbers[event.job]
        if isinstance(event, Progress):
            told.progress[number] = (event.stage, event.done, event.total)
            return
        if isinstance(event, Warned):
            told.warnings.append((number, event.text))
            return
        del self._numbers[event.job]
        segment = self._segments.pop(event.job, None)
        if isinstance(event, Busy):
            told.busy.append(number)
        elif event.row is None:
            told.errors[number] = event.error or ""
        elif segment is not None:
            told.segments[number] = segment
        else:
            told.rows[number] = event.row

    def _perform(self, job: Job, load: LoadNetwork, reporter: Reporter, stopped: Callable[[], bool], wait: bool) -> Row:
        assert self._worker is not None
        if not isinstance(job, PartJob):
            return self._worker(job, load, reporter, stopped, wait)
        work = self._worker.options.work
        assert isinstance(work, EncodeOptions)  # nothing else is split
        # what is known of the whole video is said when it is joined
        self._segments[job] = job.encode(work, load, Reporter(reporter.started, reporter.advanced))
        return {}
