"""The spatio-temporal transformer that encoder and decoder share.

Tokens are ``[B, T, S, D]``: B clips, T frames, S patches of a frame (row-major), D channels.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from vidtwin_codec.model.config import TransformerConfig
from vidtwin_codec.model.idle import is_shut, is_zero
from vidtwin_codec.model.layers import COLOURS, Linear, attend, flat_linear
from vidtwin_codec.model.separable import SeparableMap

LAYER_NORM_EPS = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention over the middle axis of ``[N, L, D]``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.projection = Linear(width, width)

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        out = attend(query, key, value, causal=causal)
        projected: Tensor = self.projection(out.transpose(1, 2).reshape(batch, length, width))
        return projected


class Mlp(nn.Module):
    """A feed-forward network D → 4D → D with the tanh form of GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = Linear(width, 4 * width)
        self.contract = Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.contract(functional.gelu(self.expand(x), approximate="tanh"))
        return out


def random_table(rows: int, width: int, deviation: float) -> nn.Parameter:
    """Return a parameter of normally distributed numbers, or of none on the meta device."""
    table = nn.Parameter(torch.empty(rows, width))
    if not table.is_meta:  # where this would make torch import its Python kernels, for a second
        nn.init.normal_(table, std=deviation)
    return table


class Block(nn.Module):
    """A block of spatial attention, temporal attention and MLP, each added through a learned gate.

    ``modulation`` ``[6, D]`` holds shift, scale and gate of the attentions, then of the MLP. The
    temporal attention reads the un-normalised stream and shares the spatial one's gate.

    Attributes:
        attends: False if the attentions are known to add nothing; see ``model/idle.py``.
        mixes: False if the MLP is known to add nothing.
    """

    attends = True
    mixes = True

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.causal = config.causal
        self.spatial_attention = Attention(width, config.num_heads)
        self.temporal_attention = Attention(width, config.num_heads)
        self.mlp = Mlp(width)
        self.modulation = random_table(6, width, width**-0.5)

    def settle(self) -> None:
        """Find out which sub-layers add nothing."""
        gate_a, gate_m = self.modulation[2], self.modulation[5]
        attentions = (self.spatial_attention, self.temporal_attention)
        self.attends = not all(is_shut(gate_a, part.projection) for part in attentions)
        self.mixes = not is_shut(gate_m, self.mlp.contract)

    def forward(self, x: Tensor, temporal_positions: Tensor | None = None) -> Tensor:
        if self.attends:
            x = self._attended(x, temporal_positions)
        if self.mixes:
            shift_m, scale_m, gate_m = self.modulation[3:].unbind(0)
            x = x + gate_m * self.mlp(_modulated_norm(x, shift_m, scale_m))
        return x

    def _attended(self, x: Tensor, temporal_positions: Tensor | None) -> Tensor:
        batch, frames, tokens, width = x.shape
        shift_a, scale_a, gate_a = self.modulation[:3].unbind(0)
        y = _modulated_norm(x, shift_a, scale_a).view(batch * frames, tokens, width)
        x = x + gate_a * self.spatial_attention(y).view(batch, frames, tokens, width)
        y = x.transpose(1, 2).reshape(batch * tokens, frames, width)
        if temporal_positions is not None:
            y = y + temporal_positions
        y = self.temporal_attention(y, causal=self.causal).view(batch, tokens, frames, width)
        out: Tensor = x + gate_a * y.transpose(1, 2)
        return out


class Transformer(nn.Module):
    """A stack of blocks over ``[B, T, S, D]``, with fixed sine-cosine positions.

    Spatial positions join every token at the input, unless there is no grid that they would be of; temporal
    positions only the temporal attention of block 0.

    Attributes:
        recompute: whether training keeps only the input of each block and computes the rest again for the gradient:
            it then takes the memory of one block in place of all, and about a third more time.
    """

    spatial_positions: Tensor | None
    temporal_positions: Tensor

    def __init__(self, config: TransformerConfig, frames: int, grid: tuple[int, int] | None) -> None:
        super().__init__()
        self.recompute = False
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        # fixed by the sizes, so never stored: checkpoints stay exact at 16 bits
        spatial = None if grid is None else spatial_positions(config.hidden_size, *grid)[None]
        self.register_buffer("spatial_positions", spatial, persistent=False)
        self.register_buffer("temporal_positions", sine_cosine(config.hidden_size, frames)[None], persistent=False)

    @property
    def idle(self) -> bool:
        """Whether the transformer is known to be the identity."""
        busy = any(block.attends or block.mixes for block in self.blocks if isinstance(block, Block))
        return self.spatial_positions is None and not busy

    def forward(self, x: Tensor) -> Tensor:
        if self.spatial_positions is not None:
            x = x + self.spatial_positions[:, None]
        for number, block in enumerate(self.blocks):
            positions = self.temporal_positions if number == 0 else None
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, positions, use_reentrant=False)
            else:
                x = block(x, positions)
        return x


def sine_cosine(width: int, count: int) -> Tensor:
    """Return sines, then cosines, of positions 0 … count−1 at 10000^(−i / (width/2)), ``[count, width]``."""
    # on the CPU even when the network is built on the meta device: nothing would fill these in later
    exponents = torch.arange(width // 2, dtype=torch.float64, device="cpu") / (width / 2)
    angles = torch.arange(count, dtype=torch.float64, device="cpu")[:, None] * 10000.0**-exponents
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def spatial_positions(width: int, rows: int, columns: int) -> Tensor:
    """Return codes ``[rows * columns, width]``: the column's in the first half, the row's in the second."""
    column, row = sine_cosine(width // 2, columns), sine_cosine(width // 2, rows)
    codes = [column.expand(rows, columns, -1), row[:, None].expand(rows, columns, -1)]
    return torch.cat(codes, dim=-1).reshape(rows * columns, width)


def autocasts(like: Tensor) -> bool:
    """Return whether products of such tensors are in mixed precision; on the meta device nothing is."""
    return not like.is_meta and torch.is_autocast_enabled(like.device.type)


def in_full(like: Tensor) -> AbstractContextManager[object]:
    """Return a context in which products of such tensors are not in mixed precision."""
    return nullcontext() if like.is_meta else torch.autocast(like.device.type, enabled=False)


class PatchEmbedding(Linear):
    """Maps patches of frames to tokens. Upstream's Conv3d, whose kernel equals its stride, is linear in each patch.

    Attributes:
        flat: the map of a patch of one colour, ``[D, 3]``, once the weights no longer change.
        separable: the same map in parts, once the weights no longer change, where it has any and adds no bias. It is
            always in float32.
    """

    flat: Tensor | None
    separable: SeparableMap | None

    def __init__(self, patch: int, width: int) -> None:
        super().__init__(COLOURS * patch**2, width)
        self.patch = patch
        self.register_buffer("flat", None, persistent=False)
        self.separable = None

    def settle(self) -> None:
        """Compute what follows from the weights alone."""
        self.flat = self._flat().detach()
        self.separable = SeparableMap.of(self.weight, self.patch) if is_zero(self.bias) else None

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames ``[..., H, W, 3]`` to ``[..., S, D]``."""
        if self.separable is not None and not self.training:
            with in_full(frames):
                return self.separable.analyse(frames.float())
        patches = cut_patches(frames, self.patch)
        if self.training or not autocasts(patches):
            return super().forward(patches)
        # bfloat16 rounds in proportion: without a patch's mean colour, numbers are small and so are their errors
        means = patches.reshape(*patches.shape[:-1], -1, COLOURS).mean(dim=-2)
        lines = patches.reshape(*patches.shape[:-1], self.patch, -1) - _as_line(means, self.patch)
        tokens = super().forward(lines.flatten(-2)).float()
        with in_full(patches):
            return tokens.add_(flat_linear(means, self._flat() if self.flat is None else self.flat))

    def _flat(self) -> Tensor:
        return self.weight.view(self.out_features, -1, COLOURS).sum(dim=1)


_PARTS = ("mean_weight", "mean_bias", "rest_weight", "rest_bias")
"""Buffers of an output head whose weights no longer change."""


class OutputHead(nn.Module):
    """The decoder's last layer: modulated norm (or none), then one linear map from a token to its patch.

    Attributes:
        separable: that map in parts, once the weights no longer change, where it has any and adds no bias. Always in
            float32.
    """

    separable: SeparableMap | None

    def __init__(self, width: int, patch: int, *, norm: bool = True) -> None:
        super().__init__()
        self.patch = patch
        self.modulation = random_table(2, width, width**-0.5) if norm else None
        self.linear = Linear(width, patch * patch * 3)
        for name in _PARTS:
            self.register_buffer(name, None, persistent=False)
        self.separable = None

    def settle(self) -> None:
        """Compute what follows from the weights alone."""
        for name, part in zip(_PARTS, self._parts(), strict=True):
            setattr(self, name, part.detach())
        self.separable = SeparableMap.of(self.linear.weight.T, self.patch) if is_zero(self.linear.bias) else None

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map tokens ``[..., S, D]`` to float32 frames ``[..., H, W, 3]`` of these rows and columns of patches."""
        if self.modulation is not None:
            shift, scale = self.modulation.unbind(0)
            x = _modulated_norm(x, shift, scale)
        if self.separable is not None and not self.training:
            with in_full(x):
                return self.separable.synthesise(x.float(), grid)
        return join_patches(self._patches(x).float(), self.patch, grid)

    def _patches(self, x: Tensor) -> Tensor:
        if self.training or not autocasts(x):
            out: Tensor = self.linear(x)
            return out
        # as in PatchEmbedding: the mean colour in float32, the rest, which is small, in bfloat16
        known = [getattr(self, name) for name in _PARTS]
        mean_weight, mean_bias, weight, bias = self._parts() if known[0] is None else known
        rest = flat_linear(x, weight, bias).float()
        with in_full(x):
            means = flat_linear(x.float(), mean_weight, mean_bias)
        return rest.view(*x.shape[:-1], self.patch, -1).add_(_as_line(means, self.patch)).flatten(-2)

    def _parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return weight and bias of a patch's mean colour, then those of what a patch has beside it."""
        weight = self.linear.weight.view(-1, COLOURS, self.linear.in_features)
        bias = self.linear.bias.view(-1, COLOURS)
        mean_weight, mean_bias = weight.mean(dim=0), bias.mean(dim=0)
        return mean_weight, mean_bias, (weight - mean_weight).flatten(0, 1), (bias - mean_bias).flatten()


def _as_line(colours: Tensor, patch: int) -> Tensor:
    """Repeat colours ``[..., 3]`` over a line of pixels, ``[..., 1, p·3]``; sums of three numbers take longer."""
    return colours.repeat(*[1] * (colours.dim() - 1), patch)[..., None, :]


# Both keep a patch's colours fastest, so that whole rows of a patch are copied.
def cut_patches(frames: Tensor, patch: int) -> Tensor:
    """Cut ``[..., H, W, 3]`` into ``[..., S, p·p·3]``."""
    *others, height, width, _ = frames.shape
    rows, columns = height // patch, width // patch
    cut = frames.reshape(*others, rows, patch, columns, patch, COLOURS).transpose(-4, -3)
    return cut.reshape(*others, rows * columns, patch * patch * COLOURS)


def join_patches(patches: Tensor, patch: int, grid: tuple[int, int]) -> Tensor:
    """Join ``[..., S, p·p·3]`` to ``[..., H, W, 3]`` of these rows and columns of patches."""
    rows, columns = grid
    cut = patches.view(*patches.shape[:-2], rows, columns, patch, patch, COLOURS).transpose(-4, -3)
    return cut.reshape(*patches.shape[:-2], rows * patch, columns * patch, COLOURS)


def _modulated_norm(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Apply LayerNorm, then ``· (1 + scale) + shift``, which together are an affine LayerNorm."""
    return functional.layer_norm(x, x.shape[-1:], 1 + scale, shift, LAYER_NORM_EPS)
