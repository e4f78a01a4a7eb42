"""A base of objects that hold a file or a process: leaving the ``with`` block closes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """A context manager that closes itself at the end, whatever happened."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is held; harmless to repeat."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.close()
