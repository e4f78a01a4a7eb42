"""What training minimises: pixel error, plus the rate of the latents."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vidtwin_codec.model import Latents, VidTwin
from vidtwin_codec.model.vidtwin import Posterior
from vidtwin_codec.training.clips import pixels

_MSE_SCALE = 100.0
_ABSOLUTE_SCALE = 10.0
"""So that the pixel term is about 1 early in training, whichever is chosen, and one kl_weight suits all."""
_CHARBONNIER = 1e-2
"""Below this error the Charbonnier loss turns from absolute to squared."""
_PSNR_FLOOR = 1e-5
"""Clips better than 50 dB stop counting."""


class Losses(NamedTuple):
    """Scalars: what is minimised, and its parts."""

    total: Tensor
    squared_error: Tensor
    """Mean squared error of clips in [-1, 1]."""
    rate: Tensor
    """Kullback-Leibler divergence from a unit Gaussian, nats an element."""


class Objective(nn.Module):
    """A VidTwin with its losses, in one module, so that compiling and gradient exchange see all of it.

    The decoder sees samples of the posterior: mean + sigma · noise. A uniform quantiser of step sigma · sqrt(12),
    one of the two ways base steps are calibrated, adds noise of the same variance.

    Args:
        model: to train.
        kl_weight: of the rate. At 0 the posterior's variances are left as they are: nothing would hold them up.
        noise_scale: what the noise is multiplied by.
    """

    def __init__(self, model: VidTwin, kl_weight: float, noise_scale: float = 1.0) -> None:
        super().__init__()
        self.model, self.kl_weight, self.noise_scale = model, kl_weight, noise_scale

    def forward(self, clips: Tensor, noise: Tensor, loss: str) -> Losses:
        """One batch.

        Args:
            clips: uint8 ``[B, T, H, W, 3]``.
            noise: ``[B, elements]`` of mean 0 and variance 1.
            loss: ``"mse"``, ``"psnr"``, ``"l1"`` or ``"charbonnier"``.
        """
        target = pixels(clips)
        posterior = self.model.posterior(target)
        if not self.kl_weight:
            posterior = Posterior(posterior.mean, Latents(*(part.detach() for part in posterior.log_variance)))
        decoded = self.model.decode(_sample(posterior, self.noise_scale * noise))
        error = decoded.float() - target
        squared = error.square().mean(dim=(1, 2, 3, 4))
        rate = _rate(posterior)
        return Losses(_pixel_loss(error, squared, loss) + self.kl_weight * rate, squared.mean(), rate)


def _sample(posterior: Posterior, noise: Tensor) -> Latents:
    parts = torch.split(noise, [mean[0].numel() for mean in posterior.mean], dim=1)
    return Latents(
        *(
            mean + (0.5 * log_variance).exp() * part.view_as(mean)
            for mean, log_variance, part in zip(posterior.mean, posterior.log_variance, parts, strict=True)
        )
    )


def _rate(posterior: Posterior) -> Tensor:
    total = torch.zeros((), device=posterior.mean.structure.device)
    elements = 0
    for mean, log_variance in zip(posterior.mean, posterior.log_variance, strict=True):
        total = total + 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        elements += mean.numel()
    return total / elements


def _pixel_loss(error: Tensor, squared: Tensor, loss: str) -> Tensor:
    if loss == "psnr":
        return (10 / math.log(10)) * (squared / 4 + _PSNR_FLOOR).log().mean()
    if loss == "l1":
        return _ABSOLUTE_SCALE * error.abs().mean()
    if loss == "charbonnier":
        return _ABSOLUTE_SCALE * ((error.square() + _CHARBONNIER**2).sqrt() - _CHARBONNIER).mean()
    return _MSE_SCALE * squared.mean()
