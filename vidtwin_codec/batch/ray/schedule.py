"""Scheduling: which worker gets which job, and what happens to the jobs of a lost worker."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vidtwin_codec.batch.engine import Ended, Event, Job, Progress, Row, Warned
from vidtwin_codec.batch.options import BatchOptions
from vidtwin_codec.batch.ray.pool import Lost, Pool, WorkerHandle
from vidtwin_codec.batch.ray.splitting import PartJob, SplitJob, count_parts, split
from vidtwin_codec.batch.ray.worker import Task, WorkerMessage
from vidtwin_codec.batch.rows import DONE, SKIPPED
from vidtwin_codec.options import EncodeOptions, Reporter
from vidtwin_codec.temporaries import remove_marked

MOST_LOSSES = 3
"""Lost workers after which a file fails. After the first loss a worker gets nothing else beside it, so that no other
file is blamed."""


@dataclass(eq=False)
class Unit:
    """A job that has not ended.

    Attributes:
        given: the job as the caller gave it.
        job: the same for workers, with absolute paths: all of it, a part, or the joining of its parts.
        wait: whether to wait for another run that holds the output.
        losses: number of workers that were lost with it.
        whole: the split job that it is a part of, or joins.
    """

    given: Job
    job: Job
    wait: bool = False
    losses: int = 0
    whole: SplitJob | None = None


class Schedule:
    """The jobs of one run: those that wait, and those that workers have.

    Args:
        pool: the workers.
        options: the batch's options.
        most: most jobs that one worker has at once.
        reporter: receives messages about lost workers.

    Attributes:
        left: number of jobs that have not ended.
    """

    def __init__(self, pool: Pool, options: BatchOptions, most: int, reporter: Reporter) -> None:
        self._pool, self._options, self._most, self._reporter = pool, options, most, reporter
        self._waiting: list[tuple[int, float, int, Unit]] = []
        self._suspects: deque[Unit] = deque()
        self._units: dict[int, Unit] = {}
        self._numbers = 0
        self._folders: set[Path] = set()
        self.left = 0

    def plan(self, jobs: Sequence[tuple[Job, Job]], workers: int, seconds: float, folder: Path) -> None:
        """Take in all jobs, splitting the long ones.

        Args:
            jobs: each as the caller gave it, and with absolute paths.
            workers: how many workers there is room for.
            seconds: shortest part, in seconds of video; 0 splits nothing.
            folder: where parts are written.
        """
        self.left = len(jobs)
        total_cost = sum(job.cost for job, _ in jobs)
        for number, (given, job) in enumerate(jobs):
            self._folders.add(job.output.parent)
            count = count_parts(job, self._options, seconds, workers, total_cost)
            if count == 1:
                self._add(Unit(given, job))
                continue
            assert isinstance(self._options.file_options, EncodeOptions)  # count_parts
            parts = split(job, self._options.file_options, count, folder / str(number))
            whole = SplitJob(job, parts)
            for part in parts:
                self._add(Unit(given, part, whole=whole))

    def step(self) -> Iterator[Event]:
        """Assign tasks to workers, and yield what these report."""
        self._pool.start_workers(len(self._waiting) + len(self._suspects) + len(self._units))
        self._assign()
        for heard in self._pool.wait():
            if isinstance(heard, Lost):
                yield from self._lose(heard)
            else:
                yield from self._receive(*heard)

    def stop(self) -> None:
        """Drop all unfinished jobs without leaving files behind."""
        for worker in self._pool.close():
            self._clean_up(worker)

    def _add(self, unit: Unit) -> None:
        """Queue a unit: joins first, then the longest, at last what another run holds; suspects in a queue apart."""
        if unit.losses:
            self._suspects.append(unit)
            return
        self._numbers += 1
        joins = bool(unit.job.segments)
        heapq.heappush(self._waiting, (2 if unit.wait else 0 if joins else 1, -unit.job.cost, self._numbers, unit))

    def _assign(self) -> None:
        reserved = 0
        # a worker gets no more than its share while others are starting or about to run dry
        share = -(-(len(self._waiting) + len(self._units)) // max(1, self._pool.size))
        share = min(share, self._most)
        for worker in self._pool.ready:
            if any(self._units[number].losses for number in worker.tasks):
                continue
            if len(self._suspects) > reserved:
                # this worker finishes its tasks and gets no others, so that the suspect runs alone on it
                reserved += 1
                if not worker.tasks:
                    reserved -= 1
                    self._give(worker, self._suspects.popleft())
                continue
            while self._waiting and len(worker.tasks) < share:
                self._give(worker, heapq.heappop(self._waiting)[-1])

    def _give(self, worker: WorkerHandle, unit: Unit) -> None:
        if isinstance(unit.job, PartJob) and unit.whole is not None and unit.whole.abandoned:
            return
        self._numbers += 1
        self._units[self._numbers] = unit
        self._pool.give(worker, Task(self._numbers, unit.job, unit.wait))

    def _receive(self, worker: WorkerHandle, message: WorkerMessage) -> Iterator[Event]:
        for number, (stage, done, total) in message.progress.items():
            unit = self._units[number]
            if unit.whole is None:
                yield Progress(unit.given, stage, done, total)
            elif isinstance(unit.job, PartJob) and not unit.whole.abandoned:
                yield replace(unit.whole.advance(unit.job, stage, done), job=unit.given)
        for number, text in message.warnings:
            yield Warned(self._units[number].given, text)
        for number in message.busy:
            self._add(replace(self._take(worker, number), wait=True))
        for number, segment in message.segments.items():
            unit = self._take(worker, number)
            assert unit.whole is not None
            assert isinstance(unit.job, PartJob)
            joined = unit.whole.finish(unit.job, segment)
            if joined is not None and not unit.whole.abandoned:
                self._add(Unit(unit.given, joined, whole=unit.whole))
        for number, row in message.rows.items():
            yield self._end(self._take(worker, number), row, None)
        for number, error in message.errors.items():
            unit = self._take(worker, number)
            if isinstance(unit.job, PartJob):
                yield from self._abandon(unit, error)
            else:
                yield self._end(unit, None, error)

    def _lose(self, lost: Lost) -> Iterator[Event]:
        """Queue the tasks of a lost worker again, or fail those that have cost too many workers."""
        self._clean_up(lost.worker)
        count = len(lost.worker.tasks)
        where = f" on {lost.worker.machine}" if lost.worker.machine else ""
        self._reporter.said(f"a worker{where} was lost; others get its {count} unfinished jobs ({lost.reason})")
        unsent = {task.number for task in lost.worker.unsent}
        for number in list(lost.worker.tasks):
            unit = self._take(lost.worker, number)
            unit.losses += number not in unsent
            if unit.losses < MOST_LOSSES:
                self._add(unit)
            elif isinstance(unit.job, PartJob):
                yield from self._abandon(unit, lost.reason)
            else:
                yield self._end(unit, None, f"{MOST_LOSSES} workers were lost while they had this file: {lost.reason}")

    def _abandon(self, part: Unit, reason: str) -> Iterator[Event]:
        """Give up splitting a file after one part failed; encoding it whole reports what is wrong with it."""
        assert part.whole is not None
        if not part.whole.abandoned:
            part.whole.abandoned = True
            yield Warned(part.given, f"is encoded at once, not in parts: {reason}")
            self._add(Unit(part.given, part.whole.job, losses=part.losses and 1))

    def _end(self, unit: Unit, row: Row | None, error: str | None) -> Ended:
        self.left -= 1
        self._pool.be_lenient()
        if unit.whole is not None:
            unit.whole.discard()
        if row is None:
            return Ended(unit.given, None, error)
        # the caller's own paths; and a job that a lost worker had finished counts as done by this run
        row = {**row, "source": str(unit.given.source), "output": str(unit.given.output)}
        if unit.losses and row["status"] == SKIPPED:
            row["status"] = DONE
        return Ended(unit.given, row)

    def _take(self, worker: WorkerHandle, number: int) -> Unit:
        del worker.tasks[number]
        return self._units.pop(number)

    def _clean_up(self, worker: WorkerHandle) -> None:
        """Remove the temporary files of a worker that was ended."""
        for folder in self._folders:
            remove_marked(folder, worker.mark)
