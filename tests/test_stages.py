from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from vidtwin_codec.stages import Prefetch, Sink


def test_prefetch_keeps_order_and_runs_ahead_no_further_than_its_depth() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    with Prefetch(source(), depth=2) as items:
        first = next(items)
        time.sleep(0.2)
        assert len(made) <= 1 + 2 + 1  # taken, waiting, and one in hand
        assert [first, *items] == list(range(20))


def test_prefetch_raises_the_sources_error_after_its_items() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"), Prefetch(source()) as items:  # noqa: PT012
        for item in items:
            seen.append(item)
    assert seen == [1]


def test_leaving_prefetch_early_closes_the_source() -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    with Prefetch(source()) as items:
        next(items)
    assert closed.wait(1)


def test_sink_consumes_in_order_and_waits_at_the_end() -> None:
    seen: list[int] = []

    def consume(item: int) -> None:
        time.sleep(0.01)
        seen.append(item)

    with Sink(consume, depth=1) as sink:
        for number in range(10):
            sink.put(number)
    assert seen == list(range(10))


def test_sinks_error_reaches_the_producer() -> None:
    def consume(item: int) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"), Sink(consume) as sink:  # noqa: PT012
        for number in range(1000):
            sink.put(number)
            time.sleep(0.001)


def test_an_error_in_the_producer_leaves_waiting_items_alone() -> None:
    seen: list[int] = []

    def consume(item: int) -> None:
        time.sleep(0.05)
        seen.append(item)

    with pytest.raises(KeyboardInterrupt), Sink(consume, depth=5) as sink:  # noqa: PT012
        for number in range(5):
            sink.put(number)
        raise KeyboardInterrupt
    assert len(seen) < 5
