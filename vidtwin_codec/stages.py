"""Stages of work that overlap on threads with bounded queues: one reads ahead, one hands finished work on."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from vidtwin_codec import machine

T = TypeVar("T")
_END = object()
_POLL_SECONDS = 0.1
_WAITING_BYTES = 128 << 20


def depth_for(item_bytes: int) -> int:
    """Return how many items of this size may wait between two threads: two, or one where they are large."""
    return 2 if 2 * item_bytes <= _WAITING_BYTES else 1


def ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """Yield each item once ``count`` more have been made: what was begun for an item goes on meanwhile."""
    waiting: deque[T] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


class Prefetch(Generic[T]):
    """Iterates over ``source`` on another thread, at most ``depth`` items ahead.

    An error in the source is raised where the items are consumed. Leaving the ``with`` block early stops
    the thread and closes the source if it is a generator.
    """

    def __init__(self, source: Iterable[T], depth: int = 2) -> None:
        self._source = iter(source)
        self._queue: queue.Queue[object] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="vidtwin-read", daemon=True)

    def __enter__(self) -> Iterator[T]:
        machine.start(self._thread)
        return self._items()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            for item in self._source:
                if not self._put(item):
                    break
        except BaseException as error:  # carried over to the consumer, which raises it
            self._error = error
        finally:
            close = getattr(self._source, "close", None)
            if close is not None:
                close()
            self._put(_END)

    def _put(self, item: object) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def _items(self) -> Iterator[T]:
        while True:
            item = self._queue.get()
            if item is _END:
                if self._error is not None:
                    raise self._error
                return
            yield item  # type: ignore[misc]


class Sink(Generic[T]):
    """Calls ``consume(item)`` on another thread, in order, with at most ``depth`` items waiting.

    An error in ``consume`` is raised by the next :meth:`put`, or on leaving the ``with`` block, which
    waits for everything put so far.
    """

    def __init__(self, consume: Callable[[T], None], depth: int = 2) -> None:
        self._consume = consume
        self._queue: queue.Queue[object] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="vidtwin-write", daemon=True)

    def __enter__(self) -> Sink[T]:
        machine.start(self._thread)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._abandoned = kind is not None
        self._queue.put(_END)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def put(self, item: T) -> None:
        """Hand over ``item``, and wait while the queue is full."""
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def _run(self) -> None:
        while (item := self._queue.get()) is not _END:
            if self._error is None and not self._abandoned:
                try:
                    self._consume(item)  # type: ignore[arg-type]
                except BaseException as error:  # carried over to the producer, which raises it
                    self._error = error
