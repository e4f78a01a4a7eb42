"""How many bits quantised latents would take: a model of their sizes that learns beside the network.

A latent over its quantisation step, with uniform noise of that step in place of rounding, has a logistic density whose
scale is a learned one of its channel plus shares of the sizes of what is coded before it: the place to the left and the
one above, the slot before, and lower frequencies, or these places' other channels where channels are no frequencies. So
the estimate falls where a coder's contexts would help. Sources: J. Balle, V. Laparra and E. Simoncelli, "End-to-end
optimized image compression", ICLR 2017 (noise for rounding); D. Minnen, J. Balle and G. Toderici, "Joint autoregressive
and hierarchical priors for learned image compression", NeurIPS 2018 (contexts).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vidtwin_codec.model import Latents, VidTwinConfig

_LEAST_SCALE = 0.02
_SHARE = -3.0
"""Of what the shares begin at, before softplus: 0.05."""
_DEAD_ZONE = 0.33
"""Rounding adds so much in place of a half where latents are nearly all zero, as a coder's choice of symbols does."""
WIDTH_OF_NOISE = math.sqrt(12)
"""Width of uniform noise over its standard deviation."""


class _Part(nn.Module):
    """Steps and densities of one of the three latents.

    Args:
        channels: shape that broadcasts to the latent, of one number a channel (and slot).
        contexts: how many sizes the scale has a share of.
        log_step: to begin with, of the shape ``channels``.
    """

    def __init__(self, channels: tuple[int, ...], contexts: int, log_step: Tensor) -> None:
        super().__init__()
        self.log_step = nn.Parameter(log_step.reshape(channels).clone())
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.share = nn.Parameter(torch.full((contexts, *channels), _SHARE))

    def nats(self, values: Tensor, contexts: list[Tensor]) -> Tensor:
        """Minus the logarithm of the probability of each value's interval of width 1."""
        scale = self.log_scale.exp()
        for share, size in zip(functional.softplus(self.share), contexts, strict=True):
            scale = scale + share * size
        scale = scale.clamp_min(_LEAST_SCALE)
        away = values.abs()
        upper, lower = (0.5 - away) / scale, (-0.5 - away) / scale
        # sigmoid(upper) - sigmoid(lower), without a difference of nearly equal numbers
        return -(functional.logsigmoid(upper) + functional.logsigmoid(-lower) + torch.log(-torch.expm1(lower - upper)))


class RateModel(nn.Module):
    """Estimated rate of latents, and the quantisation steps it is of.

    Args:
        config: of the network.
        steps: to begin with, structure ``[n_q, d_S]``, dynamics x ``[d_D]`` and y ``[d_D]``. They learn, except where
            channels are patterns: there latents keep their scale, and steps their meaning for a quality.
    """

    lower: Tensor

    def __init__(self, config: VidTwinConfig, steps: Iterable[Tensor]) -> None:
        super().__init__()
        self.sparse = config.patterns is not None
        slots, dynamics = config.qformer.num_queries, config.dynamics_channels
        structure, x, y = (step.double().log().float() for step in steps)
        self.structure = _Part((slots, 1, 1, config.structure_channels), 3, structure)
        self.dynamics_x = _Part((dynamics, 1, 1), 2, x)
        self.dynamics_y = _Part((dynamics, 1, 1), 2, y)
        # channel of the next lower frequency along rows and along columns; a last one more is zero
        lower = _lower(config) if self.sparse else torch.zeros(2, 0, dtype=torch.long)
        self.register_buffer("lower", lower, persistent=False)
        for part in self._parts:
            part.log_step.requires_grad_(not self.sparse)

    @property
    def _parts(self) -> tuple[_Part, _Part, _Part]:
        return self.structure, self.dynamics_x, self.dynamics_y

    def steps(self) -> Latents:
        """Steps in shapes that broadcast to the latents."""
        return Latents(*(part.log_step.exp() for part in self._parts))

    @torch.no_grad()
    def channel_steps(self, factor: float) -> tuple[NDArray[np.float64], ...]:
        """``factor`` times the steps, a number a channel: structure ``[n_q, d_S]``, dynamics x and y ``[d_D]``."""
        found = [step.squeeze((-2, -3) if step.ndim == 4 else (-1, -2)) for step in self.steps()]
        return tuple(factor * step.double().cpu().numpy() for step in found)

    def forward(self, latents: Latents) -> Tensor:
        """Nats an element.

        Args:
            latents: over their steps, with noise of width 1.
        """
        sizes = [functional.relu(values.abs() - 0.5) for values in latents]  # nothing where a symbol would be 0
        contexts = [self._around(sizes[0]), *([_before(size, 2), _before(size, 3)] for size in sizes[1:])]
        total = sum(
            part.nats(values, sizes).sum() for part, values, sizes in zip(self._parts, latents, contexts, strict=True)
        )
        assert isinstance(total, Tensor)
        return total / sum(values.numel() for values in latents)

    def _around(self, sizes: Tensor) -> list[Tensor]:
        """Sizes of structure ``[B, n_q, h, w, d_S]`` that a coder would know before each element."""
        beside = (_before(sizes, 2) + _before(sizes, 3)) / 2
        earlier = _before(sizes, 1)
        if not self.sparse:
            return [beside, earlier, (beside + earlier).mean(dim=-1, keepdim=True)]
        more = functional.pad(sizes, (0, 1))
        return [beside, earlier, (more[..., self.lower[0]] + more[..., self.lower[1]]) / 2]

    @torch.no_grad()
    def begin(self, means: Latents) -> None:
        """Take the scales from some latents of the network."""
        for part, values, step in zip(self._parts, means, self.steps(), strict=True):
            sizes = (values / step).abs().mean(dim=(0, 2, 3), keepdim=True)[0]
            part.log_scale.copy_((sizes.view_as(part.log_scale) / 2).clamp_min(_LEAST_SCALE).log())

    def rounded(self, latents: Latents, factor: Tensor | float = 1.0) -> Latents:
        """What a decoder would get, ``factor`` times the steps apart; its gradient is that of the latents.

        Args:
            latents: of the network.
            factor: on the steps; a number, or ``[B, 1, 1, 1]``.
        """
        offset = _DEAD_ZONE if self.sparse else 0.5
        found = []
        for values, step in zip(latents, self.steps(), strict=True):
            wide = _fitted(factor, values) * step
            symbols = (values.abs() / wide + offset).floor() * values.sign()
            found.append(values + (symbols * wide - values).detach())
        return Latents(*found)

    def noisy(self, latents: Latents, noise: Tensor, factor: Tensor | float = 1.0) -> tuple[Latents, Latents]:
        """Latents over their steps with noise, and the same in the latents' own measure.

        Args:
            latents: of the network.
            noise: uniform ``[B, elements]`` of variance 1.
            factor: as for :meth:`rounded`.
        """
        parts = torch.split(noise / WIDTH_OF_NOISE, [values[0].numel() for values in latents], dim=1)
        ratios, restored = [], []
        for values, step, part in zip(latents, self.steps(), parts, strict=True):
            wide = _fitted(factor, values) * step
            ratio = values / wide + part.view_as(values)
            ratios.append(ratio)
            restored.append(ratio * wide)
        return Latents(*ratios), Latents(*restored)


def _before(values: Tensor, dim: int) -> Tensor:
    """What lies one place earlier along an axis; 0 at the first."""
    kept = values.narrow(dim, 0, values.shape[dim] - 1)
    return torch.cat([torch.zeros_like(values.narrow(dim, 0, 1)), kept], dim)


def _fitted(factor: Tensor | float, values: Tensor) -> Tensor | float:
    if isinstance(factor, float):
        return factor
    return factor.view(-1, *[1] * (values.ndim - 1))


def _lower(config: VidTwinConfig) -> Tensor:
    assert config.patterns is not None
    # only where it is needed: coding wants zstandard, which a bare accelerator machine does not have
    from vidtwin_codec.coding.patterns import Patterns

    frequencies = Patterns(config.patch_size, config.patterns).frequencies.tolist()
    places = {tuple(frequency): number for number, frequency in enumerate(frequencies)}
    none = len(frequencies)
    rows = [places.get((colour, row - 1, column), none) for colour, row, column in frequencies]
    columns = [places.get((colour, row, column - 1), none) for colour, row, column in frequencies]
    return torch.tensor([rows, columns], device="cpu")
