"""Weights written in closed form: as good as the linear codec that they are, or refused."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import micro  # noqa: F401  # one thread for small networks
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import QFormerConfig, TransformerConfig, VidTwin, VidTwinConfig, load_checkpoint
from vidtwin_codec.model.transformer import Block, patchify
from vidtwin_codec.training.closed_form import transform_start
from vidtwin_codec.training.closed_form.__main__ import command
from vidtwin_codec.training.closed_form.components import (
    Footage,
    PatchComponents,
    measure,
    patch_components,
    temporal_dct,
)
from vidtwin_codec.training.closed_form.slots import SlotPlan, plan_slots, slots_by_energy
from vidtwin_codec.training.closed_form.wiring import after_mlp, after_spatial, after_temporal

CONFIG = VidTwinConfig(
    frames=4,
    height=32,
    width=32,
    patch_size=8,
    encoder=TransformerConfig(128, 2, 4, causal=False),
    decoder=TransformerConfig(128, 3, 4, causal=False),
    qformer=QFormerConfig(num_queries=4, hidden_size=48, num_layers=2, intermediate_size=64, num_heads=4),
    structure_channels=4,
    dynamics_channels=2,
    structure_blocks=0,
    dynamics_blocks=0,
    structure_width=16,
)
CLIPS = 96


def clips() -> Iterator[Tensor]:
    """Coloured waves drifting over each other, in batches of 16 clips."""
    random = torch.Generator().manual_seed(1)
    time, row, column = (torch.arange(n, dtype=torch.float32) for n in (4, 32, 32))
    for _ in range(CLIPS // 16):
        clip = torch.zeros(16, 3, 4, 32, 32)
        for octave in range(1, 7):
            wave = (torch.rand(16, 2, generator=random) - 0.5) * octave / 4
            speed = torch.randn(16, generator=random)
            colour = torch.randn(16, 3, generator=random) * 0.1 + 0.3 / octave
            shift = torch.rand(16, generator=random) * 2 * math.pi
            phase = (
                wave[:, 0, None, None, None] * row[:, None]
                + wave[:, 1, None, None, None] * column
                + (speed[:, None] * time)[:, :, None, None] * 0.5
                + shift[:, None, None, None]
            )
            clip += colour[:, :, None, None, None] * phase.sin()[:, None]
        yield clip.clamp(-1, 1)


@pytest.fixture(scope="module")
def parts() -> tuple[PatchComponents, Footage, SlotPlan]:
    components = patch_components(clips, CONFIG, 24)
    footage = measure(clips, CONFIG, components, CLIPS * 64)
    return components, footage, plan_slots(slots_by_energy(footage, components, CONFIG), CONFIG)


@pytest.fixture(scope="module")
def model() -> VidTwin:
    return transform_start(clips, CONFIG, seed=3)


def psnr(error: np.ndarray) -> float:
    """Of ``[B, T, ...]`` differences in [-1, 1]: mean over frames."""
    squares = np.square(error / 2).reshape(*error.shape[:2], -1).mean(axis=2)
    return float((-10 * np.log10(squares)).mean())


def linear_codec(parts: tuple[PatchComponents, Footage, SlotPlan]) -> np.ndarray:
    """``[B, T, S, n]``: patches from the planned coefficients alone; dynamics as row plus column means."""
    components, footage, plan = parts
    spectrum = footage.spectrum.numpy()
    kept = np.zeros_like(spectrum)
    for number, frequency in enumerate(plan.frequencies):
        for component in plan.structure[number]:
            kept[:, frequency, :, component] = spectrum[:, frequency, :, component]
        for component in plan.dynamics[number]:
            grid = spectrum[:, frequency, :, component].reshape(-1, *CONFIG.grid)
            means = grid.mean(1, keepdims=True) + grid.mean(2, keepdims=True) - grid.mean((1, 2), keepdims=True)
            kept[:, frequency, :, component] = means.reshape(len(grid), -1)
    coefficients = np.einsum("ft,bfsk->btsk", temporal_dct(CONFIG.frames).numpy(), kept)
    scaled = coefficients * components.deviations.numpy()
    patches: np.ndarray = scaled @ components.vectors.numpy() + components.mean.numpy()
    return patches


def test_it_is_as_good_as_the_linear_codec(model: VidTwin, parts: tuple[PatchComponents, Footage, SlotPlan]) -> None:
    source = torch.cat(list(clips()))
    decoded = model.decode(model.encode(source))
    direct = psnr(linear_codec(parts) - patchify(source, CONFIG.patch_size).numpy())
    reached = psnr(patchify(decoded - source, CONFIG.patch_size).numpy())
    assert reached == pytest.approx(direct, abs=0.1)


def test_both_branches_carry_something(model: VidTwin) -> None:
    source = next(clips())
    latents = model.encode(source)
    whole = psnr((model.decode(latents) - source).transpose(1, 2).numpy())
    for only in ("structure", "dynamics"):
        assert whole > psnr((model.decode(latents, only=only) - source).transpose(1, 2).numpy()) + 0.1


def test_latents_have_unit_variance(model: VidTwin) -> None:
    latents = model.encode(torch.cat(list(clips())))
    assert latents.structure.std() == pytest.approx(1, abs=0.05)
    assert torch.cat([latents.dynamics_x, latents.dynamics_y]).std() == pytest.approx(1, abs=0.05)


def test_the_construction_steps_through_a_block_as_it_runs() -> None:
    torch.manual_seed(0)
    block, x, positions = Block(TransformerConfig(16, 1, 2, causal=False)), torch.randn(2, 3, 5, 16), torch.randn(3, 16)
    with torch.no_grad():
        stepped = after_mlp(block, after_temporal(block, after_spatial(block, x), positions))
        assert torch.allclose(stepped, block(x, positions), atol=1e-6)


def test_equal_seeds_give_equal_weights(model: VidTwin) -> None:
    before = torch.get_rng_state()
    again, other = transform_start(clips, CONFIG, seed=3), transform_start(clips, CONFIG, seed=4)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in again.state_dict().items())
    assert any(not torch.equal(value, model.state_dict()[name]) for name, value in other.state_dict().items())


def test_slots_go_where_the_energy_is() -> None:
    config = dataclasses.replace(CONFIG, structure_channels=1)
    components = PatchComponents(torch.zeros(3), torch.eye(3), torch.tensor([3.0, 2.0, 1.0]))
    spectrum = torch.zeros(2, 4, 5, 3)
    spectrum[:, 0] = 1
    spectrum[:, 2, :, 0] = 1
    coefficients = torch.einsum("ft,bfsk->btsk", temporal_dct(4), spectrum)
    energy = (coefficients * components.deviations).square().sum(dim=(1, 3)).mean(dim=1)
    footage = Footage(energy, coefficients, spectrum)
    assert slots_by_energy(footage, components, config) == (3, 0, 1)


def test_dynamics_carry_what_follows_the_structure() -> None:
    plan = plan_slots((2, 1, 0, 1), CONFIG)
    assert plan.frequencies == (0, 0, 1, 3)
    assert plan.structure == (range(4), range(4, 8), range(4), range(4))
    assert plan.dynamics == (range(8, 10), range(10, 12), range(4, 6), range(4, 6))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"structure_blocks": 1}, "downsampling"),
        ({"dynamics_blocks": 1}, "downsampling"),
        ({"encoder": TransformerConfig(128, 2, 4, causal=True)}, "not causal"),
        ({"decoder": TransformerConfig(128, 1, 4, causal=False)}, "two blocks"),
        ({"qformer": dataclasses.replace(CONFIG.qformer, num_queries=3)}, "query slots"),
        ({"decoder": TransformerConfig(64, 2, 4, causal=False)}, "too narrow"),
        ({"decoder": TransformerConfig(128, 2, 64, causal=False)}, "heads"),
        ({"qformer": dataclasses.replace(CONFIG.qformer, hidden_size=24)}, "Q-Former"),
        ({"qformer": dataclasses.replace(CONFIG.qformer, intermediate_size=8)}, "hidden units"),
        ({"structure_width": 4}, "convolutions"),
        ({"height": 40, "width": 40}, "do not fit"),
    ],
)
def test_what_cannot_be_written_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(VidtwinError, match=words):
        transform_start(clips, dataclasses.replace(CONFIG, **change))  # type: ignore[arg-type]


def test_footage_without_motion_gives_usable_weights() -> None:
    def still() -> Iterator[Tensor]:
        return (batch[:, :, :1].expand(-1, -1, 4, -1, -1) for batch in clips())

    by_energy, by_hand = transform_start(still, CONFIG), transform_start(still, CONFIG, slots=(2, 1, 1))
    source = torch.cat(list(still()))
    for model in (by_energy, by_hand):
        error = (model.decode(model.encode(source)) - source).transpose(1, 2)
        assert psnr(error.numpy()) > 24


def test_footage_is_needed() -> None:
    with pytest.raises(VidtwinError, match="no clips"):
        transform_start(lambda: iter(()), CONFIG)
    with pytest.raises(VidtwinError, match="all patches are the same"):
        transform_start(lambda: iter([torch.zeros(2, 3, 4, 32, 32)]), CONFIG)


@pytest.mark.parametrize("counts", [(4, 1), (0, 4), (5, -1), (1, 1, 1, 0, 1)])
def test_slots_must_add_up(counts: tuple[int, ...]) -> None:
    with pytest.raises(VidtwinError, match="share 4 slots"):
        plan_slots(counts, CONFIG)


def test_the_command_writes_weights(tmp_path: Path) -> None:
    import json

    (tmp_path / "data").mkdir()
    for number, batch in enumerate(clips()):
        levels = ((batch + 1) * 127.5).round().byte().permute(0, 2, 3, 4, 1).flatten(0, 1)
        np.save(tmp_path / "data" / f"{number}.npy", levels.numpy())
    (tmp_path / "config.json").write_text(json.dumps(CONFIG.to_dict()))
    output = tmp_path / "weights.safetensors"
    arguments = ["--config", str(tmp_path / "config.json"), "--clips", "40", "--slots", "2,1,1"]
    run = CliRunner().invoke(command, [str(tmp_path / "data"), str(output), *arguments], catch_exceptions=False)
    assert run.exit_code == 0, run.output
    assert "PSNR" in run.output
    assert load_checkpoint(output).config == CONFIG
