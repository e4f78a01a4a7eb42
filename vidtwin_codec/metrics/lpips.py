"""LPIPS (Zhang et al. 2018), version 0.1 on AlexNet, by torchmetrics and torchvision: the extra ``lpips``."""

from __future__ import annotations

import functools
import importlib.util
import pickle
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.metrics.frames import Frames, as_unit, check_pair

if TYPE_CHECKING:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

LPIPS_LEAST_SIDE = 32
"""A side of fewer pixels leaves nothing of AlexNet's last layers."""


def missing_package() -> str | None:
    """Return what is not installed, in words, or None; nothing is imported."""
    for name in ("torchmetrics", "torchvision"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed: pip install 'vidtwin-codec[lpips]'"
    return None


class Lpips:
    """Computes LPIPS; it is called with two pieces of frames. The first one made downloads AlexNet (233 MB).

    Raises:
        VidtwinError: torchvision does not run beside this torch, or AlexNet's weights cannot be had.
    """

    def __init__(self) -> None:
        self._metric = _load()

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
            ours, theirs = (torch.from_numpy(as_unit(frames)).permute(0, 3, 1, 2) for frames in (reference, decoded))
            pairs = zip(ours, theirs, strict=True)  # one by one: of several the metric gives the mean
            values = [float(self._metric(one[None], other[None])) for one, other in pairs]
        self._metric.reset()
        return np.array(values, dtype=np.float64)


@functools.cache
def _load() -> LearnedPerceptualImagePatchSimilarity:
    try:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        return LearnedPerceptualImagePatchSimilarity("alex", normalize=True)
    # a torchvision of another torch raises RuntimeError, as does a download that is not what it should be
    except (ImportError, OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise VidtwinError(f"AlexNet does not load, see docs/MEASURE.md ({why})") from error
