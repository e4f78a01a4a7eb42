"""What reading latents gives: clips of one file, exact, as numbers of whatever kind is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import LatentArrays, Steps, dequantize

if TYPE_CHECKING:
    from vidtwin_codec.model import Latents


@dataclass(frozen=True, eq=False)
class ClipLatents:
    """Latents of some clips of a file.

    Attributes:
        numbers: which clips.
        frames: frames of the video that were asked for; whole clips where clips were.
        symbols: integers as stored, ``structure [clips, tiles, n_q, h, w, d_S]``, ``dynamics_x [clips, tiles, d_D, T,
            w_D]``, ``dynamics_y [clips, tiles, d_D, T, h_D]``; int8, int16 or int32.
        steps: a latent is symbol · step of its channel.
    """

    numbers: range
    frames: range
    symbols: LatentArrays
    steps: Steps

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.numbers)

    @property
    def structure(self) -> NDArray[np.float32]:
        """``[clips, tiles, n_q, h, w, d_S]``."""
        return self.numpy().structure

    @property
    def dynamics_x(self) -> NDArray[np.float32]:
        """``[clips, tiles, d_D, T, w_D]``."""
        return self.numpy().dynamics_x

    @property
    def dynamics_y(self) -> NDArray[np.float32]:
        """``[clips, tiles, d_D, T, h_D]``."""
        return self.numpy().dynamics_y

    def numpy(self) -> LatentArrays:
        """All three as float32, exactly what a decoder is given."""
        return dequantize(self.symbols, self.steps)

    def torch(self, device: Any = None) -> Latents:
        """All three as float32 tensors on ``device`` (torch's default: the CPU)."""
        import torch

        from vidtwin_codec.model import Latents

        return Latents(*(torch.from_numpy(array).to(device or "cpu") for array in self.numpy()))
