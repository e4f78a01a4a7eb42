"""The workers of a Ray cluster: starting them as there is room, giving them tasks, and noticing when one is lost."""

from __future__ import annotations

import pickle
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vidtwin_codec.batch.ray.agreement import Program
from vidtwin_codec.batch.ray.cluster import RayCluster
from vidtwin_codec.batch.ray.worker import RayWorker, Ready, Refused, Setup, Task, WorkerMessage
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.options import Reporter

_LOOK_SECONDS = 5.0
"""Time between two counts of the machines, which may come and go."""
_PATIENCE_SECONDS = 300.0
"""Longest time without any worker."""
_START_FAILURES = 3
"""Workers in a row that may die before they are ready; the run fails at this number."""
_CLOSE_SECONDS = 30.0


@dataclass(eq=False)
class WorkerHandle:
    """The driver's view of a worker.

    Attributes:
        actor: Ray's handle of the actor.
        mark: a string in the names of its temporary files.
        machine: name of its machine; None until it is ready.
        tasks: unfinished tasks by number, those in ``unsent`` included.
        unsent: tasks that have not been sent to it yet.
    """

    actor: Any
    mark: str
    machine: str | None = None
    tasks: dict[int, Task] = field(default_factory=dict)
    unsent: list[Task] = field(default_factory=list)


@dataclass(frozen=True)
class Lost:
    """A worker is gone, and its unfinished tasks with it."""

    worker: WorkerHandle
    reason: str


class Pool:
    """All workers of one run.

    Args:
        cluster: where they run.
        setup: what each of them is prepared with.
        reporter: receives warnings.
    """

    def __init__(self, cluster: RayCluster, setup: Setup, reporter: Reporter) -> None:
        self._cluster, self._ray, self._reporter = cluster, cluster.ray, reporter
        self._setup = self._ray.put(pickle.dumps(setup))
        self._program = (Program.here().version, Program.here().code)
        self._actor = cluster.actor(RayWorker)
        self._all: set[WorkerHandle] = set()
        self._pending: dict[Any, WorkerHandle] = {}  # by the reference of the running call
        self._looked = self._missed = float("-inf")
        self._room = self._refused = self._failures = 0
        self._lenient = False

    @property
    def ready(self) -> list[WorkerHandle]:
        """Workers that can be given tasks, those with the fewest first."""
        ready = [worker for worker in self._pending.values() if worker.machine]
        return sorted(ready, key=lambda worker: len(worker.tasks))

    @property
    def size(self) -> int:
        """Number of workers, including those that are being started."""
        return len(self._all)

    def be_lenient(self) -> None:
        """Leave unsuitable machines out from now on; until then one ends the run."""
        self._lenient = True

    def start_workers(self, wanted: int) -> None:
        """Start workers until ``wanted`` are there, or the machines that are up have no more room.

        Raises:
            VidtwinError: there has been no worker for too long.
        """
        now = time.monotonic()
        if now >= self._looked + _LOOK_SECONDS:
            self._looked, self._room = now, self._cluster.room()
        while len(self._pending) < min(wanted, self._room - self._refused):
            self._start()
        if self.ready or self._missed == float("-inf"):
            self._missed = now
        elif now > self._missed + _PATIENCE_SECONDS:
            raise VidtwinError(
                f"the Ray cluster has had no worker for {_PATIENCE_SECONDS / 60:.0f} minutes",
                "look at it with `ray status`; running the same command again continues",
            )

    def give(self, worker: WorkerHandle, task: Task) -> None:
        """Assign a task to a worker that is ready."""
        worker.tasks[task.number] = task
        worker.unsent.append(task)

    def wait(self) -> Iterator[tuple[WorkerHandle, WorkerMessage] | Lost]:
        """Wait up to a second for messages of workers and for losses, and yield them.

        Raises:
            VidtwinError: a machine is not suitable, or no worker can be started.
        """
        pending = list(self._pending)
        if not pending:
            time.sleep(1)
            return
        found, _ = self._ray.wait(pending, num_returns=1, timeout=1)
        if found and len(pending) > 1:
            found, _ = self._ray.wait(pending, num_returns=len(pending), timeout=0)
        for ref in found:
            worker = self._pending.pop(ref)
            try:
                answer = self._ray.get(ref)
            except self._ray.exceptions.RayError as error:
                reason = _reason(error)
                if worker.machine is None:
                    self._count_failure(reason)
                self._discard(worker)
                yield Lost(worker, reason)
                continue
            if isinstance(answer, Refused):
                self._refuse(worker, answer)
                continue
            if isinstance(answer, Ready):
                worker.machine, self._failures = answer.machine, 0
            self._go_on(worker)
            if isinstance(answer, WorkerMessage):
                yield worker, answer

    def close(self) -> list[WorkerHandle]:
        """Have all workers drop their jobs, end them, and return them."""
        workers = list(self._all)
        closing = [worker.actor.close.remote() for worker in workers if worker.machine]
        self._pending.clear()
        try:
            if closing:
                self._ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_SECONDS)
        finally:
            for worker in workers:
                self._discard(worker)
        return workers

    def _start(self) -> None:
        worker = WorkerHandle(self._actor.remote(), secrets.token_hex(4))
        self._all.add(worker)
        self._pending[worker.actor.prepare.remote(self._program, worker.mark, self._setup)] = worker

    def _go_on(self, worker: WorkerHandle) -> None:
        unsent, worker.unsent = worker.unsent, []
        self._pending[worker.actor.exchange.remote(unsent)] = worker

    def _discard(self, worker: WorkerHandle) -> None:
        """End the actor of a worker, if it still runs."""
        self._all.discard(worker)
        self._ray.kill(worker.actor)

    def _refuse(self, worker: WorkerHandle, refused: Refused) -> None:
        self._discard(worker)
        if not self._lenient:
            raise VidtwinError(refused.message, refused.hint)
        self._refused += 1
        self._reporter.said(f"a worker is left out: {refused.message}")

    def _count_failure(self, reason: str) -> None:
        self._failures += 1
        if self._failures >= _START_FAILURES:
            raise VidtwinError(f"workers cannot be started: {reason}", "is the same vidtwin installed on all machines?")


def _reason(error: Exception) -> str:
    """Shorten one of Ray's long error messages."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return f"{type(cause).__name__}: {cause}"
    text = " ".join(str(error).split()).partition(" Some common causes")[0]
    return text.partition("The actor is dead because ")[2] or text or type(error).__name__
