"""LPIPS (Zhang et al. 2018), version 0.1 on AlexNet, for those who have its weights; nothing is downloaded.

Two files: ``alexnet-owt-*.pth``, the image classifier of torchvision, and ``alex.pth``, the weights of its layers from
the lpips package. Of both only tensors are read.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.metrics.frames import Frames, as_unit, check_pair

if TYPE_CHECKING:
    from torch import Tensor

LPIPS_LEAST_SIDE = 32
"""A side of fewer pixels leaves nothing of AlexNet's last layers."""
_ALEXNET = "alexnet-owt-*.pth"
_LINEAR = "alex.pth"
_LAYERS = (0, 3, 6, 8, 10)
"""Indices of the convolutions in AlexNet's ``features``."""
_STRIDES, _PADDINGS, _POOLED = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1), (False, True, True, False, False)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""ImageNet's colours, for pixels in [-1, 1]."""
_TINY = 1e-10


def find_weights() -> tuple[Path, Path] | str:
    """Find the files of AlexNet and of its layers' weights, or return what is missing, in words.

    It looks in the folder ``lpips`` of the cache (``$VIDTWIN_CACHE``, or the one that weights are imported to); then
    AlexNet where torchvision keeps it, and the other one inside an installed lpips package.
    """
    from vidtwin_codec.weights import cache_folder

    own = cache_folder().parent / "lpips"
    for pattern, elsewhere in ((_ALEXNET, _torch_checkpoints()), (_LINEAR, _lpips_package())):
        if not any(_matches(pattern, own, elsewhere)):
            return f"its weights are not on this machine: no {pattern} in {own} (see docs/MEASURE.md)"
    return next(_matches(_ALEXNET, own, _torch_checkpoints())), next(_matches(_LINEAR, own, _lpips_package()))


class Lpips:
    """Computes LPIPS; it is called with two pieces of frames.

    Args:
        alexnet: the checkpoint of torchvision.
        linear: the weights of the layers, from the lpips package.

    Raises:
        VidtwinError: a file cannot be read, or holds other tensors.
    """

    def __init__(self, alexnet: Path, linear: Path) -> None:
        trunk = _read(alexnet, [f"features.{layer}.{part}" for layer in _LAYERS for part in ("weight", "bias")])
        self._trunk = list(zip(trunk[::2], trunk[1::2], strict=True))
        self._linear = _read(linear, [f"lin{number}.model.1.weight" for number in range(len(_LAYERS))])

    def __call__(self, reference: Frames, decoded: Frames) -> NDArray[np.float64]:
        """Compute the LPIPS of each frame, ``[n]``; 0 is identical.

        Args:
            reference: uint8 ``[n, H, W, 3]`` RGB (or float32 in [0, 1]).
            decoded: the same shape.

        Raises:
            ValueError: the shapes differ, or a side is shorter than 32 pixels.
        """
        import torch

        check_pair(reference, decoded)
        if min(reference.shape[1:3]) < LPIPS_LEAST_SIDE:
            raise ValueError(f"frames are too small: no side may be shorter than {LPIPS_LEAST_SIDE} pixels")
        with torch.inference_mode():
            pairs = zip(reference, decoded, strict=True)
            return np.array([self._distance(a[None], b[None]) for a, b in pairs], dtype=np.float64)

    def _distance(self, one: Frames, other: Frames) -> float:
        total = 0.0
        for left, right, weight in zip(self._features(one), self._features(other), self._linear, strict=True):
            total += float(((left - right).square() * weight).sum(dim=1).mean())
        return total

    def _features(self, frames: Frames) -> Iterator[Tensor]:
        """Return the output of each layer, ``[1, C, h, w]``, every pixel's vector scaled to length 1."""
        import torch
        from torch.nn import functional

        pixels = torch.from_numpy(as_unit(frames)).permute(0, 3, 1, 2) * 2 - 1
        seen = (pixels - pixels.new_tensor(_SHIFT)[:, None, None]) / pixels.new_tensor(_SCALE)[:, None, None]
        for (weight, bias), stride, padding, pooled in zip(self._trunk, _STRIDES, _PADDINGS, _POOLED, strict=True):
            seen = functional.max_pool2d(seen, 3, 2) if pooled else seen
            seen = functional.conv2d(seen, weight, bias, stride, padding).relu_()
            yield seen / (seen.square().sum(dim=1, keepdim=True).sqrt() + _TINY)


def _read(path: Path, names: list[str]) -> list[Tensor]:
    from vidtwin_codec.model.torchfile import TorchFile

    file = TorchFile(path)
    missing = [name for name in names if name not in file.tensors]
    if missing:
        raise VidtwinError(f"{path}: holds no tensor {missing[0]}", "see docs/MEASURE.md for the file that is meant")
    return [tensor.float() for _, tensor in file.read(names)]


def _matches(pattern: str, *folders: Path | None) -> Iterator[Path]:
    return itertools.chain.from_iterable(sorted(folder.glob(pattern)) for folder in folders if folder is not None)


def _torch_checkpoints() -> Path:
    # as torch.hub finds it, without importing torch
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or os.path.join(cache, "torch")
    return Path(os.path.expanduser(home), "hub", "checkpoints")


def _lpips_package() -> Path | None:
    spec = importlib.util.find_spec("lpips")
    return Path(spec.origin).parent / "weights" / "v0.1" if spec and spec.origin else None
