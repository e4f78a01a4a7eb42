"""Running means over steps, which are summed on the device and read without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Later:
    """Numbers that are being copied from the device."""

    def __init__(self, values: Tensor) -> None:
        """Begin to copy ``values``, which must not change any more."""
        self._event: torch.cuda.Event | None = None
        if values.is_cuda:
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._values = values

    def values(self) -> list[float]:
        """Return the numbers, after waiting if they have not arrived yet."""
        if self._event is not None:
            self._event.synchronize()
        found: list[float] = self._values.tolist()
        return found


class Means:
    """Means of some numbers over steps.

    Args:
        count: how many numbers a step has.
        device: device of the numbers.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        self._sums = torch.zeros(count, device=device)

    def add(self, values: Sequence[Tensor]) -> None:
        """Add the numbers of a step."""
        self._sums += torch.stack([value.float() for value in values])

    def take(self, steps: int) -> Later:
        """Return the means over ``steps`` steps, and start from zero."""
        means = self._sums / steps
        self._sums.zero_()
        return Later(means)
