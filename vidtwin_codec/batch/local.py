"""The local engine: several files in hand at once, each on its own thread, and threads for the network of each device.

While the network works for one file, others are opened, decoded, packed and written: nothing waits for ffmpeg to
start. A file is worked on by the very code that works on a single file.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch

from vidtwin_codec.batch.engine import Ended, Event, Job, Perform, Progress, Warned
from vidtwin_codec.batch.locks import BusyError
from vidtwin_codec.batch.network import NetworkThreads, SharedCodecs, StoppedError
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.ffmpeg import end_children, thread_count
from vidtwin_codec.pipeline.codec import LoadCodec
from vidtwin_codec.pipeline.device import select_device
from vidtwin_codec.pipeline.options import EncodeOptions, NetworkOptions, Reporter
from vidtwin_codec.refinement import LEVELS

LEAST_JOBS = 4
"""Enough that one file always waits for the network while others are opened and packed."""
MOST_CALLS = 8
"""Of the network at once, on a CPU."""
MEMORY_SHARE = 0.25
"""Of the machine's memory, for frames of all files in hand."""
# Packing runs Python code beside the network's threads, which need the interpreter for a moment after every operation
# (some milliseconds long) and by default get it back only 5 ms later.
_SWITCH_SECONDS = 0.0005
_POLL_SECONDS = 0.1


class LocalEngine:
    """This machine's devices.

    Args:
        options: of these device, precision and batch.
        jobs: files in hand at once; None chooses.
        merge: clips of different files in one call of the network; None: on a GPU.
    """

    def __init__(self, options: NetworkOptions, jobs: int | None = None, merge: bool | None = None) -> None:
        self.devices = _devices(options.device)
        on_cpu = select_device(self.devices[0], "float32", "float32").device.type == "cpu"
        self.merge = not on_cpu if merge is None else merge
        # Latents are the same to the last bit on one core and on many. Refining them adds up over whole pictures, which
        # is not, so it is done on as many cores as for a file alone.
        refines = isinstance(options, EncodeOptions) and LEVELS[options.effort].decodes
        self.calls = min(MOST_CALLS, torch.get_num_threads()) if on_cpu and not (self.merge or refines) else 1
        at_least = max(LEAST_JOBS, len(self.devices) * min(LEAST_JOBS, thread_count()), self.calls + 2)
        self.jobs = jobs or at_least

    def run(self, jobs: Sequence[Job], perform: Perform) -> Iterator[Event]:
        """See :class:`Engine`: the longest first, so that all devices come to an end together."""
        with ExitStack() as stack:
            stack.enter_context(_quick_switching())
            work = _Work(sorted(jobs, key=lambda job: -job.work), perform)
            threads = [
                stack.enter_context(NetworkThreads(self.merge, self.calls, lambda: min(self.jobs, work.unfinished)))
                for _ in self.devices
            ]
            codecs = [SharedCodecs(*pair) for pair in zip(self.devices, threads, strict=True)]
            loads = [codecs[number % len(codecs)].load for number in range(min(self.jobs, len(jobs)))]
            # no daemons: one that an interrupt catches while it is being started is waited for at the end
            lanes = [threading.Thread(target=work.lane, args=(load,), name="vidtwin-file") for load in loads]
            try:
                for lane in lanes:
                    lane.start()
                for _ in jobs:
                    while not isinstance(event := work.events.get(), Ended):
                        yield event
                    yield event
            finally:
                work.stop()
                for thread in threads:
                    thread.stop()
                for lane in lanes:
                    while lane.is_alive():
                        if work.unfinished:
                            end_children()
                        lane.join(_POLL_SECONDS)


class _Work:
    """What the lanes share: jobs to take, and events to hand on."""

    def __init__(self, jobs: Sequence[Job], perform: Perform) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._jobs: queue.SimpleQueue[tuple[Job, bool]] = queue.SimpleQueue()
        self._perform = perform
        self._stopped = threading.Event()
        self._room = _Room()
        self._lock = threading.Lock()
        self.unfinished = len(jobs)
        for job in jobs:
            self._jobs.put((job, False))

    def stop(self) -> None:
        self._stopped.set()
        self._room.open()

    def lane(self, load: LoadCodec) -> None:
        """Take one job after the other until none is left."""
        while not self._stopped.is_set() and self.unfinished:
            try:
                job, wait = self._jobs.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue  # one in hand may yet come back, because another run is at it
            self._room.take(job.memory)
            try:
                ended = self._do(job, load, wait)
            finally:
                self._room.give_back(job.memory)
            if ended is None:
                self._jobs.put((job, True))  # to wait for, after everything else
                continue
            with self._lock:
                self.unfinished -= 1
            self.events.put(ended)

    def _do(self, job: Job, load: LoadCodec, wait: bool) -> Ended | None:
        """None if another run is at the same output."""
        try:
            return Ended(job, self._perform(job, load, self._reporter(job), self._stopped.is_set, wait))
        except (BusyError, StoppedError):
            return None
        except VidtwinError as error:
            return Ended(job, None, error.message)
        except Exception as error:  # a bug, but one file's: the others shall not suffer
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
    """Memory for frames: a file waits until there is room for it beside the others, or until it is alone."""

    def __init__(self) -> None:
        self._size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * MEMORY_SHARE
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
        """Let everyone in, to be told to stop."""
        with self._changed:
            self._size = float("inf")
            self._changed.notify_all()


def _devices(name: str) -> list[str]:
    """Every device that ``name`` means: all GPUs where no number is given; ``cuda:0,cuda:1`` is several."""
    names = name.split(",")
    if name in ("auto", "cuda") and torch.cuda.is_available():
        names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    for each in names:
        select_device(each, "float32", "float32")  # refuses what is not there
    return names


@contextmanager
def _quick_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
