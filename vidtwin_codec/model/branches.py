"""The two branches between the transformers: tokens to latents and back.

Structure keeps a few slots per position instead of T frames; dynamics keeps every frame but only one
row and one column of positions. Token maps are ``[B, T, h, w, D]``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidtwin_codec.model.config import VidTwinConfig
from vidtwin_codec.model.qformer import QFormer


def _conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1)


class StructureEncoder(nn.Module):
    """Token map → mean and log-variance of the structure, ``[B, n_q, h_S, w_S, 2·d_S]``."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        first, blocks = config.structure_width, config.structure_blocks
        self.qformer = QFormer(config.qformer, config.encoder.hidden_size)
        self.input = _conv(config.qformer.hidden_size, first)
        self.downsample = nn.ModuleList(_conv(first << i, first << (i + 1), stride=2) for i in range(blocks))
        self.head = _conv(first << blocks, 2 * config.structure_channels)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, frames, rows, columns, width = tokens.shape
        sequences = tokens.permute(0, 2, 3, 1, 4).reshape(batch * rows * columns, frames, width)
        slots = self.qformer(sequences)
        number = slots.shape[1]
        images = slots.view(batch, rows, columns, number, -1).permute(0, 3, 4, 1, 2)
        x = self.input(images.reshape(batch * number, -1, rows, columns))
        for conv in self.downsample:
            x = functional.relu(conv(x))
        out: Tensor = self.head(x)
        return out.view(batch, number, *out.shape[1:]).permute(0, 1, 3, 4, 2)


class StructureDecoder(nn.Module):
    """Structure latents ``[B, n_q, h_S, w_S, d_S]`` → token map."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        first, blocks = config.structure_width, config.structure_blocks
        self.grid = config.grid
        self.input = _conv(config.structure_channels, first << blocks)
        self.upsample = nn.ModuleList(_conv(first << i, first << (i - 1)) for i in range(blocks, 0, -1))
        self.output = _conv(first, config.qformer.hidden_size)
        self.widen = nn.Linear(config.qformer.hidden_size, config.decoder.hidden_size)
        # upstream: a Conv1d of kernel 1 over the token axis, which is this linear map
        self.slots_to_frames = nn.Linear(config.qformer.num_queries, config.frames)

    def forward(self, structure: Tensor) -> Tensor:
        batch, number = structure.shape[:2]
        rows, columns = self.grid
        x = functional.relu(self.input(structure.permute(0, 1, 4, 2, 3).flatten(0, 1)))
        for conv in self.upsample:
            x = functional.interpolate(functional.relu(conv(x)), scale_factor=2, mode="nearest")
        x = self.output(x)
        top, left = (x.shape[2] - rows) // 2, (x.shape[3] - columns) // 2
        x = x[:, :, top : top + rows, left : left + columns]
        slots = functional.relu(self.widen(x.permute(0, 2, 3, 1))).reshape(batch, number, -1)
        frames = torch.matmul(self.slots_to_frames.weight, slots) + self.slots_to_frames.bias[:, None]
        return functional.relu(frames).view(batch, -1, rows, columns, self.widen.out_features)


class DynamicsEncoder(nn.Module):
    """Token map → mean and log-variance of dynamics x ``[B, 2·d_D, T, w_D]`` and y ``[B, 2·d_D, T, h_D]``."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        width = config.encoder.hidden_size
        self.downsample = nn.ModuleList(_conv(width, width, stride=2) for _ in range(config.dynamics_blocks))
        self.head = _conv(width, 2 * config.dynamics_channels)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        batch, frames = tokens.shape[:2]
        x = tokens.flatten(0, 1).permute(0, 3, 1, 2)
        for conv in self.downsample:
            x = functional.relu(conv(x))
        x = x.view(batch, frames, *x.shape[1:]).transpose(1, 2)
        return self.head(x.mean(dim=3)), self.head(x.mean(dim=4))


class DynamicsDecoder(nn.Module):
    """Dynamics x and y → two token maps, ``[B, T, 1, w, D]`` and ``[B, T, h, 1, D]``, to broadcast and add."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        width = config.decoder.hidden_size
        self.first = nn.Linear(config.dynamics_channels, width)
        self.second = nn.Linear(width, width)
        self.upsample: nn.ModuleList | None = None
        if config.dynamics_blocks:
            # one map serves rows and columns, which is why upstream's grids are square
            small, full = config.dynamics_grid[1], config.grid[1]
            self.upsample = nn.ModuleList([nn.Linear(small, full), nn.Linear(full, full)])

    def _widen(self, dynamics: Tensor) -> Tensor:
        x = functional.relu(self.first(dynamics.permute(0, 2, 3, 1)))
        x = functional.relu(self.second(x))
        if self.upsample is not None:
            x = x.transpose(2, 3)
            for linear in self.upsample:
                x = functional.relu(linear(x))
            x = x.transpose(2, 3)
        return x

    def forward(self, dynamics_x: Tensor, dynamics_y: Tensor) -> tuple[Tensor, Tensor]:
        return self._widen(dynamics_x)[:, :, None], self._widen(dynamics_y)[:, :, :, None]
