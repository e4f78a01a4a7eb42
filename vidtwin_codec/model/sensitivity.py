"""The effect of an error in each latent channel on the decoded frames."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vidtwin_codec.model.vidtwin import Latents, VidTwin


class Squares(NamedTuple):
    """A float64 number for each channel, shaped to broadcast against `Latents` of any batch."""

    structure: NDArray[np.float64]
    """``[1, n_q, 1, 1, d_S]``"""
    dynamics_x: NDArray[np.float64]
    """``[1, d_D, 1, 1]``"""
    dynamics_y: NDArray[np.float64]
    """``[1, d_D, 1, 1]``"""


def squared_derivatives(model: VidTwin, latents: Latents, generator: torch.Generator, passes: int = 1) -> Squares:
    """Estimate the squared change of the decoded clip, summed over elements in [-1, 1], by a unit change of a latent.

    The diagonal of JᵀJ, J the decoder's Jacobian, is the mean of (Jᵀv)² over vectors v of random signs (M. Hutchinson,
    1989): one backward pass probes every latent at once, where a perturbation would probe one. The mean over a
    channel's elements and over the passes does the rest. Source: C. Bekas, E. Kokiopoulou and Y. Saad, "An estimator
    for the diagonal of a matrix", Applied Numerical Mathematics 57 (2007).

    Args:
        model: a VidTwin with its decoder, which computes in its own precision.
        latents: latents of B clips, on the decoder's device; the result depends on them, as a decoder is not linear.
        generator: generator of the signs, on the CPU, so that all devices take the same ones.
        passes: number of backward passes.

    Returns:
        Means over each channel's elements; not finite where the decoder's derivatives are not.
    """
    inputs = latents.map(lambda part: part.detach().clone().requires_grad_(True))
    with torch.enable_grad():
        decoded = model.decode(inputs)
    total: list[NDArray[np.float64]] = []
    for number in range(passes):
        signs = torch.randint(0, 2, decoded.shape, generator=generator, dtype=torch.float32) * 2 - 1
        gradients = torch.autograd.grad(
            decoded, inputs, signs.to(decoded), retain_graph=number < passes - 1, materialize_grads=True
        )
        squares = [part.cpu().double().square().mean(dim=(0, 2, 3), keepdim=True).numpy() for part in gradients]
        total = [a + b for a, b in zip(total, squares, strict=True)] if total else squares
    return Squares(*(part / passes for part in total))
