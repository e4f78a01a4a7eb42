"""How good a network is on clips it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from vidtwin_codec.model import Latents, VidTwin
from vidtwin_codec.network.device import Device
from vidtwin_codec.training.clips import pixels

_BATCH = {"cpu": 2}
_BATCH_ELSEWHERE = 16
_FLOOR = 1e-8
"""Keeps identical frames finite, at 80 dB (the paper's form)."""


Rounded = Callable[[Latents], Latents]
"""Turns latents into those a decoder gets."""


class Quality(NamedTuple):
    """Decibels: PSNR, mean over frames and clips; and of the worst and the best clip."""

    mean: float
    worst: float
    best: float


@torch.inference_mode()
def measure(model: VidTwin, clips: Tensor, place: Device, rounded: Rounded | None = None) -> Quality | None:
    """PSNR under the paper's protocol, of RGB in [0, 1]; None without clips.

    Args:
        model: on ``place``'s device.
        clips: uint8 ``[n, T, H, W, 3]``, prepared by :func:`~vidtwin_codec.training.preparation.held_out_clips`.
        place: device and precision to compute with.
        rounded: what becomes of posterior means before they are decoded; None for nothing.
    """
    if not len(clips):
        return None
    values = torch.cat(list(_each(model, clips, place, rounded))).cpu()
    return Quality(float(values.mean()), float(values.min()), float(values.max()))


def _each(model: VidTwin, clips: Tensor, place: Device, rounded: Rounded | None) -> Iterator[Tensor]:
    for piece in torch.split(clips, _BATCH.get(place.device.type, _BATCH_ELSEWHERE)):
        source = pixels(piece.to(place.device))
        with place.autocast():
            means = model.encode(source)
            decoded = model.decode(means if rounded is None else rounded(means))
        error = ((decoded.clamp(-1, 1) - source) / 2).square().mean(dim=(1, 3, 4))
        yield (-10 * torch.log10(error + _FLOOR)).mean(dim=1)
