"""Saving while training goes on: a copy is taken at once, and a thread writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all numbers are finite, with a single wait for the device."""
    norms = torch._foreach_norm([tensor.detach() for tensor in tensors], torch.inf)
    return bool(torch.isfinite(torch.stack([norm.float() for norm in norms])).all())


def copied(values: Any) -> Any:
    """Copy every tensor on its own device, so that later steps do not change what is written."""
    if isinstance(values, Tensor):
        return values.detach().clone()
    if isinstance(values, dict):
        return {key: copied(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(copied(value) for value in values)
    return values


class Saver:
    """A saver writes one thing at a time in a thread; the next call raises the errors of that thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="saving")
        self._last: Future[None] | None = None

    def put(self, write: Callable[[], None]) -> None:
        """Start writing, once everything before is written."""
        self.wait()
        self._last = self._pool.submit(write)

    def wait(self) -> None:
        """Wait until everything is written.

        Raises:
            VidtwinError: something could not be written.
        """
        last, self._last = self._last, None
        if last is not None:
            last.result()
