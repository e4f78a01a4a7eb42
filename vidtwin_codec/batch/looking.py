"""Looking at many inputs, several at once, without waiting for the slowest."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.ffmpeg import end_children, thread_count
from vidtwin_codec.options import Reporter

PATIENCE_SECONDS = 10.0
"""Seconds without any result after which the inputs that are being looked at count as slow."""

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(
    look: Callable[[T], R], items: Sequence[T], reporter: Reporter, *, patience: float | None = None
) -> list[R | VidtwinError | None]:
    """Call ``look`` for every item, several at once.

    Args:
        look: looks at one item; never returns None.
        items: all items.
        reporter: receives progress.
        patience: seconds without any result after which what is being looked at is given up; None waits for all.

    Returns:
        The result of each item; the VidtwinError that ``look`` raised in place of it, or None where it was given up.
    """
    results: list[R | VidtwinError | None] = [None] * len(items)
    reporter.started(len(items), "")
    left = list(range(len(items)))
    while left:
        left = _look(look, items, left, results, reporter, patience)
    return results


def _look(
    look: Callable[[T], R],
    items: Sequence[T],
    numbers: Sequence[int],
    results: list[R | VidtwinError | None],
    reporter: Reporter,
    patience: float | None,
) -> list[int]:
    """Look at the items of some numbers until all are done or slow; return the numbers of those not begun."""
    ended: queue.SimpleQueue[Future[R | VidtwinError]] = queue.SimpleQueue()

    threads: dict[int, int] = {}  # that looks at the item of a number

    def safely(number: int) -> R | VidtwinError:
        threads[number] = threading.get_ident()
        try:
            return look(items[number])
        except VidtwinError as error:
            return error
        finally:
            del threads[number]

    pool = ThreadPoolExecutor(thread_count() + 1, thread_name_prefix="vidtwin-probe")
    try:
        pending: dict[Future[R | VidtwinError], int] = {}
        for number in numbers:
            future = pool.submit(safely, number)
            pending[future] = number
            future.add_done_callback(ended.put)
        while pending:
            future = ended.get(timeout=patience)
            results[pending.pop(future)] = future.result()
            reporter.advanced(1)
    except queue.Empty:
        later = [number for future, number in pending.items() if future.cancel()]
        reporter.advanced(len(pending) - len(later))
        end_children(list(threads.values()))
        # threads that wait for a disk end when it answers, and nobody waits for them
        pool.shutdown(wait=False)
        return later
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        end_children()
        pool.shutdown()
        raise
    pool.shutdown()
    return []
