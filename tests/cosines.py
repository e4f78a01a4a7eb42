"""A stand-in for a network that sees whole frames: the orthonormal transform that such networks come close to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidtwin_codec.coding.patterns import Patterns
from vidtwin_codec.model import Latents, VidTwinConfig
from vidtwin_codec.network.device import select_device
from vidtwin_codec.network.runner import LoadNetwork, NetworkRunner

COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])


def cosines(size: int) -> NDArray[np.float64]:
    """``[frequency, place]``, orthonormal."""
    frequencies, places = np.arange(size)[:, None], np.arange(size)[None]
    basis = np.cos(np.pi / size * (places + 0.5) * frequencies) * np.sqrt(2 / size)
    basis[0] /= np.sqrt(2)
    return basis


class CosineNetwork(nn.Module):
    """Latents of ``config`` by cosines of space, time and colour; dynamics are zero, and change nothing."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        self.config = config
        size = config.patch_size
        assert config.patterns is not None
        colour, row, column = Patterns(size, config.patterns).frequencies.T
        basis, time = cosines(size), cosines(config.frames)
        spatial = np.einsum("cp,cq,ck->cpqk", basis[row], basis[column], COLOURS[colour]).reshape(len(row), -1)
        self.register_buffer("spatial", torch.from_numpy(spatial).float())
        self.register_buffer("time", torch.from_numpy(time[: config.qformer.num_queries]).float())

    def encode_levels(self, frames: Tensor) -> Latents:
        config, size = self.config, self.config.patch_size
        count, length, height, width, _ = frames.shape
        rows, columns = height // size, width // size
        spatial: Any = self.spatial
        out = torch.zeros(count, config.qformer.num_queries, rows, columns, config.structure_channels)
        for row in range(rows):  # a row of patches at a time: memory
            band = frames[:, :, row * size : (row + 1) * size].float().div_(127.5).sub_(1)
            patches = (
                band.view(count, length, size, columns, size, 3).transpose(2, 3).reshape(count, length, columns, -1)
            )
            out[:, :, row] = torch.einsum("ft,ntcd->nfcd", self.time, patches @ spatial.T)
        x = torch.zeros(count, config.dynamics_channels, length, columns)
        return Latents(out, x, torch.zeros(count, config.dynamics_channels, length, rows))

    def decode_levels(self, latents: Latents, *, only: str | None = None, coarseness: float = 0.0) -> Tensor:
        size = self.config.patch_size
        count, _, rows, columns, _ = latents.structure.shape
        length = self.config.frames
        out = torch.empty(count, length, rows * size, columns * size, 3, dtype=torch.uint8)
        for row in range(rows):
            frames = torch.einsum("ft,nfcd->ntcd", self.time, latents.structure[:, :, row]) @ self.spatial
            band = frames.view(count, length, columns, size, size, 3).transpose(2, 3)
            levels = band.add(1).mul(127.5).round_().clamp_(0, 255)
            out[:, :, row * size : (row + 1) * size] = levels.reshape(count, length, size, columns * size, 3).to(
                torch.uint8
            )
        return out


def loader(config: VidTwinConfig) -> LoadNetwork:
    """What reads this in place of any network."""
    network = NetworkRunner(CosineNetwork(config), select_device("cpu", "float32", "float32"))  # type: ignore[arg-type]
    return lambda entry, options, part: network
