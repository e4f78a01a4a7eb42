"""Saving beside the steps: a copy is taken at once, and written by a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number is finite, found with one wait for the device."""
    norms = torch._foreach_norm([tensor.detach() for tensor in tensors], torch.inf)
    return bool(torch.isfinite(torch.stack([norm.float() for norm in norms])).all())


def copied(values: Any) -> Any:
    """The same with a copy of every tensor, on its own device: quick, and free of what steps do meanwhile."""
    if isinstance(values, Tensor):
        return values.detach().clone()
    if isinstance(values, dict):
        return {key: copied(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(copied(value) for value in values)
    return values


class Saver:
    """Writes one thing at a time in a thread; what goes wrong there is raised here, by the next call."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="saving")
        self._last: Future[None] | None = None

    def put(self, write: Callable[[], None]) -> None:
        """Begin to write, once what was written before is done."""
        self.wait()
        self._last = self._pool.submit(write)

    def wait(self) -> None:
        """Until everything is written.

        Raises:
            VidtwinError: something could not be.
        """
        last, self._last = self._last, None
        if last is not None:
            last.result()
