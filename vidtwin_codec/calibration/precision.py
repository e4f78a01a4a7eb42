"""Simulation of NVIDIA's TF32 arithmetic on any device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_DROPPED = 13
"""Number of bits of a float32's mantissa that TF32 drops."""


def rounded_to_tf32(values: Tensor) -> Tensor:
    """Round float32 numbers to the nearest ones with 10 bits of mantissa."""
    bits = values.detach().contiguous().view(torch.int32)
    return ((bits + (1 << (_DROPPED - 1))) & -(1 << _DROPPED)).view(torch.float32)


class RoundedProducts(TorchFunctionMode):
    """A mode in which products of float32 matrices round their factors as TF32 does; sums stay exact.

    It covers linear maps, convolutions and matrix products, and does not support gradients.
    """

    _FACTORS = frozenset({functional.linear, functional.conv2d, torch.matmul, Tensor.matmul, Tensor.__matmul__})

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call ``func``, with rounded factors if it is a product."""
        if func in self._FACTORS:
            factors = (rounded_to_tf32(part) if part.dtype == torch.float32 else part for part in args[:2])
            args = (*factors, *args[2:])
        return func(*args, **(kwargs or {}))
