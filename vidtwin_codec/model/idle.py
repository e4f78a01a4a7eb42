"""Layers that detect when they are the identity, and then cost nothing.

A network whose weights were computed rather than trained has convolutions with nothing but a centre tap, linear maps
that are the identity, and blocks behind gates of zero. :func:`settle` finds them once, after loading, and skips them
without approximation. Training does not settle layers, so that they can still learn.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidtwin_codec.model.layers import Linear, flat_linear

_SMALL_IMAGE = 20_480
"""Most elements with which torch runs a single image without a kernel of oneDNN."""


class PassingLinear(Linear):
    """A linear map that is skipped while it is the identity.

    Attributes:
        idle: whether it is known to be the identity.
    """

    idle = False

    def settle(self) -> None:
        """Find out whether the map is the identity."""
        self.idle = _is_identity(self.weight) and is_zero(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        return input if self.idle else super().forward(input)


class Convolution(nn.Conv2d):
    """A 3 x 3 convolution over the rows and columns of ``[..., rows, columns, channels]``.

    Attributes:
        centred: whether all its taps but the centre are known to be zero, so that it is a linear map of channels.
        idle: whether that map is known to be the identity.
    """

    centred = False
    idle = False

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel_size=3, stride=stride, padding=1)

    def settle(self) -> None:
        """Find out what it does."""
        around = self.weight.detach().any(dim=0).any(dim=0)
        around[1, 1] = False
        self.centred = self.stride == (1, 1) and not bool(around.any())
        self.idle = self.centred and _is_identity(self.weight[:, :, 1, 1]) and is_zero(self.bias)

    def over(self, maps: Tensor, first: int | None = None, shift: Tensor | None = None) -> Tensor:
        """Convolve maps whose channels are last, to maps of the same form.

        Args:
            maps: ``[..., rows, columns, channels]``.
            first: number of output channels to compute; None computes all.
            shift: what is added to the bias of each of them.
        """
        if self.idle and first is None and shift is None:
            return maps
        weight = self.weight if first is None else self.weight[:first]
        bias = self.bias if first is None or self.bias is None else self.bias[:first]
        if shift is not None:
            bias = shift if bias is None else bias + shift
        if self.centred:
            return flat_linear(maps, weight[:, :, 1, 1], bias)
        return convolve(maps, weight, bias, self.stride, self.padding)


def convolve(
    maps: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: tuple[int, ...] | str
) -> Tensor:
    """Convolve ``[..., rows, columns, channels]`` to maps of that form; one alone has the bits it has among others."""
    images = maps.flatten(0, -4)
    if images.device.type == "cpu" and len(images) == 1 and images.numel() <= _SMALL_IMAGE:
        # for one small image torch takes another kernel, with other sums, than for several
        images = images.repeat(2, 1, 1, 1)
    out = functional.conv2d(images.permute(0, 3, 1, 2), weight, bias, stride, padding).permute(0, 2, 3, 1)
    out = out[: maps.shape[:-3].numel()]
    return out.reshape(*maps.shape[:-3], *out.shape[1:])


class PosteriorHead(Convolution):
    """The convolution that computes means, then log-variances.

    Attributes:
        passes_means: whether the means are known to equal the input.
    """

    passes_means = False

    def settle(self) -> None:
        """Find out what it does."""
        super().settle()
        half = self.out_channels // 2
        bias = None if self.bias is None else self.bias[:half]
        self.passes_means = self.centred and _is_identity(self.weight[:half, :, 1, 1]) and is_zero(bias)

    def means(self, maps: Tensor) -> Tensor:
        """Compute the means, the first half of the output channels, of ``[..., rows, columns, channels]``."""
        return maps if self.passes_means else self.over(maps, self.out_channels // 2)


def settle(model: nn.Module) -> None:
    """Let every layer of a network that is no longer trained find out what it can skip."""
    for module in model.modules():
        found = getattr(module, "settle", None)
        if found is not None:
            found()


def is_shut(gate: Tensor, last: nn.Linear) -> bool:
    """Return whether a gated sub-layer adds nothing: its gate, or the output of its last map, is zero."""
    return is_zero(gate) or (is_zero(last.weight) and is_zero(last.bias))


def is_zero(values: Tensor | None) -> bool:
    """Return whether all numbers are zero, or there are none."""
    return values is None or not bool(values.detach().any())


def _is_identity(matrix: Tensor) -> bool:
    rows, columns = matrix.shape
    return rows == columns and bool(torch.equal(matrix.detach(), torch.eye(rows).to(matrix)))
