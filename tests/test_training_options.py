"""Choices, schedules and averages: the arithmetic of a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from micro import micro_config, micro_model
from torch.nn import functional
from training_runs import moving_picture

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import Latents
from vidtwin_codec.model.levels import pixels_from_levels
from vidtwin_codec.model.transformer import cut_patches
from vidtwin_codec.model.vidtwin import Posterior
from vidtwin_codec.training import TrainOptions
from vidtwin_codec.training.clips import ClipSampler
from vidtwin_codec.training.footage import Footage
from vidtwin_codec.training.network import PRESET_CONFIGS, build, network_config
from vidtwin_codec.training.objective import _pixel_loss, _rate, _sample
from vidtwin_codec.training.optimization import Average, Optimizers, rate_factor
from vidtwin_codec.training.options import PRESETS, differences


def options(**changes: Any) -> TrainOptions:
    return TrainOptions(**{"data": Path("d"), "output": Path("w.safetensors"), "steps": 10, **changes})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": None}, "--steps or --minutes"),
        ({"minutes": 1.0}, "--steps or --minutes"),
        ({"steps": 0}, "--steps"),
        ({"lr": float("nan")}, "--lr"),
        ({"held_out": 1.0}, "--held-out"),
        ({"ema": 1.0}, "--ema"),
        ({"loss": "lpips"}, "--loss"),
        ({"init": "mini", "width": 128}, "--width"),
        ({"init": "mini", "config": Path("c.json")}, "--config"),
    ],
)
def test_wrong_choices_are_refused_by_their_flag(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(VidtwinError) as refused:
        options(**changes)
    assert says in f"{refused.value.message} {refused.value.hint}"


def test_what_a_resumed_run_may_change() -> None:
    before = options().to_json()
    assert differences(options(steps=20, eval_every=7, device="cpu"), before) == []
    assert differences(options(lr=1.0, batch=3), before) == ["--batch: 8, now 3", "--lr: 0.0005, now 1.0"]


def test_presets_keep_the_released_latents() -> None:
    assert set(PRESET_CONFIGS) == set(PRESETS)
    for config in PRESET_CONFIGS.values():
        assert config.structure_shape == (16, 7, 7, 8)
        assert config.dynamics_x_shape == config.dynamics_y_shape == (8, 16, 7)


def test_a_preset_can_be_changed() -> None:
    config = network_config(options(preset="small", width=128, decoder_depth=2, size=256, patch=64))
    assert (config.decoder.hidden_size, config.decoder.num_heads, config.decoder.depth) == (128, 2, 2)
    assert (config.grid, config.encoder.depth) == ((4, 4), 3)
    with pytest.raises(VidtwinError, match="patch 33"):
        network_config(options(patch=33))


def test_rates_rise_stay_and_fall() -> None:
    def factor(step: int) -> float:
        return rate_factor(step, step / 100, warmup=10, cooldown=0.2)

    assert [factor(0), factor(4), factor(9), factor(50), factor(79)] == pytest.approx([0.1, 0.5, 1, 1, 1])
    assert [factor(80), factor(90), factor(99)] == pytest.approx([1, 0.5, 0.05])
    assert rate_factor(0, 0, warmup=0, cooldown=0) == 1


def test_the_average_follows_its_decay() -> None:
    model = micro_model().requires_grad_(True)
    average = Average(model, 0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1)
        for parameter in average.model.parameters():
            parameter.fill_(0)
    average.update(step=0)  # the first steps count for more: decay 1/10
    assert all(torch.allclose(one, torch.tensor(0.9)) for one in average.model.parameters())
    average.update(step=1000)
    assert all(torch.allclose(one, torch.tensor(0.95)) for one in average.model.parameters())


def test_muon_takes_the_blocks_matrices_and_nothing_else() -> None:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    model = micro_model().requires_grad_(True)
    both = Optimizers(model, options(optimizer="muon"))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    adamw, muon = (
        {names[id(parameter)] for group in part.param_groups for parameter in group["params"]}
        for part, _ in both._parts
    )
    assert adamw | muon == set(names.values())
    assert not adamw & muon
    assert muon == {name for name in adamw | muon if ".blocks." in name and name.endswith(".weight")}
    assert all(dict(model.named_parameters())[name].ndim == 2 for name in muon)


def test_muon_is_missed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(VidtwinError, match="Muon"):
        Optimizers(micro_model().requires_grad_(True), options(optimizer="muon"))


def test_the_rate_is_the_divergence_from_a_unit_gaussian() -> None:
    config = micro_config()
    shapes = (config.structure_shape, config.dynamics_x_shape, config.dynamics_y_shape)
    mean = Latents(*(torch.full((2, *shape), 1.5) for shape in shapes))
    log_variance = Latents(*(torch.full((2, *shape), -2.0) for shape in shapes))
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(1.5, math.exp(-1.0)), torch.distributions.Normal(0.0, 1.0)
    )
    posterior = Posterior(mean, log_variance)
    assert float(_rate(posterior)) == pytest.approx(float(expected), rel=1e-5)
    noise = torch.full((2, sum(math.prod(shape) for shape in shapes)), 2.0)
    sample = _sample(posterior, noise)
    assert [part.shape[1:] for part in sample] == list(shapes)
    assert float(sample.dynamics_y.mean()) == pytest.approx(1.5 + 2 * math.exp(-1.0))


@pytest.mark.parametrize(
    ("loss", "expected"), [("mse", 4.0), ("l1", 2.0), ("charbonnier", 1.9), ("psnr", 10 * math.log10(0.01))]
)
def test_pixel_losses(loss: str, expected: float) -> None:
    error = torch.full((2, 3, 4, 8, 8), 0.2)
    squared = error.square().mean(dim=(1, 2, 3, 4))
    assert float(_pixel_loss(error, squared, loss)) == pytest.approx(expected, abs=0.01)


def test_a_new_network_begins_near_a_linear_codec_of_patches(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", moving_picture(frames=16))
    config = micro_config(structure_blocks=0)
    sampler = ClipSampler([Footage("a", tmp_path / "a.npy", 16, 36, 40, 16)], config)
    model = build(options(), config, sampler)
    assert model.encoder is not None
    assert model.decoder is not None
    frames = pixels_from_levels(sampler.cut(sampler.draw(0, 0)))
    patches = cut_patches(frames, config.patch_size)
    with torch.no_grad():
        tokens = model.encoder.patch_embedding(frames)
        head = model.decoder.head.linear
        back = functional.linear(tokens / tokens.square().mean().sqrt(), head.weight, head.bias)
        posterior = model.posterior(frames.permute(3, 0, 1, 2)[None])
    assert float((back - patches).square().mean()) < 0.3 * float((patches - patches.mean()).square().mean())
    assert float(posterior.log_variance.structure.mean()) == pytest.approx(-3, abs=1.5)
    assert all(parameter.requires_grad for parameter in model.parameters())
