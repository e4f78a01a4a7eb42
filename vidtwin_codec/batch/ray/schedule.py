"""Which worker gets which job, and what becomes of jobs whose worker is lost."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vidtwin_codec.batch.engine import Ended, Event, Job, Progress, Row, Warned
from vidtwin_codec.batch.options import BatchOptions
from vidtwin_codec.batch.ray.pool import Hand, Lost, Pool
from vidtwin_codec.batch.ray.splitting import PartJob, SplitJob, count_parts, split
from vidtwin_codec.batch.ray.worker import Order, Told
from vidtwin_codec.batch.rows import DONE, SKIPPED
from vidtwin_codec.options import EncodeOptions, Reporter
from vidtwin_codec.temporaries import remove_marked

MOST_LOSSES = 3
"""Workers that a file may cost. After the first one it is done alone, so that no other file is blamed for it."""


@dataclass(eq=False)
class Unit:
    """A job on its way.

    Attributes:
        given: as the caller gave it. job: with absolute paths, for workers; perhaps a part, or all parts together.
        wait: for another run that is at it. losses: workers that were lost with it.
        whole: of which it is a part.
    """

    given: Job
    job: Job
    wait: bool = False
    losses: int = 0
    whole: SplitJob | None = None


class Schedule:
    """The jobs of one run: which wait, which are in hand, and what became of them.

    Args:
        most: jobs in hand of each worker. reporter: is told of workers that are lost.

    Attributes:
        left: jobs that have not ended.
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
        """Take the jobs, as given and with absolute paths; the long ones in parts."""
        self.left = len(jobs)
        work = sum(job.work for job, _ in jobs)
        for number, (given, job) in enumerate(jobs):
            self._folders.add(job.output.parent)
            count = count_parts(job, self._options, seconds, workers, work)
            if count == 1:
                self._add(Unit(given, job))
                continue
            assert isinstance(self._options.work, EncodeOptions)  # count_parts
            parts = split(job, self._options.work, count, folder / str(number))
            whole = SplitJob(job, parts)
            for part in parts:
                self._add(Unit(given, part, whole=whole))

    def step(self) -> Iterator[Event]:
        """Give jobs to workers, and hear from them."""
        self._pool.hire(len(self._waiting) + len(self._suspects) + len(self._units))
        self._hand_out()
        for heard in self._pool.wait():
            if isinstance(heard, Lost):
                yield from self._lose(heard)
            else:
                yield from self._hear(*heard)

    def stop(self) -> None:
        """Drop what is in hand, without a trace."""
        for hand in self._pool.close():
            self._tidy(hand)

    def _add(self, unit: Unit) -> None:
        """The longest first; what another run is at, after everything else. What a worker was lost with, alone."""
        if unit.losses:
            self._suspects.append(unit)
            return
        self._numbers += 1
        joins = bool(unit.job.segments)
        heapq.heappush(self._waiting, (2 if unit.wait else 0 if joins else 1, -unit.job.work, self._numbers, unit))

    def _hand_out(self) -> None:
        reserved = 0
        # not more than its share while others are about to come up, or run out of work
        share = -(-(len(self._waiting) + len(self._units)) // max(1, self._pool.size))
        share = min(share, self._most)
        for hand in self._pool.ready:
            if any(self._units[number].losses for number in hand.orders):
                continue
            if len(self._suspects) > reserved:
                # the idlest workers come first: they finish what they have, and get nothing else
                reserved += 1
                if not hand.orders:
                    reserved -= 1
                    self._give(hand, self._suspects.popleft())
                continue
            while self._waiting and len(hand.orders) < share:
                self._give(hand, heapq.heappop(self._waiting)[-1])

    def _give(self, hand: Hand, unit: Unit) -> None:
        if isinstance(unit.job, PartJob) and unit.whole is not None and unit.whole.abandoned:
            return
        self._numbers += 1
        self._units[self._numbers] = unit
        self._pool.give(hand, Order(self._numbers, unit.job, unit.wait))

    def _hear(self, hand: Hand, told: Told) -> Iterator[Event]:
        for number, (stage, done, total) in told.progress.items():
            unit = self._units[number]
            if unit.whole is None:
                yield Progress(unit.given, stage, done, total)
            elif isinstance(unit.job, PartJob) and not unit.whole.abandoned:
                yield replace(unit.whole.advance(unit.job, stage, done), job=unit.given)
        for number, text in told.warnings:
            yield Warned(self._units[number].given, text)
        for number in told.busy:
            self._add(replace(self._take(hand, number), wait=True))
        for number, segment in told.segments.items():
            unit = self._take(hand, number)
            assert unit.whole is not None
            assert isinstance(unit.job, PartJob)
            joined = unit.whole.finish(unit.job, segment)
            if joined is not None and not unit.whole.abandoned:
                self._add(Unit(unit.given, joined, whole=unit.whole))
        for number, row in told.rows.items():
            yield self._end(self._take(hand, number), row, None)
        for number, error in told.errors.items():
            unit = self._take(hand, number)
            if isinstance(unit.job, PartJob):
                yield from self._abandon(unit, error)
            else:
                yield self._end(unit, None, error)

    def _lose(self, lost: Lost) -> Iterator[Event]:
        """Have what was in hand done elsewhere."""
        self._tidy(lost.hand)
        count = len(lost.hand.orders)
        where = f" on {lost.hand.machine}" if lost.hand.machine else ""
        self._reporter.said(f"a worker{where} was lost; others get the {count} jobs it had in hand ({lost.reason})")
        untold = {order.number for order in lost.hand.given}
        for number in list(lost.hand.orders):
            unit = self._take(lost.hand, number)
            unit.losses += number not in untold
            if unit.losses < MOST_LOSSES:
                self._add(unit)
            elif isinstance(unit.job, PartJob):
                yield from self._abandon(unit, lost.reason)
            else:
                yield self._end(unit, None, f"{MOST_LOSSES} workers were lost while they had it in hand: {lost.reason}")

    def _abandon(self, part: Unit, reason: str) -> Iterator[Event]:
        """A part cannot be had: the file is encoded at once, which says what there is to say about it."""
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
        # by the names that the caller knows; and what a lost worker had finished is none the less of this run
        row = {**row, "source": str(unit.given.source), "output": str(unit.given.output)}
        if unit.losses and row["status"] == SKIPPED:
            row["status"] = DONE
        return Ended(unit.given, row)

    def _take(self, hand: Hand, number: int) -> Unit:
        del hand.orders[number]
        return self._units.pop(number)

    def _tidy(self, hand: Hand) -> None:
        """Remove what a worker that did not come to its own end has left."""
        for folder in self._folders:
            remove_marked(folder, hand.mark)
