"""The Ray engine: the machines of a Ray cluster, which share a file system with this one.

Each worker holds a network on one GPU, or on a few cores, and does jobs by the code of the local engine, which locks,
records and renames outputs. Other workers do the jobs of a lost worker again; if it had finished one all the same, the
record of that job says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from vidtwin_codec.batch.engine import Event, Job, Perform
from vidtwin_codec.batch.job_runner import JobRunner
from vidtwin_codec.batch.lanes import AtOnce
from vidtwin_codec.batch.options import BatchOptions
from vidtwin_codec.batch.ray.agreement import shared_files
from vidtwin_codec.batch.ray.cluster import RayCluster, RayOptions
from vidtwin_codec.batch.ray.pool import Pool
from vidtwin_codec.batch.ray.schedule import Schedule
from vidtwin_codec.batch.ray.worker import Setup
from vidtwin_codec.closing import Closing
from vidtwin_codec.options import Reporter


class RayEngine(Closing):
    """An engine that does jobs on a Ray cluster, connected until it is closed.

    Args:
        destination: the batch's folder.
        options: the batch's options.
        choices: options of this engine.
        reporter: receives messages about workers that are lost or left out.

    Raises:
        VidtwinError: Ray is not installed, or there is no such cluster.
    """

    def __init__(
        self,
        destination: str | Path,
        options: BatchOptions,
        choices: RayOptions | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self._folder = Path(os.path.abspath(destination))
        self._options, self._choices = options, choices or RayOptions()
        self._reporter = reporter or Reporter()
        self._cluster = RayCluster(self._choices, options.file_options.device)

    @property
    def kind(self) -> str:
        """Kind of the workers' devices."""
        return self._cluster.kind

    def close(self) -> None:
        """Leave the cluster."""
        self._cluster.close()

    def run(self, jobs: Sequence[Job], perform: Perform) -> Iterator[Event]:
        """Do the jobs as :class:`~vidtwin_codec.batch.engine.Engine` says.

        Args:
            jobs: what to do.
            perform: does one job; it must be a :class:`~vidtwin_codec.batch.job_runner.JobRunner`.

        Raises:
            VidtwinError: a machine has another vidtwin, does not see the files, or no worker can be had.
        """
        assert isinstance(perform, JobRunner)  # nothing else can be sent
        if not jobs:
            return
        everywhere = [_absolute(job) for job in jobs]
        with ExitStack() as stack:
            files = stack.enter_context(shared_files(self._folder, everywhere))
            options, cores = self._options, self._cluster.cores
            at_once = AtOnce.choose(self.kind, cores, jobs=options.jobs, merge=options.merge)
            setup = Setup(
                runner=perform,
                files=files,
                device=self.kind,
                threads=cores,
                at_once=at_once,
                memory_share=self._cluster.memory_share,
            )
            parts = files.token.with_name("parts")
            schedule = Schedule(Pool(self._cluster, setup, self._reporter), options, at_once.jobs, self._reporter)
            stack.callback(schedule.stop)
            schedule.plan(list(zip(jobs, everywhere, strict=True)), self._cluster.room(), self._choices.split, parts)
            while schedule.left:
                yield from schedule.step()


def _absolute(job: Job) -> Job:
    return replace(job, source=Path(os.path.abspath(job.source)), output=Path(os.path.abspath(job.output)))
