"""The model of the rate, and weights that do nothing yet, on micro networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from micro import micro_model, noise_clip, window_model, write_weights
from training_runs import array_folder, batch, listening, micro_options

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import Latents, VidTwin, load_checkpoint
from vidtwin_codec.training import TrainOptions, train
from vidtwin_codec.training.network import network_config
from vidtwin_codec.training.objective import Objective
from vidtwin_codec.training.opening import choose_trained, dead_blocks, open_blocks, spare_work
from vidtwin_codec.training.optimization import Optimizers
from vidtwin_codec.training.rate import RateModel
from vidtwin_codec.weights import read_metadata


def rate_model(model: VidTwin, step: float = 0.5) -> RateModel:
    slots, dynamics = model.config.qformer.num_queries, model.config.dynamics_channels
    shapes = ((slots, model.config.structure_channels), (dynamics,), (dynamics,))
    return RateModel(model.config, (torch.full(shape, step) for shape in shapes))


def latents_of(model: VidTwin) -> Latents:
    with torch.no_grad():
        return model.encode(noise_clip(model.config, batch=2))


@pytest.mark.parametrize("scale", [0.05, 0.7, 20.0])
def test_the_probabilities_of_all_symbols_add_up(scale: float) -> None:
    part = rate_model(micro_model()).dynamics_x
    with torch.no_grad():
        part.log_scale.fill_(np.log(scale))
        part.share.fill_(-1e9)
        symbols = torch.arange(-600.0, 601.0)[None, None, :, None].expand(1, 3, -1, 1)
        nats = part.nats(symbols, [torch.zeros_like(symbols)] * 2)
    assert torch.isfinite(nats).all()  # however far away
    assert torch.allclose((-nats).exp().sum(2), torch.ones(1, 3, 1), atol=1e-4)


@pytest.mark.parametrize("model", [micro_model(), window_model()], ids=["dense", "patterns"])
def test_contexts_lie_before_what_they_foretell(model: VidTwin) -> None:
    rate = rate_model(model)
    structure = torch.zeros(1, *model.config.structure_shape)
    structure[0, 1, 1, 1, 0] = 9.0
    parts = rate._around(structure)
    reached = sum((part.abs() > 0).any(-1).float() for part in parts)
    assert isinstance(reached, torch.Tensor)
    places = {tuple(place) for place in reached.nonzero().tolist()}
    at = (0, 1, 1, 1)
    assert {(0, 1, 1, 2), (0, 1, 2, 1), (0, 2, 1, 1)} & places
    assert all(place >= at for place in places)
    if model.config.patterns is None:
        assert at not in places
    else:  # the next higher frequencies of the same place: rows, then columns, of the same colour
        assert parts[2][at].nonzero()[:, 0].tolist() == [1, 2]
        assert rate.lower.max() == model.config.structure_channels


def test_rounding_is_that_of_the_steps_and_lets_gradients_through() -> None:
    model = micro_model()
    rate, means = rate_model(model, 0.5), latents_of(model)
    structure = means.structure.clone().requires_grad_(True)
    rounded = rate.rounded(means._replace(structure=structure), torch.tensor([1.0, 2.0]))
    for clip, step in enumerate((0.5, 1.0)):
        assert torch.allclose(rounded.structure[clip], torch.round(means.structure[clip] / step) * step)
    rounded.structure.sum().backward()
    assert structure.grad is not None
    assert torch.equal(structure.grad, torch.ones_like(structure))


def test_a_rate_that_learns_falls_to_what_the_latents_take() -> None:
    # independent normal numbers of 3 steps: the estimate comes near their entropy, 3.64 bits
    model = micro_model()
    rate, random = rate_model(model, 1.0), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(rate.parameters(), lr=0.05)
    shapes = (model.config.structure_shape, model.config.dynamics_x_shape, model.config.dynamics_y_shape)
    for _ in range(150):
        values = Latents(*(3 * torch.randn(16, *shape, generator=random) for shape in shapes))
        noisy = Latents(*(part + torch.rand(part.shape, generator=random) - 0.5 for part in values))
        nats = rate(noisy)
        optimizer.zero_grad()
        nats.backward()
        optimizer.step()
    bits = float(nats.detach()) / np.log(2)
    assert 3.6 < bits < 3.85


def test_the_objective_weighs_bits_and_trains_encoder_steps_and_rate() -> None:
    model = micro_model().requires_grad_(True)
    clips, noise = batch(model)
    rate = rate_model(model)
    losses = Objective(model, 0.1, rate=rate)(clips, noise.clamp(-1.7, 1.7), "mse")
    total, squared, nats = (float(part.detach()) for part in losses)
    assert total == pytest.approx(100 * squared + 0.1 * nats, rel=1e-5)
    losses.total.backward()
    assert model.encoder is not None
    assert model.encoder.patch_embedding.weight.grad is not None
    assert all(
        part.grad is not None and bool(part.grad.any()) for part in (rate.structure.log_step, rate.structure.log_scale)
    )


def silent(model: VidTwin) -> VidTwin:
    """With blocks that do nothing and can learn nothing."""
    assert model.decoder is not None
    with torch.no_grad():
        for parameter in model.decoder.transformer.parameters():
            parameter.zero_()
    return model


def test_opened_blocks_change_nothing_and_can_learn() -> None:
    model = silent(window_model(linear=True)).requires_grad_(True).train()
    assert model.decoder is not None
    rate, means = rate_model(model, 0.5), latents_of(model)
    with torch.no_grad():
        before = model.decode(means)
    assert open_blocks(model, [(means, rate.rounded(means))], seed=0) == 1
    assert dead_blocks(model.decoder.transformer) == []
    choose_trained(model, "blocks")
    spare_work(model)
    decoded = model.decode(means)
    assert torch.allclose(decoded, before, atol=1e-6)
    decoded.square().sum().backward()
    block = model.decoder.transformer.blocks[0]
    for last in (block.spatial_attention.projection, block.temporal_attention.projection, block.mlp.contract):
        assert bool(last.weight.grad.any())
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, _ in model.named_parameters() if name.startswith("decoder.transformer.")}


def test_what_was_written_down_moves_by_its_own_measure() -> None:
    model = window_model(linear=True).requires_grad_(True)
    assert model.encoder is not None
    with torch.no_grad():
        model.encoder.patch_embedding.weight.fill_(1 / 64)
    options = TrainOptions(Path("d"), Path("w.safetensors"), steps=1, init="mini")
    rates = {}
    both = Optimizers(model, options)
    both.step(1.0)
    for part, _ in both._parts:
        for group in part.param_groups:
            rates |= {id(parameter): group["lr"] for parameter in group["params"]}
    assert rates[id(model.encoder.patch_embedding.weight)] == pytest.approx(options.lr / 64)
    mlp = model.encoder.transformer.blocks[0].mlp
    assert rates[id(mlp.expand.weight)] == options.lr
    assert rates[id(mlp.contract.weight)] == options.lr / 8


def test_fine_tuning_weights_with_patterns_keeps_their_steps(tmp_path: Path) -> None:
    start = write_weights(tmp_path / "start.safetensors", silent(window_model(linear=True)), 0.25)
    options = micro_options(
        tmp_path, init=str(start), objective="rate", noise="rounding", train="blocks", decoder_depth=2, lr=1e-2
    )
    said: list[str] = []
    result = train(options, reporter=listening(said))
    assert result is not None
    assert result.bits is None
    json.dumps(result.to_json(), allow_nan=False)
    assert any(line.startswith("2 blocks") for line in said)
    one, other = load_checkpoint(start).state_dict(), load_checkpoint(options.output).state_dict()
    changed = {name for name in other if name not in one or not torch.allclose(one[name], other[name], atol=1e-3)}
    assert changed
    assert all(name.startswith("decoder.transformer.blocks.") for name in changed)
    steps = read_metadata(options.output).steps
    assert steps is not None
    assert np.all(steps.structure == 0.25)
    with pytest.raises(VidtwinError, match="--decoder-depth 1"):
        network_config(micro_options(tmp_path, init=str(options.output), decoder_depth=1))


def test_a_run_by_rate_resumes_with_its_steps(tmp_path: Path) -> None:
    for name in ("straight", "stopped"):
        array_folder(tmp_path / name / "data")
    changes = {"objective": "rate", "storage": "float32", "noise_spread": 0.5, "cooldown": 0.0}
    straight = micro_options(tmp_path / "straight", **changes, steps=4)
    train(straight)
    first = micro_options(tmp_path / "stopped", **changes, steps=2)
    train(first)
    for path in tmp_path.glob("stopped/w.safetensors*"):
        path.unlink()
    train(micro_options(tmp_path / "stopped", **changes, steps=4, resume=True, force=True))
    states = [torch.load(one.folder / "state.pt", weights_only=True) for one in (straight, first)]
    for part in ("model", "rate"):
        assert all(torch.equal(states[0][part][name], states[1][part][name]) for name in states[0][part])
    assert states[0]["rate"]
