"""A post-filter: a few convolutions that take from decoded frames some of what quantisation did to them.

They see squares of pixels as channels, so that little work reaches far, and compute what is to be added to the frames.
Each frame is filtered by itself. The released network has no post-filter. Sources: C. Dong, Y. Deng, C. C. Loy and
X. Tang, "Compression artifacts reduction by a deep convolutional network", ICCV 2015 (a small network behind a
decoder); W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
neural network", CVPR 2016 (squares of pixels as channels); K. Zhang et al., "Beyond a Gaussian denoiser", IEEE
Transactions on Image Processing 26, 2017 (the difference is what is learned, one network for all strengths).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidtwin_codec.model.config import PostFilterConfig
from vidtwin_codec.model.idle import Convolution, is_zero
from vidtwin_codec.model.transformer import autocasts

COLOURS = 3
PREFIX = "decoder.postfilter."
"""Beginning of the names of the filter's tensors in a network."""


class PostFilter(nn.Module):
    """The filter, on frames ``[..., H, W, 3]`` whose sides are multiples of its square's. A new one adds nothing.

    Args:
        config: its sizes.

    Attributes:
        idle: whether it is known to add nothing.
    """

    idle = False

    def __init__(self, config: PostFilterConfig) -> None:
        super().__init__()
        self.square = config.square
        pixels = COLOURS * config.square**2
        widths = [pixels, *[config.channels] * (config.depth - 1), pixels]
        self.layers = nn.ModuleList(Convolution(*pair) for pair in pairwise(widths))
        last = self.layers[-1]
        for parameter in last.parameters():
            if not parameter.is_meta:
                nn.init.zeros_(parameter)

    def settle(self) -> None:
        """Find out whether the filter adds nothing."""
        self.idle = all(is_zero(parameter) for parameter in self.layers[-1].parameters())

    def forward(self, frames: Tensor) -> Tensor:
        """Filter frames with values in [-1, 1]."""
        if self.idle:
            return frames
        # what the first convolution would round is rounded before it is copied
        rounded = frames.to(torch.get_autocast_dtype(frames.device.type)) if autocasts(frames) else frames
        change = self._squares(rounded).flatten(-2)
        *inner, last = self.layers
        for layer in inner:
            assert isinstance(layer, Convolution)
            change = functional.relu_(layer.over(change))
        assert isinstance(last, Convolution)
        squares = self._squares(frames)
        changed = squares + last.over(change).view(squares.shape)
        return changed.transpose(-3, -2).reshape(frames.shape)

    def _squares(self, frames: Tensor) -> Tensor:
        """View ``[..., H, W, 3]`` as ``[..., H/s, W/s, s, s·3]``."""
        side, (*others, height, width, colours) = self.square, frames.shape
        squares = frames.reshape(*others, height // side, side, width // side, side * colours)
        return squares.transpose(-3, -2)
