"""Measuring a network on clips that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from vidtwin_codec.metrics import psnr_of_error
from vidtwin_codec.model import VidTwin
from vidtwin_codec.network.device import Device
from vidtwin_codec.training.clips import pixels
from vidtwin_codec.training.objective import Quantised

_BATCH = {"cpu": 2}
_BATCH_ELSEWHERE = 16


class Quantising(NamedTuple):
    """How latents are quantised: a function, and the factor on the steps that it gets."""

    quantised: Quantised
    factor: float


class ClipPsnr(NamedTuple):
    """The PSNR of clips in dB.

    Attributes:
        mean: mean over frames and clips.
        worst: PSNR of the worst clip.
        best: PSNR of the best clip.
    """

    mean: float
    worst: float
    best: float


@torch.inference_mode()
def measure(model: VidTwin, clips: Tensor, place: Device, quantising: Quantising | None = None) -> ClipPsnr | None:
    """Measure the PSNR of RGB in [0, 1] under the paper's protocol; None without clips.

    Args:
        model: the network, on the device of ``place``.
        clips: uint8 ``[n, T, H, W, 3]``, prepared by :func:`~vidtwin_codec.training.preparation.held_out_clips`.
        place: device and precision to compute with.
        quantising: how posterior means are quantised before they are decoded; None leaves them as they are.
    """
    if not len(clips):
        return None
    errors = torch.cat(list(_each(model, clips, place, quantising))).cpu().numpy()
    values = psnr_of_error(errors).mean(axis=1)
    return ClipPsnr(float(values.mean()), float(values.min()), float(values.max()))


def _each(model: VidTwin, clips: Tensor, place: Device, quantising: Quantising | None) -> Iterator[Tensor]:
    """Yield the mean squared error of each frame in [0, 1], ``[clips, T]``."""
    for piece in torch.split(clips, _BATCH.get(place.device.type, _BATCH_ELSEWHERE)):
        source = pixels(piece.to(place.device))
        with place.autocast():
            means = model.encode(source)
            if quantising is None:
                decoded = model.decode(means)
            else:
                decoded = model.decode(quantising.quantised(means, quantising.factor), coarseness=quantising.factor)
        yield ((decoded.clamp(-1, 1) - source) / 2).square().mean(dim=(1, 3, 4))
