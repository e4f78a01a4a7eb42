"""What an error in each latent channel does to the picture."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vidtwin_codec.coding import LatentArrays
from vidtwin_codec.model import Latents, VidTwin

PATH = (1.0, 0.75, 0.5, 0.25)
"""Where the decoder is probed, as shares of the latents: on the way to zero, where coarse symbols take them. A channel
that switches something is flat where it stands and steep on that way."""
_SEED = 0


def measure_sensitivity(model: VidTwin, latents: Latents) -> LatentArrays:
    """Squared change of the decoded clip (summed over its elements, in [-1, 1]) for a unit change of one latent.

    The diagonal of JᵀJ, J the decoder's Jacobian, is the mean of (Jᵀv)² over vectors v of random signs: one backward
    pass probes every latent at once, and the mean over a channel's elements does the rest. Source: C. Bekas,
    E. Kokiopoulou and Y. Saad, "An estimator for the diagonal of a matrix", Applied Numerical Mathematics 57 (2007).

    Args:
        model: with its decoder; computes in float32.
        latents: of B clips, on the decoder's device.

    Returns:
        float64, one number a channel, shaped to broadcast against arrays of latents: the largest that :data:`PATH`
        shows; 0 where the decoder's derivatives are not finite.
    """
    generator = torch.Generator().manual_seed(_SEED)  # on the CPU, so that all devices take the same signs
    found: list[list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]] = []
    for share in PATH:
        inputs = Latents(*((share * part).detach().requires_grad_(True) for part in latents))
        with torch.enable_grad():
            decoded = model.decode(inputs)
        signs = torch.randint(0, 2, decoded.shape, generator=generator).to(decoded) * 2 - 1
        gradients = torch.autograd.grad(decoded, inputs, signs, materialize_grads=True)
        found.append([_channel_means(part) for part in gradients])
    return LatentArrays(*(np.max(column, axis=0) for column in zip(*found, strict=True)))


def _channel_means(gradient: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    # [B, slot, h, w, channel] → [1, slot, 1, 1, channel]; [B, channel, T, position] → [1, channel, 1, 1]
    means = gradient.double().square().mean(dim=(0, 2, 3), keepdim=True)
    return torch.nan_to_num(means, nan=0.0, posinf=0.0).cpu().numpy()
