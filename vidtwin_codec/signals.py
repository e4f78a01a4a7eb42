"""Signals that ask a process to stop: a key (SIGINT), another program (SIGTERM), a terminal that closes (SIGHUP)."""

from __future__ import annotations

import atexit
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
"""All of them on this system."""


def obey() -> None:
    """From now on each of them raises KeyboardInterrupt in the main thread, as Ctrl-C does.

    What is ignored stays so: ``nohup`` and shells start programs that shall not hear a signal in that way.
    """
    for number in STOPPING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    # the interpreter gives signals back to the system while it ends, which would kill a process that has done its work
    atexit.register(_each, signal.SIG_IGN)


def disregard() -> None:
    """From now on pass them over: the outcome is settled, and only the exit is left."""
    _each(_nothing)
    # An interrupt in the middle of an exec() of a text (as dataclasses use while modules are imported) leaves a mark in
    # the interpreter, which then ends as if killed, even if it was caught long ago; another exec() takes the mark away.
    exec("")


@contextlib.contextmanager
def kept_from_children() -> Iterator[None]:
    """While the block lasts, processes that are started never hear of a closed terminal; this one hears of it after.

    And handlers that the block sets do not stay.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    closing = {number for number in STOPPING if number.name == "SIGHUP"}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, closing) if closing else set()
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
        if closing:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _each(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> None:
    for number in STOPPING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _nothing(number: int, frame: FrameType | None) -> None:
    pass
