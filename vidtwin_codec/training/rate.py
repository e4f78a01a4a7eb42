"""The rate model estimates the bits of quantised latents, and learns beside the network.

A latent over its quantisation step, with uniform noise of that step in place of rounding, has a logistic density. Its
scale is a learned number of the channel, plus learned shares of the sizes of latents that are coded before: at the left
and above, in the slot before, and at lower frequencies (or in other channels of these places, if channels are not
frequencies). So the estimate is lower where a coder's contexts help. Sources: J. Balle, V. Laparra and E. Simoncelli,
"End-to-end optimized image compression", ICLR 2017 (noise for rounding); D. Minnen, J. Balle and G. Toderici, "Joint
autoregressive and hierarchical priors for learned image compression", NeurIPS 2018 (contexts).
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
"""Initial value of the shares before softplus, whose value there is 0.05."""
_DEAD_ZONE = 0.33
"""Offset of rounding in place of 0.5 where latents are nearly all zero, to imitate a coder's choice of symbols."""
WIDTH_OF_NOISE = math.sqrt(12)
"""Width of uniform noise over its standard deviation."""


class _Part(nn.Module):
    """Steps and densities of one of the three latents.

    Args:
        channels: shape of one number a channel (and slot), which broadcasts to the latent.
        contexts: number of context sizes that the scale depends on.
        log_step: initial logarithms of the steps, of the shape ``channels``.
    """

    def __init__(self, channels: tuple[int, ...], contexts: int, log_step: Tensor) -> None:
        super().__init__()
        self.log_step = nn.Parameter(log_step.reshape(channels).clone())
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.share = nn.Parameter(torch.full((contexts, *channels), _SHARE))

    def nats(self, values: Tensor, contexts: list[Tensor]) -> Tensor:
        """Compute the negative logarithm of the probability of each value's interval of width 1."""
        scale = self.log_scale.exp()
        for share, size in zip(functional.softplus(self.share), contexts, strict=True):
            scale = scale + share * size
        scale = scale.clamp_min(_LEAST_SCALE)
        away = values.abs()
        upper, lower = (0.5 - away) / scale, (-0.5 - away) / scale
        # sigmoid(upper) - sigmoid(lower), without a difference of nearly equal numbers
        return -(functional.logsigmoid(upper) + functional.logsigmoid(-lower) + torch.log(-torch.expm1(lower - upper)))


class RateModel(nn.Module):
    """A model of the rate of latents, with the quantisation steps that the rate refers to.

    Args:
        config: configuration of the network.
        steps: initial steps, structure ``[n_q, d_S]``, dynamics x ``[d_D]`` and y ``[d_D]``. They learn, unless
            channels are patterns, whose latents keep their scale and whose steps are tied to qualities.
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
        # channel of the next lower frequency along rows and along columns; one past the last channel stands for none
        lower = _lower(config) if self.sparse else torch.zeros(2, 0, dtype=torch.long)
        self.register_buffer("lower", lower, persistent=False)
        for part in self._parts:
            part.log_step.requires_grad_(not self.sparse)

    @property
    def _parts(self) -> tuple[_Part, _Part, _Part]:
        return self.structure, self.dynamics_x, self.dynamics_y

    def steps(self) -> Latents:
        """Return the steps, in shapes that broadcast to the latents."""
        return Latents(*(part.log_step.exp() for part in self._parts))

    @torch.no_grad()
    def channel_steps(self, factor: float) -> tuple[NDArray[np.float64], ...]:
        """Return ``factor`` times the steps by channel: structure ``[n_q, d_S]``, dynamics x and y ``[d_D]``."""
        found = [step.squeeze((-2, -3) if step.ndim == 4 else (-1, -2)) for step in self.steps()]
        return tuple(factor * step.double().cpu().numpy() for step in found)

    def forward(self, latents: Latents) -> Tensor:
        """Estimate the rate in nats an element.

        Args:
            latents: latents over their steps, with noise of width 1.
        """
        sizes = [functional.relu(values.abs() - 0.5) for values in latents]  # 0 where a symbol would be 0
        contexts = [self._around(sizes[0]), *([_before(size, 2), _before(size, 3)] for size in sizes[1:])]
        total = sum(
            part.nats(values, sizes).sum() for part, values, sizes in zip(self._parts, latents, contexts, strict=True)
        )
        assert isinstance(total, Tensor)
        return total / sum(values.numel() for values in latents)

    def _around(self, sizes: Tensor) -> list[Tensor]:
        """Compute the sizes of structure latents ``[B, n_q, h, w, d_S]`` that a coder knows before each element."""
        beside = (_before(sizes, 2) + _before(sizes, 3)) / 2
        earlier = _before(sizes, 1)
        if not self.sparse:
            return [beside, earlier, (beside + earlier).mean(dim=-1, keepdim=True)]
        more = functional.pad(sizes, (0, 1))
        return [beside, earlier, (more[..., self.lower[0]] + more[..., self.lower[1]]) / 2]

    @torch.no_grad()
    def begin(self, means: Latents) -> None:
        """Initialize the scales from some latents of the network."""
        for part, values, step in zip(self._parts, means, self.steps(), strict=True):
            sizes = (values / step).abs().mean(dim=(0, 2, 3), keepdim=True)[0]
            part.log_scale.copy_((sizes.view_as(part.log_scale) / 2).clamp_min(_LEAST_SCALE).log())

    def rounded(self, latents: Latents, factor: Tensor | float = 1.0) -> Latents:
        """Round latents to multiples of ``factor`` times the steps; the gradient passes straight through.

        Args:
            latents: latents of the network.
            factor: factor on the steps, a number or ``[B, 1, 1, 1]``.
        """
        offset = _DEAD_ZONE if self.sparse else 0.5

        def rounded(values: Tensor, step: Tensor) -> Tensor:
            wide = _fitted(factor, values) * step
            symbols = (values.abs() / wide + offset).floor() * values.sign()
            return values + (symbols * wide - values).detach()

        return latents.map(rounded, self.steps())

    def noisy(self, latents: Latents, noise: Tensor, factor: Tensor | float = 1.0) -> tuple[Latents, Latents]:
        """Add noise to latents.

        Args:
            latents: latents of the network.
            noise: uniform noise of variance 1, ``[B, elements]``.
            factor: factor on the steps, as for :meth:`rounded`.

        Returns:
            The noisy latents over their steps, and in their own unit.
        """
        parts = torch.split(noise / WIDTH_OF_NOISE, [values[0].numel() for values in latents], dim=1)
        wide = latents.map(lambda values, step: _fitted(factor, values) * step, self.steps())
        ratios = latents.map(lambda values, each, part: values / each + part.view_as(values), wide, parts)
        return ratios, ratios.map(torch.mul, wide)


def _before(values: Tensor, dim: int) -> Tensor:
    """Shift values by one place along an axis, with 0 at the first place."""
    kept = values.narrow(dim, 0, values.shape[dim] - 1)
    return torch.cat([torch.zeros_like(values.narrow(dim, 0, 1)), kept], dim)


def _fitted(factor: Tensor | float, values: Tensor) -> Tensor | float:
    if isinstance(factor, float):
        return factor
    return factor.view(-1, *[1] * (values.ndim - 1))


def _lower(config: VidTwinConfig) -> Tensor:
    assert config.patterns is not None
    # imported only here, because coding needs zstandard, which a machine for training may not have
    from vidtwin_codec.coding.patterns import Patterns

    frequencies = Patterns(config.patch_size, config.patterns).frequencies.tolist()
    places = {tuple(frequency): number for number, frequency in enumerate(frequencies)}
    none = len(frequencies)
    rows = [places.get((colour, row - 1, column), none) for colour, row, column in frequencies]
    columns = [places.get((colour, row, column - 1), none) for colour, row, column in frequencies]
    return torch.tensor([rows, columns], device="cpu")
