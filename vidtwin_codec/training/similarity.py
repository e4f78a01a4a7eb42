"""Structural similarity to learn by: what squared error alone smooths away costs something here.

Luma in windows of 8 x 8 pixels, 4 apart, at up to three scales: the full index at the first, contrast and structure at
the halved ones. Windows that are plain means and lie apart cost a tenth of Gaussian ones around every pixel, and a step
draws its crops anywhere. Sources: Z. Wang et al., "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13, 2004; Z. Wang, E. P. Simoncelli and A. C. Bovik, "Multiscale
structural similarity for image quality assessment", Asilomar 2003; H. Zhao et al., "Loss functions for image
restoration with neural networks", IEEE Transactions on Computational Imaging 3, 2017 (mixed with a pixel loss).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

_WINDOW = 8
_APART = 4
_SCALES = 3
_LUMA = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue (ITU-R BT.709)."""
_C1, _C2 = 0.01**2, 0.03**2
_FLOOR = 1e-3
"""Distance below which frames (above 30 dB) hardly count any more."""


def similarity_loss(shown: Tensor, wanted: Tensor) -> Tensor:
    """Compute minus the mean of the frames' structural similarity in decibels, 10 · log10(1 / (1 - index)).

    Args:
        shown: frames with values in [-1, 1], ``[N, H, W, 3]``.
        wanted: what they should be, of the same shape.
    """
    planes = torch.stack([_luma(shown), _luma(wanted)])
    found = []
    for scale in range(_SCALES):
        if scale:
            if min(planes.shape[-2:]) < 2 * _WINDOW:
                break
            planes = avg_pool2d(planes, 2)
        found.append(_index(*planes, lightness=not scale))
    apart = 1 - torch.stack(found).mean(dim=0)
    return (10 / math.log(10)) * (apart + _FLOOR).log().mean()


def _luma(frames: Tensor) -> Tensor:
    """Compute luma from 0 to 1, because the index takes black for 0."""
    # numbers, not a tensor of them, which would have to be sent to a device in each step
    red, green, blue = (weight / 2 * plane for weight, plane in zip(_LUMA, frames.float().unbind(-1), strict=True))
    return red + green + blue + 0.5


def _index(one: Tensor, other: Tensor, *, lightness: bool) -> Tensor:
    """Compute the mean index of each frame ``[N, H, W]``, with or without its factor for lightness."""
    moments = torch.stack([one, other, one * one, other * other, one * other])
    a, b, aa, bb, ab = avg_pool2d(moments, min(_WINDOW, *one.shape[1:]), _APART)
    squares = a * a + b * b
    index: Tensor = (2 * (ab - a * b) + _C2) / (aa + bb - squares + _C2)
    if lightness:
        index = index * (2 * a * b + _C1) / (squares + _C1)
    return index.mean(dim=(1, 2))
