"""A post-filter: a few convolutions that take from decoded frames some of what quantisation did to them.

They see squares of pixels as channels, so that little work reaches far, and compute what is to be added to the frames.
Each frame is filtered by itself. What there is to repair depends on how coarsely latents were quantised, and biases go
by that. The released network has no post-filter. Sources: C. Dong, Y. Deng, C. C. Loy and
X. Tang, "Compression artifacts reduction by a deep convolutional network", ICCV 2015 (a small network behind a
decoder); W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
neural network", CVPR 2016 (squares of pixels as channels); K. Zhang et al., "Beyond a Gaussian denoiser", IEEE
Transactions on Image Processing 26, 2017 (the difference is what is learned, one network for all strengths); Y. Choi,
M. El-Khamy and J. Lee, "Variable rate deep image compression with a conditional autoencoder", ICCV 2019 (a bias that
depends on the rate).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidtwin_codec.model.config import PostFilterConfig
from vidtwin_codec.model.idle import Convolution, convolve, is_zero
from vidtwin_codec.model.layers import COLOURS
from vidtwin_codec.model.transformer import autocasts

_OCTAVES = 4.0
"""Doublings and halvings of the weights' own steps that a filter tells apart."""
PREFIX = "decoder.postfilter."
"""Beginning of the names of the filter's tensors in a network."""


class PostFilter(nn.Module):
    """The filter, on frames ``[..., H, W, 3]`` whose sides are multiples of its square's. A new one adds nothing.

    Args:
        config: its sizes.

    Attributes:
        slopes: for each layer, what its biases gain where steps are at their coarsest, and lose where they are at
            their finest, if the filter goes by steps.
        idle: whether it is known to add nothing.
    """

    slopes: nn.ParameterList | None

    idle = False

    def __init__(self, config: PostFilterConfig) -> None:
        super().__init__()
        self.square, self.finest = config.square, config.finest
        pixels = COLOURS * config.square**2
        widths = [pixels, *[config.channels] * (config.depth - 1), pixels]
        self.layers = nn.ModuleList(Convolution(*pair) for pair in pairwise(widths))
        self.slopes = None
        if config.by_steps:
            self.slopes = nn.ParameterList(nn.Parameter(torch.zeros(width)) for width in widths[1:])
        for parameter in self.layers[-1].parameters():
            if not parameter.is_meta:
                nn.init.zeros_(parameter)

    def settle(self) -> None:
        """Find out whether the filter adds nothing."""
        slopes = () if self.slopes is None else (self.slopes[-1],)
        self.idle = all(is_zero(parameter) for parameter in (*self.layers[-1].parameters(), *slopes))

    def forward(self, frames: Tensor, coarseness: float | Tensor = 1.0) -> Tensor:
        """Filter frames with values in [-1, 1], which may be overwritten.

        Args:
            frames: the frames.
            coarseness: quantisation steps of their latents over the weights' own; 0 for latents that are not quantised.
                A tensor holds one number for each along the first axis of ``frames``.
        """
        if isinstance(coarseness, Tensor):
            self._filter(frames, _place(coarseness).view(-1, *[1] * (frames.ndim - 1)))
        elif not self.idle and coarseness >= self.finest:
            self._filter(frames, _place(torch.tensor(float(coarseness))).item())
        return frames

    def _filter(self, frames: Tensor, place: float | Tensor) -> None:
        """Overwrite frames of latents whose coarseness has this place, or these places, on its scale."""
        dtype = torch.get_autocast_dtype(frames.device.type) if autocasts(frames) else frames.dtype
        change = frames.to(dtype, copy=torch.is_grad_enabled())  # the gradient needs what is overwritten in the end
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Convolution)
            shift = None if self.slopes is None else place * self.slopes[number]
            of_all = shift is not None and shift.ndim == 1  # then it costs nothing
            added = shift if of_all else None
            change = layer.over(rectify(change), shift=added) if number else self._first(change, added)
            change = change if shift is None or of_all else change + shift
        squares = self._squares(frames)
        squares.add_(change.view(squares.shape))

    def _first(self, frames: Tensor, shift: Tensor | None) -> Tensor:
        """Convolve squares with the first layer where their pixels lie, to ``[..., H/s, W/s, channels]``.

        Rows of s pixels are channels already, so its taps go over s times as many rows, in steps of a square. Gathering
        the squares took longer than the convolution.
        """
        side, layer = self.square, self.layers[0]
        assert isinstance(layer, Convolution)
        assert layer.bias is not None
        rows = frames.view(*frames.shape[:-2], -1, side * COLOURS)
        by_row = layer.weight.view(len(layer.weight), side, side * COLOURS, *layer.kernel_size)
        weight = by_row.permute(0, 2, 3, 1, 4).flatten(2, 3)
        return convolve(rows, weight, layer.bias if shift is None else layer.bias + shift, (side, 1), (side, 1))

    def _squares(self, frames: Tensor) -> Tensor:
        """View ``[..., H, W, 3]`` as ``[..., H/s, W/s, s, s·3]``."""
        side, (*others, height, width, colours) = self.square, frames.shape
        squares = frames.view(*others, height // side, side, width // side, side * colours)
        return squares.transpose(-3, -2)


def rectify(values: Tensor) -> Tensor:
    """Replace what is negative by zero, in place."""
    if values.dtype == torch.bfloat16 and not values.requires_grad:
        # as whole numbers of 16 bits the same are negative, and a third of the time is enough
        values.view(torch.int16).clamp_min_(0)
        return values
    return functional.relu_(values)


def _place(coarseness: Tensor) -> Tensor:
    """Place a coarseness on its scale from -1 to 1."""
    return coarseness.clamp_min(1e-9).log2().div(_OCTAVES).clamp(-1, 1)
