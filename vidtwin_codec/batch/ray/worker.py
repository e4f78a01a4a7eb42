"""The worker of the Ray engine: a Ray actor that holds the networks and does jobs as the local engine does."""

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
from vidtwin_codec.batch.job_runner import JobRunner
from vidtwin_codec.batch.lanes import AtOnce, Busy, Lanes
from vidtwin_codec.batch.ray.agreement import Program, SharedFiles
from vidtwin_codec.batch.ray.segments import Segment
from vidtwin_codec.batch.ray.splitting import PartJob
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.ffmpeg import limit_threads
from vidtwin_codec.network.device import select_device
from vidtwin_codec.network.runner import LoadNetwork
from vidtwin_codec.options import EncodeOptions, Reporter
from vidtwin_codec.temporaries import mark_temporaries

TALK_SECONDS = 0.5
"""Time between two reports of progress; a worker reports the end of a job at once."""


@dataclass(frozen=True)
class Setup:
    """What a worker is prepared with.

    Attributes:
        runner: does the jobs.
        files: files that the worker must see.
        device: torch device.
        threads: threads of torch and of each ffmpeg.
        at_once: jobs and calls of the network at the same time, within those threads.
        memory_share: share of the machine's memory, in (0, 1].
    """

    runner: JobRunner
    files: SharedFiles
    device: str
    threads: int
    at_once: AtOnce
    memory_share: float


@dataclass(frozen=True)
class Ready:
    """A worker is ready on this machine."""

    machine: str


@dataclass(frozen=True)
class Refused:
    """A worker cannot do jobs on its machine, and the reason."""

    message: str
    hint: str | None


@dataclass
class WorkerMessage:
    """What has happened at a worker since its last message, by the numbers of the tasks.

    Attributes:
        progress: stage, frames done and frames in all of running tasks.
        warnings: number of the task and text.
        busy: tasks whose output another run holds.
        rows: report rows of finished jobs.
        segments: results of finished parts.
        errors: messages of failed tasks.
    """

    progress: dict[int, tuple[str, int, int | None]] = field(default_factory=dict)
    warnings: list[tuple[int, str]] = field(default_factory=list)
    busy: list[int] = field(default_factory=list)
    rows: dict[int, Row] = field(default_factory=dict)
    segments: dict[int, Segment] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)

    @property
    def urgent(self) -> bool:
        """Whether a task has ended."""
        return bool(self.busy or self.rows or self.segments or self.errors)


@dataclass(frozen=True)
class Task:
    """A numbered job for a worker.

    Attributes:
        number: identifies it in messages.
        job: what to do.
        wait: whether to wait for another run that holds the output.
    """

    number: int
    job: Job
    wait: bool


def _end_process() -> None:
    os._exit(1)


class RayWorker:
    """The actor; :meth:`prepare` comes before everything else."""

    def __init__(self) -> None:
        self._lanes: Lanes | None = None
        self._runner: JobRunner | None = None
        self._numbers: dict[Job, int] = {}
        self._segments: dict[Job, Segment] = {}

    def prepare(self, program: tuple[str, str], mark: str, setup: bytes) -> Ready | Refused:
        """Make sure that jobs have the same results here as at the driver, and get ready.

        Args:
            program: version and code of the driver's :class:`Program`.
            mark: a string for the names of temporary files.
            setup: a pickled :class:`Setup`, which only the same program can read.
        """
        try:
            Program(*program).check()
            plan = pickle.loads(setup)
            assert isinstance(plan, Setup)
            plan.files.check()
            plan.runner.settle()
            select_device(plan.device, "float32", "float32")
        except VidtwinError as error:
            return Refused(error.message, error.hint)
        mark_temporaries(mark)
        torch.set_num_threads(plan.threads)
        limit_threads(plan.threads)
        self._runner = plan.runner
        self._lanes = Lanes([plan.device], plan.at_once, self._perform, plan.memory_share).__enter__()
        return Ready(platform.node())

    def exchange(self, tasks: Sequence[Task]) -> WorkerMessage:
        """Take new tasks, wait up to :data:`TALK_SECONDS`, and report what has happened."""
        assert self._lanes is not None
        for task in tasks:
            self._numbers[task.job] = task.number
            self._lanes.put(task.job, wait=task.wait)
        message, until = WorkerMessage(), time.monotonic() + TALK_SECONDS
        while (left := until - time.monotonic()) > 0 and not message.urgent:
            try:
                self._note(self._lanes.events.get(timeout=left), message)
            except queue.Empty:
                break
        while not self._lanes.events.empty():
            self._note(self._lanes.events.get(), message)
        if self._lanes.broken is not None:
            # the device stays broken for this process; it ends as a lost worker, whose jobs go elsewhere
            _end_process()
        return message

    def close(self) -> None:
        """Drop all unfinished jobs without leaving files behind."""
        if self._lanes is not None:
            self._lanes.close()

    def _note(self, event: Progress | Warned | Ended | Busy, message: WorkerMessage) -> None:
        number = self._numbers[event.job]
        if isinstance(event, Progress):
            message.progress[number] = (event.stage, event.done, event.total)
            return
        if isinstance(event, Warned):
            message.warnings.append((number, event.text))
            return
        del self._numbers[event.job]
        segment = self._segments.pop(event.job, None)
        if isinstance(event, Busy):
            message.busy.append(number)
        elif event.row is None:
            message.errors[number] = event.error or ""
        elif segment is not None:
            message.segments[number] = segment
        else:
            message.rows[number] = event.row

    def _perform(self, job: Job, load: LoadNetwork, reporter: Reporter, stopped: Callable[[], bool], wait: bool) -> Row:
        assert self._runner is not None
        if not isinstance(job, PartJob):
            return self._runner(job, load, reporter, stopped, wait)
        file_options = self._runner.options.file_options
        assert isinstance(file_options, EncodeOptions)  # nothing else is split
        # warnings about the whole video are given when the parts are joined
        self._segments[job] = job.encode(file_options, load, Reporter(reporter.started, reporter.advanced))
        return {}
