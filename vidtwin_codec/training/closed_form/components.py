"""What footage looks like: principal components of its patches, and their temporal spectrum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwinConfig
from vidtwin_codec.model.transformer import patchify

Clips = Callable[[], Iterator[Tensor]]
"""Begins a pass over footage: batches of clips, float ``[B, 3, T, H, W]`` in [-1, 1], the same in every pass."""

FRAMES_USED = 6
"""Frames of a clip that count in the components: neighbouring frames are nearly the same patches."""
_FLOOR = 1e-7
"""Of the largest variance: components below are noise and would be blown up by whitening."""


class PatchComponents(NamedTuple):
    """Principal components of patches of ``n = 3·p·p`` numbers, strongest first."""

    mean: Tensor
    """``[n]``"""
    vectors: Tensor
    """``[K, n]``, orthonormal rows."""
    deviations: Tensor
    """``[K]``, standard deviation along each."""

    def whiten(self, patches: Tensor) -> Tensor:
        """``[..., n]`` → ``[..., K]`` coefficients of unit variance."""
        return (patches - self.mean) @ (self.vectors / self.deviations[:, None]).T


class Footage(NamedTuple):
    """Coefficients of the clips that scales and offsets are measured on."""

    energy: Tensor
    """``[B]``: squares of a clip's patches less their mean, summed over frames: what is lost where nothing is kept."""
    whitened: Tensor
    """``[B, T, S, K]``, unit variance."""
    spectrum: Tensor
    """``[B, T, S, K]``: the temporal DCT of ``whitened``; the second axis is the frequency."""


class Motion(NamedTuple):
    """Principal components of what moves: how patches deviate from their mean over frames.

    Combinations of the strongest patch components, so that they cost the network nothing to compute.
    """

    vectors: Tensor
    """``[M, C]``: from patch components, in pixels, to motion components; orthonormal rows."""
    deviations: Tensor
    """``[M]``, standard deviation along each."""
    whitened_deviations: Tensor
    """``[C]``, of the patch components that they are made of."""

    @property
    def reading(self) -> Tensor:
        """``[M, C]``: whitened patch components to motion components of unit variance."""
        return self.vectors * self.whitened_deviations / self.deviations[:, None]

    @property
    def writing(self) -> Tensor:
        """``[C, M]``: back."""
        return (self.vectors * self.deviations[:, None] / self.whitened_deviations).T

    def coefficients(self, footage: Footage, frequency: int) -> Tensor:
        """``[B, S, M]``: unit-variance components at one temporal frequency."""
        return footage.spectrum[:, frequency, :, : self.vectors.shape[1]] @ self.reading.T

    def energies(self, footage: Footage) -> Tensor:
        """``[B, T, S, M]``: energy in pixels of every component at every frequency; 0 at frequency 0."""
        frequencies = range(1, footage.spectrum.shape[1])
        parts = [(self.coefficients(footage, f) * self.deviations).square() for f in frequencies]
        return torch.stack([torch.zeros_like(parts[0]), *parts], dim=1)


def motion_components(footage: Footage, components: PatchComponents, used: int, count: int) -> Motion:
    """The ``count`` strongest among the first ``used`` patch components, clips weighted by what they would lose."""
    deviations = components.deviations[:used]
    moving = footage.spectrum[:, 1:, :, :used] * deviations
    weights = 1 / footage.energy.clamp_min(float(footage.energy.mean()) * _FLOOR**0.5)
    flat = (moving * weights.sqrt()[:, None, None, None]).flatten(0, 2).double()
    vectors = torch.linalg.eigh(flat.T @ flat).eigenvectors.flip(1)[:, :count]
    signs = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
    vectors = (vectors * signs).T.float().contiguous()
    # of a frame: the DCT is orthonormal, so the mean over frequencies is the mean over frames
    spread = (moving @ vectors.T).square().mean(dim=(0, 2)).sum(dim=0).div(footage.spectrum.shape[1]).sqrt()
    return Motion(vectors, spread.clamp_min(1e-3 * float(deviations[-1])), deviations)


def batches(clips: Clips, config: VidTwinConfig) -> Iterator[Tensor]:
    """One pass, every batch checked.

    Raises:
        VidtwinError: there is nothing in it, or clips are not of the network's size.
    """
    expected = (3, config.frames, config.height, config.width)
    empty = True
    for batch in clips():
        empty = False
        if batch.ndim != 5 or tuple(batch.shape[1:]) != expected:
            raise VidtwinError(f"clips of shape {list(batch.shape)} do not fit a network of [B, {expected}]")
        yield batch.float()
    if empty:
        raise VidtwinError("closed-form weights need footage, but there are no clips")


def patch_components(clips: Clips, config: VidTwinConfig, count: int) -> PatchComponents:
    """The ``count`` strongest components of all patches in ``clips``, mirror images included.

    Raises:
        VidtwinError: as :func:`batches`, or all patches are the same.
    """
    patch = config.patch_size
    size = 3 * patch**2
    moment, total, rows = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64), 0
    step = max(1, config.frames // FRAMES_USED)
    for batch in batches(clips, config):
        patches = patchify(batch[:, :, ::step], patch).flatten(0, 2)
        moment += patches.T @ patches
        total += patches.sum(dim=0)
        rows += len(patches)
    # a mirror image is as likely, and adding them all is only a permutation of the statistics
    mirrored = torch.arange(size).view(patch, patch, 3).flip(1).flatten()
    mean = (total + total[mirrored]) / (2 * rows)
    covariance = (moment + moment[mirrored][:, mirrored]) / (2 * rows) - torch.outer(mean, mean)
    variances, vectors = torch.linalg.eigh(covariance)
    variances, vectors = variances.flip(0)[:count], vectors.flip(1)[:, :count]
    if not variances[0] > 0:
        raise VidtwinError("closed-form weights need footage with some detail, but all patches are the same")
    # an eigenvector's sign is a matter of taste; this one does not depend on the linear algebra library
    signs = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
    deviations = variances.clamp_min(_FLOOR * float(variances[0])).sqrt()
    return PatchComponents(mean.float(), (vectors * signs).T.float().contiguous(), deviations.float())


def measure(clips: Clips, config: VidTwinConfig, components: PatchComponents, tokens: int) -> Footage:
    """The first clips, as many as give about ``tokens`` tokens, and their coefficients."""
    per_clip, found, energy, whitened = config.frames * config.tokens, 0, [], []
    for batch in batches(clips, config):
        patches = patchify(batch[: -(-(tokens - found) // per_clip)], config.patch_size)
        energy.append((patches - components.mean).square().sum(dim=(1, 2, 3)) / config.tokens)
        whitened.append(components.whiten(patches))
        found += len(patches) * per_clip
        if found >= tokens:
            break
    spectrum = [torch.einsum("ft,btsk->bfsk", temporal_dct(config.frames), part) for part in whitened]
    return Footage(torch.cat(energy), torch.cat(whitened), torch.cat(spectrum))


def temporal_dct(frames: int) -> Tensor:
    """``[T, T]``, orthonormal DCT-II: one row a frequency."""
    frequency, time = torch.arange(frames)[:, None], torch.arange(frames)[None]
    basis: Tensor = torch.cos(math.pi * (time + 0.5) * frequency / frames) * (2 / frames) ** 0.5
    basis[0] /= 2**0.5
    return basis


def unit_waves(basis: Tensor) -> tuple[Tensor, Tensor]:
    """DCT rows scaled to reach 1, and what they were divided by ``[T]``."""
    peaks = torch.amax(basis.abs(), dim=1)
    return basis / peaks[:, None], peaks
