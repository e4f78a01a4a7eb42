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

from torch import Tensor, nn
from torch.nn import functional

from vidtwin_codec.model.config import PostFilterConfig
from vidtwin_codec.model.idle import Convolution, is_zero

COLOURS = 3


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
        change = self._folded(frames)
        *inner, last = self.layers
        for layer in inner:
            assert isinstance(layer, Convolution)
            change = functional.relu(layer.over(change))
        assert isinstance(last, Convolution)
        return frames + self._unfolded(last.over(change))

    def _folded(self, frames: Tensor) -> Tensor:
        """Turn ``[..., H, W, 3]`` into ``[..., H/s, W/s, s·s·3]``."""
        side, (*others, height, width, colours) = self.square, frames.shape
        squares = frames.reshape(*others, height // side, side, width // side, side * colours)
        return squares.transpose(-3, -2).flatten(-2)

    def _unfolded(self, squares: Tensor) -> Tensor:
        """Turn it back."""
        side, (*others, rows, columns, _) = self.square, squares.shape
        lines = squares.reshape(*others, rows, columns, side, side * COLOURS).transpose(-3, -2)
        return lines.reshape(*others, rows * side, columns * side, COLOURS)
