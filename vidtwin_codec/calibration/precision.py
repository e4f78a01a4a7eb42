"""What precisions below float32 cost, and NVIDIA's TF32 arithmetic simulated on any device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from vidtwin_codec.metrics import psnr_of_error
from vidtwin_codec.model.vidtwin import VidTwin

RUNS = 6
"""Runs of a half of the network for each clip on which precisions are compared."""

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


@dataclass(frozen=True)
class Losses:
    """The PSNR that a network has in float32, and what it loses in other precisions, in dB."""

    exact: float
    bfloat16: float
    tf32: float


def compare_precisions(model: VidTwin, clips: Sequence[Tensor]) -> Losses:
    """Measure float32, bfloat16 as the network will run in it, and TF32 on clips ``[1, 3, T, H, W]`` in [-1, 1]."""
    exact = reconstruction_psnr(model, clips)
    with torch.autocast(next(model.parameters()).device.type, dtype=torch.bfloat16):
        bfloat16 = reconstruction_psnr(model, clips)
    with RoundedProducts():
        return Losses(exact, exact - bfloat16, exact - reconstruction_psnr(model, clips))


def reconstruction_psnr(model: VidTwin, clips: Sequence[Tensor]) -> float:
    """Compute the mean PSNR in dB over clips, of RGB in [0, 1], in the network's own precision."""
    device = next(model.parameters()).device
    values = []
    with torch.inference_mode():
        for clip in clips:
            source = clip.to(device)
            error = (model.decode(model.encode(source)).clamp(-1, 1) - source).square().mean() / 4
            values.append(float(psnr_of_error(float(error))))
    return sum(values) / len(values)
