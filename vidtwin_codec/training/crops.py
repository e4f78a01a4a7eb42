"""Footage in one buffer on a device, from which one gather takes the crops of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidtwin_codec.model import VidTwinConfig
from vidtwin_codec.training.footage import Footage

_STAGING_PIXELS = 8 << 20
"""Number of pixels that are copied to the device at once."""


class Draw(NamedTuple):
    """Where a clip is cut from, and how it is flipped.

    Attributes:
        source: index of the file.
        start: index of the first frame.
        stride: step between frames.
        reverse: whether it runs backward.
        top: first row.
        left: first column.
        mirror: whether it is mirrored left to right.
    """

    source: int
    start: int
    stride: int
    reverse: bool
    top: int
    left: int
    mirror: bool


class Places(NamedTuple):
    """Places of a batch's pixels in the buffer: a place is the sum of a number of each tensor.

    Attributes:
        frames: places of the first pixels of frames, ``[B, T]``.
        rows: offsets of rows, ``[B, H]``.
        columns: offsets of columns, ``[B, W]``.
    """

    frames: Tensor
    rows: Tensor
    columns: Tensor


class FlatFootage:
    """A buffer of the frames of all files, one after the other, uint8 ``[pixels, 3]``.

    Args:
        footage: the files.
        device: device that holds the buffer.
    """

    def __init__(self, footage: Sequence[Footage], device: torch.device) -> None:
        self._footage = footage
        sizes = [one.frames * one.height * one.width for one in footage]
        self._first = np.cumsum([0, *sizes])
        self.buffer = torch.empty(int(self._first[-1]), 3, dtype=torch.uint8, device=device)
        staging = torch.empty(min(_STAGING_PIXELS, max(sizes)), 3, dtype=torch.uint8, pin_memory=device.type == "cuda")
        for one, first, size in zip(footage, self._first, sizes, strict=False):
            pixels = one.open().view(-1, 3)
            for start in range(0, size, len(staging)):
                piece = pixels[start : start + len(staging)]
                staging[: len(piece)].copy_(piece)
                # there is one staging buffer, so each copy ends before the next; pageable copies are slower still
                self.buffer[first + start : first + start + len(piece)].copy_(staging[: len(piece)])

    def places(self, draws: Sequence[Draw], config: VidTwinConfig) -> Places:
        """Compute where the pixels of some clips lie, on the CPU (in pinned memory if they go to a GPU)."""
        frames, rows, columns = (
            np.empty((len(draws), count), np.int64) for count in (config.frames, config.height, config.width)
        )
        for number, draw in enumerate(draws):
            one = self._footage[draw.source]
            times = draw.start + _turned(config.frames, draw.reverse) * draw.stride
            frames[number] = self._first[draw.source] + times * one.height * one.width
            rows[number] = (draw.top + np.arange(config.height)) * one.width
            columns[number] = draw.left + _turned(config.width, draw.mirror)
        tensors = [torch.from_numpy(part) for part in (frames, rows, columns)]
        return Places(*(part.pin_memory() if self.buffer.is_cuda else part for part in tensors))

    def gather(self, places: Places) -> Tensor:
        """Gather clips on the device, uint8 ``[B, T, H, W, 3]``, without waiting for it."""
        frames, rows, columns = (part.to(self.buffer.device, non_blocking=True) for part in places)
        index = frames[:, :, None, None] + rows[:, None, :, None] + columns[:, None, None, :]
        return self.buffer[index.flatten()].view(*index.shape, 3)


def _turned(count: int, turn: bool) -> NDArray[np.int64]:
    return np.arange(count)[::-1] if turn else np.arange(count)
