"""What training minimises, on micro networks."""

from __future__ import annotations

import pytest
import torch
from micro import micro_model
from training_runs import batch

from vidtwin_codec.training.clips import pixels
from vidtwin_codec.training.objective import Objective


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
