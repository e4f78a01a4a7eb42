"""The objective of training: pixel loss plus the rate of the latents."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vidtwin_codec.model import Latents, VidTwin, postfilter
from vidtwin_codec.model.levels import pixels_from_levels
from vidtwin_codec.model.vidtwin import Posterior
from vidtwin_codec.training.clips import pixels
from vidtwin_codec.training.rate import RateModel
from vidtwin_codec.training.remembered import Remembered, brings_crops
from vidtwin_codec.training.similarity import similarity_loss

_MSE_SCALE = 100.0
_ABSOLUTE_SCALE = 10.0
"""Factors that make any pixel loss about 1 early in training, so that one kl_weight suits all."""
_CHARBONNIER = 1e-2
"""Error below which the Charbonnier loss turns from absolute to squared."""
_FRAMES_APART = 5
"""Step between the frames that a post-filter learns from: neighbours look alike, and other clips teach it more."""
_PSNR_FLOOR = 1e-5
"""Squared error below which clips (above 50 dB) hardly count any more."""
Quantised = Callable[[Latents, Tensor | float], Latents]
"""A function that quantises latents, with a factor on the steps, and lets the gradient through."""


class Losses(NamedTuple):
    """The objective and its parts, as scalars.

    Attributes:
        total: what is minimised.
        squared_error: mean squared error of clips in [-1, 1].
        rate: nats an element, from the Kullback-Leibler divergence from a unit Gaussian or estimated for quantised
            latents; NaN if the encoder does not learn and the rate is not estimated.
    """

    total: Tensor
    squared_error: Tensor
    rate: Tensor


class Objective(nn.Module):
    """A VidTwin and its losses in one module, so that processes exchange the gradients of all of it.

    Without a rate model the decoder sees samples of the posterior: mean + sigma · noise. A uniform quantiser of step
    sigma · sqrt(12), one of the two kinds of calibrated base steps, adds noise of the same variance. With a rate model
    the decoder sees means with uniform noise as wide as the model's steps, or means that are quantised with them.

    Args:
        model: the network to train.
        kl_weight: weight of the rate. At 0 the posterior's variances are not trained, because nothing would keep them
            from vanishing.
        noise_scale: factor on the noise, or on the steps.
        rate: estimates the rate of quantised latents; None takes the posterior's divergence.
        quantised: maps means and a factor on the steps for each clip to what the decoder sees in place of noise (with a
            rate model); None for noise.
        ssim_weight: weight of structural similarity beside the pixel loss.
        seed: seed of the crops that a post-filter learns from.

    Attributes:
        remembered: what a post-filter learns from, if nothing else learns.
    """

    def __init__(
        self,
        model: VidTwin,
        kl_weight: float,
        noise_scale: float = 1.0,
        *,
        rate: RateModel | None = None,
        quantised: Quantised | None = None,
        ssim_weight: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.kl_weight, self.noise_scale = model, kl_weight, noise_scale
        self.rate, self.quantised, self.ssim_weight = rate, quantised, ssim_weight
        # the rate of a frozen encoder's latents cannot change
        self.counts = rate is None or any(parameter.requires_grad for parameter in _encoder(model).parameters())
        if rate is not None and not self.counts:
            rate.requires_grad_(False)
        learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        filtering = bool(learning) and all(name.startswith(postfilter.PREFIX) for name in learning)
        self.remembered = Remembered(seed) if filtering and quantised is not None else None

    def forward(self, clips: Tensor, noise: Tensor, loss: str, scale: Tensor | None = None) -> Losses:
        """Compute the losses of one batch.

        Args:
            clips: uint8 ``[B, T, H, W, 3]``.
            noise: noise of mean 0 and variance 1, ``[B, elements]``; uniform for a rate model.
            loss: ``"mse"``, ``"psnr"``, ``"l1"`` or ``"charbonnier"``.
            scale: factor on the noise of each clip, ``[B]``; None for 1.
        """
        factor = self.noise_scale * (torch.ones_like(noise[:, 0]) if scale is None else scale)
        if self.remembered is not None:
            return self._filtered(clips, factor, loss)
        target = pixels(clips)
        posterior = self.model.posterior(target)
        look = self._sampled if self.rate is None else self._coded
        seen, rate = look(posterior, noise, factor)
        shown = self.model.decode(seen, coarseness=factor).float()
        total, squared = self._distortion(shown.permute(0, 2, 3, 4, 1), target.permute(0, 2, 3, 4, 1), loss)
        return Losses(total + self.kl_weight * rate if self.counts else total, squared, rate)

    def _filtered(self, clips: Tensor, factor: Tensor, loss: str) -> Losses:
        """Compute the losses of a post-filter on crops of some of the last batches."""
        decoder = self.model.decoder
        assert self.remembered is not None
        assert decoder is not None
        assert decoder.postfilter is not None
        if brings_crops(self.remembered.step):
            self.remember(clips, factor)
        crops = self.remembered.draw()
        shown = decoder.postfilter(crops.decoded, crops.coarseness)
        total, squared = self._distortion(shown, pixels_from_levels(crops.source), loss)
        return Losses(total, squared, torch.full((), math.nan, device=clips.device))

    def _distortion(self, shown: Tensor, wanted: Tensor, loss: str) -> tuple[Tensor, Tensor]:
        """Compute what distances of clips or frames ``[B, ..., H, W, 3]`` cost, and their mean squared error."""
        error = shown - wanted
        squared = error.square().mean(dim=tuple(range(1, error.ndim)))
        total = _pixel_loss(error, squared, loss)
        if self.ssim_weight:
            total = total + self.ssim_weight * similarity_loss(shown.flatten(0, -4), wanted.flatten(0, -4))
        return total, squared.mean()

    @torch.no_grad()
    def remember(self, clips: Tensor, factor: Tensor) -> None:
        """Keep what a post-filter gets of these clips, whose steps have these factors ``[B]``."""
        decoder = self.model.decoder
        assert self.remembered is not None
        assert self.quantised is not None
        assert decoder is not None
        assert decoder.postfilter is not None
        decoded = decoder.unfiltered(self.quantised(self.model.encode_levels(clips), factor), every=_FRAMES_APART)
        self.remembered.add(decoded, clips[:, ::_FRAMES_APART], factor, decoder.postfilter.square)

    def _sampled(self, posterior: Posterior, noise: Tensor, factor: Tensor) -> tuple[Latents, Tensor]:
        """Sample a posterior for the decoder, and compute its divergence."""
        if not self.kl_weight:
            posterior = Posterior(posterior.mean, posterior.log_variance.map(Tensor.detach))
        return _sample(posterior, factor[:, None] * noise), _rate(posterior)

    def _coded(self, posterior: Posterior, noise: Tensor, factor: Tensor) -> tuple[Latents, Tensor]:
        """Quantise means for the decoder, and estimate their rate."""
        assert self.rate is not None
        ratios, noisy = self.rate.noisy(posterior.mean, noise, factor)
        seen = noisy if self.quantised is None else self.quantised(posterior.mean, factor)
        estimate: Tensor = self.rate(ratios) if self.counts else torch.full((), math.nan, device=noise.device)
        return seen, estimate


def _encoder(model: VidTwin) -> nn.Module:
    assert model.encoder is not None
    return model.encoder


def _sample(posterior: Posterior, noise: Tensor) -> Latents:
    parts = torch.split(noise, [mean[0].numel() for mean in posterior.mean], dim=1)
    return posterior.mean.map(
        lambda mean, log_variance, part: mean + (0.5 * log_variance).exp() * part.view_as(mean),
        posterior.log_variance,
        parts,
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
