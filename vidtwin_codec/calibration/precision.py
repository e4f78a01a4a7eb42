"""What NVIDIA's TF32 does to a network, found out without a card that has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_DROPPED = 13
"""Bits of a float32's mantissa that TF32 does not have."""


def rounded_to_tf32(values: Tensor) -> Tensor:
    """The nearest numbers with 10 bits of mantissa; float32 in and out."""
    bits = values.detach().contiguous().view(torch.int32)
    return ((bits + (1 << (_DROPPED - 1))) & -(1 << _DROPPED)).view(torch.float32)


class RoundedProducts(TorchFunctionMode):
    """While it is active, products of float32 matrices round their factors as TF32 does; sums stay exact.

    That goes for linear maps, convolutions and plain products of matrices. Nothing can be differentiated.
    """

    _FACTORS = frozenset({functional.linear, functional.conv2d, torch.matmul, Tensor.matmul, Tensor.__matmul__})

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run ``func``, of rounded factors if it is a product."""
        if func in self._FACTORS:
            factors = (rounded_to_tf32(part) if part.dtype == torch.float32 else part for part in args[:2])
            args = (*factors, *args[2:])
        return func(*args, **(kwargs or {}))
