"""What training minimises, on micro networks."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from micro import micro_model
from numpy.typing import NDArray
from training_runs import batch, moving_picture

from vidtwin_codec.model.levels import pixels_from_levels
from vidtwin_codec.training.clips import pixels
from vidtwin_codec.training.objective import Objective
from vidtwin_codec.training.similarity import similarity_loss


@pytest.mark.parametrize("kl_weight", [0.0, 0.1])
def test_without_a_rate_variances_stay(kl_weight: float) -> None:
    model = micro_model().requires_grad_(True)
    clips, noise = batch(model)
    Objective(model, kl_weight)(clips, noise, "mse").total.backward()
    assert model.encoder is not None
    head = model.encoder.structure.head
    assert head.bias is not None
    assert head.bias.grad is not None
    mean, log_variance = head.bias.grad.abs().chunk(2)
    assert float(mean.min()) > 0
    assert (float(log_variance.max()) == 0) == (kl_weight == 0)


def test_noise_can_be_scaled() -> None:
    model = micro_model()
    clips, noise = batch(model)
    with torch.no_grad():
        target = pixels(clips)
        means = (model.decode(model.encode(target)) - target).square().mean()
        errors = [Objective(model, 0.1, scale)(clips, noise, "mse").squared_error for scale in (0.0, 1.0, 4.0)]
        assert errors[0] == pytest.approx(float(means))
        assert errors[0] != errors[1] != errors[2]
        assert Objective(model, 0.1, 0.5)(clips, 2 * noise, "mse").squared_error == pytest.approx(float(errors[1]))


def test_structural_similarity_is_that_of_its_definition() -> None:
    wanted = moving_picture(2, 36, 40)
    shown = moving_picture(2, 36, 40, seed=1) // 2 + wanted // 2
    planes = [frames @ np.array([0.2126, 0.7152, 0.0722]) / 255 for frames in (shown, wanted)]
    expected = []
    for one, other in zip(*planes, strict=True):
        halves = [plane.reshape(18, 2, 20, 2).mean(axis=(1, 3)) for plane in (one, other)]
        quarters = [plane.reshape(9, 4, 10, 4).mean(axis=(1, 3)) for plane in (one, other)]
        scales = index(one, other, lightness=True), index(*halves, lightness=False), index(*quarters, lightness=False)
        expected.append(np.mean(scales))
    loss = similarity_loss(*(pixels_from_levels(torch.from_numpy(frames)) for frames in (shown, wanted)))
    assert float(loss) == pytest.approx(np.mean(10 * np.log10(1 - np.array(expected) + 1e-3)), abs=1e-3)


def index(one: NDArray[np.float64], other: NDArray[np.float64], *, lightness: bool) -> float:
    """The mean structural similarity of windows of 8 x 8 that are 4 apart."""
    found = []
    for row, column in product(range(0, one.shape[0] - 7, 4), range(0, one.shape[1] - 7, 4)):
        a, b = (plane[row : row + 8, column : column + 8].ravel() for plane in (one, other))
        covariance = np.mean((a - a.mean()) * (b - b.mean()))
        found.append((2 * covariance + 0.03**2) / (a.var() + b.var() + 0.03**2))
        if lightness:
            found[-1] *= (2 * a.mean() * b.mean() + 0.01**2) / (a.mean() ** 2 + b.mean() ** 2 + 0.01**2)
    return float(np.mean(found))


@pytest.mark.parametrize("side", [4, 8, 33])
def test_equal_frames_are_as_similar_as_can_be(side: int) -> None:
    frames = torch.rand(2, side, side + 1, 3) * 2 - 1
    worse = (frames + 0.3 * torch.randn_like(frames)).requires_grad_()
    loss = similarity_loss(worse, frames)
    loss.backward()
    assert pytest.approx(float(similarity_loss(frames, frames)), abs=0.01) == -30
    assert loss > -30
    assert worse.grad is not None
    assert worse.grad.isfinite().all()


def test_structural_similarity_counts_by_its_weight() -> None:
    model = micro_model()
    clips, noise = batch(model)
    totals = []
    with torch.no_grad():
        for weight in (0.0, 0.5, 1.0):
            losses = Objective(model, 0.1, ssim_weight=weight)(clips, noise, "psnr")
            totals.append(float(losses.total))
    assert totals[2] - totals[1] == pytest.approx(totals[1] - totals[0], abs=1e-4)
    assert totals[1] != pytest.approx(totals[0], abs=1e-4)
