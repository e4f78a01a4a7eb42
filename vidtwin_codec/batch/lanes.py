"""Several jobs at once in one process: each on a thread of its own, and further threads run the network."""

from __future__ import annotations

import queue
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Self

from vidtwin_codec import machine
from vidtwin_codec.batch.engine import Ended, Event, Job, Perform, Progress, Warned
from vidtwin_codec.batch.locks import BusyError
from vidtwin_codec.batch.network import NetworkThreads, SharedNetworks, StoppedError
from vidtwin_codec.closing import Closing
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.ffmpeg import end_children
from vidtwin_codec.network.memory import is_broken_device
from vidtwin_codec.network.runner import LoadNetwork
from vidtwin_codec.options import Reporter

LEAST_JOBS = 4
"""Jobs at once that keep the network busy while files are opened and packed."""
MOST_CALLS = 8
"""Most calls of the network at once, on a CPU."""
MEMORY_SHARE = 0.25
"""Share of the machine's memory for the frames of all jobs at once."""
# Packing runs Python code beside the network's threads, which need the interpreter for a moment after every operation
# (some milliseconds long) and by default get it back only 5 ms later.
_SWITCH_SECONDS = 0.0005
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class AtOnce:
    """How much one process does at once.

    Attributes:
        jobs: number of jobs.
        calls: calls of the network on each device; those on a CPU share its cores.
        merge: whether clips of different files go into one call.
    """

    jobs: int
    calls: int
    merge: bool

    @classmethod
    def choose(cls, kind: str, cores: int, *, devices: int = 1, jobs: int | None, merge: bool | None) -> AtOnce:
        """Choose what suits the devices.

        Args:
            kind: kind of the devices.
            cores: CPU cores of this process.
            devices: number of devices.
            jobs: number of jobs; None chooses.
            merge: whether to merge calls; None chooses.
        """
        if merge is None:
            merge = kind != "cpu"
        # the number of cores does not change a bit of the latents
        calls = 1 if kind != "cpu" or merge else min(MOST_CALLS, cores)
        return cls(jobs or max(LEAST_JOBS, devices * min(LEAST_JOBS, cores), calls + 2), calls, merge)


@dataclass(frozen=True)
class Busy:
    """Another run holds a job's output; the job should be put again after all others, and wait."""

    job: Job


class Lanes(Closing):
    """Threads that do jobs in the order in which they are put; a context manager that drops unfinished jobs at its end.

    Args:
        devices: where networks run.
        at_once: how much is done at once.
        perform: does one job.
        share: share of the memory, where other processes have the rest; one job and one call are always let in.

    Attributes:
        events: what has happened, with exactly one :class:`Ended` or :class:`Busy` for each job.
        broken: why no device of this process can be used any more, once one has failed for good.
    """

    def __init__(self, devices: Sequence[str], at_once: AtOnce, perform: Perform, share: float = 1.0) -> None:
        self.events: queue.SimpleQueue[Event | Busy] = queue.SimpleQueue()
        self._jobs: queue.SimpleQueue[tuple[Job, bool] | None] = queue.SimpleQueue()
        self._perform = perform
        self._stopped = threading.Event()
        self.broken: str | None = None
        self._room = _Room(machine.memory() * MEMORY_SHARE * share)
        self._lock = threading.Lock()
        self._left = 0  # jobs that have not ended
        self._networks = [
            NetworkThreads(at_once.merge, at_once.calls, lambda: min(at_once.jobs, self._left)) for _ in devices
        ]
        networks = [SharedNetworks(*pair, share) for pair in zip(devices, self._networks, strict=True)]
        loads = [networks[number % len(networks)].load for number in range(at_once.jobs)]
        # not daemons, so that one interrupted while it starts is still waited for at the end
        self._threads = [threading.Thread(target=self._run, args=(load,), name="vidtwin-file") for load in loads]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(_quick_switching())
            for network in self._networks:
                stack.enter_context(network)
            stack.callback(self._end)
            for thread in self._threads:
                machine.start(thread)
            self._stack = stack.pop_all()
        return self

    def close(self) -> None:
        """Drop all unfinished jobs without leaving files behind."""
        self._stack.close()

    def put(self, job: Job, *, wait: bool = False) -> None:
        """Queue a job, which may ``wait`` for another run that holds its output."""
        self._count(1)
        self._jobs.put((job, wait))

    def _count(self, more: int) -> None:
        with self._lock:
            self._left += more

    def _end(self) -> None:
        self._stopped.set()
        self._room.open()
        for network in self._networks:
            network.stop()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            while thread.is_alive():
                if self._left:
                    end_children()
                thread.join(_POLL_SECONDS)

    def _run(self, load: LoadNetwork) -> None:
        """Do one job after the other."""
        while (taken := self._jobs.get()) is not None and not self._stopped.is_set():
            job, wait = taken
            self._room.take(job.memory)
            try:
                ended = self._do(job, load, wait)
            finally:
                self._room.give_back(job.memory)
            self._count(-1)
            self.events.put(ended)

    def _do(self, job: Job, load: LoadNetwork, wait: bool) -> Ended | Busy:
        try:
            return Ended(job, self._perform(job, load, self._reporter(job), self._stopped.is_set, wait))
        except (BusyError, StoppedError):
            return Busy(job)
        except VidtwinError as error:
            return Ended(job, None, error.message)
        except RuntimeError as error:
            if is_broken_device(error):
                # every further call would fail as well, so the job must go to another process or a later run
                self.broken = str(error).partition("\n")[0]
                return Busy(job)
            return self._failed(job, error)
        except Exception as error:  # a bug; the other files are done all the same
            return self._failed(job, error)

    def _failed(self, job: Job, error: Exception) -> Ended:
        self.events.put(Warned(job, f"internal error\n{traceback.format_exc()}"))
        return Ended(job, None, f"internal error: {type(error).__name__}: {error}")

    def _reporter(self, job: Job) -> Reporter:
        stage, done, total = "", 0, None

        def started(frames: int | None, device: str) -> None:
            nonlocal stage, done, total
            stage, done, total = device, 0, frames
            self.events.put(Progress(job, stage, done, total))

        def advanced(frames: int) -> None:
            nonlocal done
            if self._stopped.is_set():
                raise StoppedError
            done += frames
            self.events.put(Progress(job, stage, done, total))

        return Reporter(started, advanced, lambda text: self.events.put(Warned(job, text)))


class _Room:
    """A limit on memory for frames: a job waits until it fits beside the others, or until it is alone."""

    def __init__(self, size: float) -> None:
        self._size = size
        self._taken = 0
        self._changed = threading.Condition()

    def take(self, size: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + size <= self._size)
            self._taken += size

    def give_back(self, size: int) -> None:
        with self._changed:
            self._taken -= size
            self._changed.notify_all()

    def open(self) -> None:
        """Let all waiting jobs in, so that they learn of the stop."""
        with self._changed:
            self._size = float("inf")
            self._changed.notify_all()


@contextmanager
def _quick_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
