"""A small diffusion transformer on the latents of clips: a rectified flow.

    latents -> tokens -> [time-modulated attention and MLP] x depth -> tokens -> clean latents

One clip gives h * w tokens of structure (a place with all query slots) and T tokens of each dynamics (a frame with all
positions): 49 + 16 + 16 for the released layout.

The network says where the data lie, and the velocity follows from that: a token is 128 numbers of noise, which a narrow
network would otherwise have to carry through all its layers. On a few clips it learns several times faster so.

Sources: X. Liu et al., "Flow Straight and Fast", arXiv:2209.03003, for rectified flow; T. Li and K. He, "Back to
Basics: Let Denoising Generative Models Denoise", arXiv:2511.13720, for predicting clean data; W. Peebles and S. Xie,
"Scalable Diffusion Models with Transformers", arXiv:2212.09748, for blocks whose norms are modulated by time and begin
as the identity.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from vidtwin_codec.coding import LatentLayout
from vidtwin_codec.model import Latents


class FlowTransformer(nn.Module):
    """Clean latents ``[B, clips, ...]`` from those on their way from noise (time 0) to data (time 1).

    Works on normalised latents; the statistics are buffers, so they are kept with the weights.

    Args:
        layout: shapes of one clip's latents.
        clips: clips that are generated together.
        width, depth, heads: of the transformer.
    """

    def __init__(self, layout: LatentLayout, clips: int = 1, width: int = 128, depth: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.layout, self.clips = layout, clips
        self.config = {"layout": layout.to_json(), "clips": clips, "width": width, "depth": depth, "heads": heads}
        slots, rows, columns, channels = layout.structure
        depth_d, frames, across = layout.dynamics_x
        self.counts = (rows * columns, frames, frames)
        sizes = (slots * channels, depth_d * across, depth_d * layout.dynamics_y[2])
        self.embed = nn.ModuleList(nn.Linear(size, width) for size in sizes)
        self.positions = nn.Parameter(0.02 * torch.randn(clips * sum(self.counts), width))
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.heads = nn.ModuleList(nn.Linear(width, size) for size in sizes)
        for head in self.heads:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        shapes = ((slots, 1, 1, channels), (depth_d, 1, 1), (depth_d, 1, 1))
        for name, shape in zip(Latents._fields, shapes, strict=True):
            self.register_buffer(f"{name}_mean", torch.zeros(shape))
            self.register_buffer(f"{name}_std", torch.ones(shape))

    def forward(self, latents: Latents, time: Tensor) -> Latents:
        """What normalised latents at times ``[B]`` from 0 to 1 will be at time 1, on average."""
        tokens = torch.cat([embed(part) for embed, part in zip(self.embed, self._split(latents), strict=True)], dim=2)
        tokens = tokens.flatten(1, 2) + self.positions
        condition = functional.silu(self.time(_waves(time, tokens.shape[-1])))
        for block in self.blocks:
            tokens = block(tokens, condition)
        parts = self.norm(tokens).unflatten(1, (self.clips, -1)).split(self.counts, dim=2)
        return self._join([head(part) for head, part in zip(self.heads, parts, strict=True)])

    def normalized(self, latents: Latents) -> Latents:
        """Zero mean and unit variance in each channel."""
        return Latents(*((part - self._mean(name)) / self._std(name) for name, part in latents._asdict().items()))

    def restored(self, latents: Latents) -> Latents:
        """Inverse of `normalized`."""
        return Latents(*(part * self._std(name) + self._mean(name) for name, part in latents._asdict().items()))

    @torch.inference_mode()
    def sample(self, count: int, steps: int = 50, generator: torch.Generator | None = None) -> Latents:
        """Latents ``[count, clips, ...]`` as the codec takes them, by Euler's method from noise to data."""
        device = self.positions.device
        latents = Latents(
            *(torch.randn(count, self.clips, *shape, generator=generator).to(device) for shape in self.layout.shapes())
        )
        for step in range(steps):
            clean = self(latents, torch.full((count,), step / steps, device=device))
            # one step of what is left at the velocity that leads there; the last one arrives
            left = steps - step
            latents = Latents(*(part + (goal - part) / left for part, goal in zip(latents, clean, strict=True)))
        return self.restored(latents)

    def save(self, path: Path, about: dict[str, str]) -> None:
        """Weights, statistics and configuration; ``about`` is further metadata."""
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, path, {"config": json.dumps(self.config), **about})

    @classmethod
    def load(cls, path: Path) -> tuple[FlowTransformer, dict[str, str]]:
        """What `save` wrote, and its metadata."""
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            config = json.loads(about["config"])
            model = cls(LatentLayout.from_json(config.pop("layout")), **config)
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        return model.eval(), about

    def _split(self, latents: Latents) -> tuple[Tensor, Tensor, Tensor]:
        """Each part as ``[B, clips, tokens, numbers]``."""
        return (
            latents.structure.permute(0, 1, 3, 4, 2, 5).flatten(4, 5).flatten(2, 3),
            latents.dynamics_x.transpose(2, 3).flatten(3, 4),
            latents.dynamics_y.transpose(2, 3).flatten(3, 4),
        )

    def _join(self, parts: list[Tensor]) -> Latents:
        """Inverse of `_split`."""
        slots, rows, columns, channels = self.layout.structure
        structure = parts[0].unflatten(2, (rows, columns)).unflatten(4, (slots, channels)).permute(0, 1, 4, 2, 3, 5)
        x, y = (part.unflatten(3, (self.layout.dynamics_x[0], -1)).transpose(2, 3) for part in parts[1:])
        return Latents(structure, x, y)

    def _mean(self, name: str) -> Tensor:
        return self.get_buffer(f"{name}_mean")

    def _std(self, name: str) -> Tensor:
        return self.get_buffer(f"{name}_std")


class Block(nn.Module):
    """Attention and MLP; shift, scale and gate of both come from the time, and the gates begin closed."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.count = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, dim=-1)
        qkv = self.qkv(self.norms[0](tokens) * (1 + scale1) + shift1)
        query, key, value = qkv.unflatten(-1, (3, self.count, -1)).permute(2, 0, 3, 1, 4)
        attended: Any = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + gate1 * self.out(attended.transpose(1, 2).flatten(2))
        return tokens + gate2 * self.mlp(self.norms[1](tokens) * (1 + scale2) + shift2)


def _waves(time: Tensor, width: int) -> Tensor:
    """Sines and cosines of ``[B]`` times at falling frequencies: ``[B, width]``."""
    frequencies = torch.exp(-math.log(10000) * torch.arange(width // 2, device=time.device) / (width // 2))
    angles = 1000 * time[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
