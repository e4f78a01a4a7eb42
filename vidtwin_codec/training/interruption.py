"""Signals that stop a run between two steps instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

from vidtwin_codec.signals import STOPPING


class Interruption:
    """A block in which the first stop signal of a kind only sets :attr:`requested`; the second one interrupts.

    A process under ``torchrun`` gets two kinds of signal from one Ctrl-C. Signals reach the main thread only; in other
    threads nothing is changed.

    Attributes:
        requested: whether a signal has asked to stop.
    """

    def __init__(self) -> None:
        self.requested = False
        self._seen: set[int] = set()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) == signal.SIG_IGN:
                    continue  # the process was started to ignore this signal
                self._before[number] = signal.signal(number, self._noted)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _noted(self, number: int, frame: FrameType | None) -> None:
        if number in self._seen:
            raise KeyboardInterrupt
        self._seen.add(number)
        self.requested = True
