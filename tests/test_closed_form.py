"""The embedded network's construction: an orthonormal transform of whole frames."""

import math

import pytest
import torch
from scipy.fft import dctn
from torch import Tensor

from tools import closed_form
from vidtwin_codec.model import VidTwin
from vidtwin_codec.model.idle import settle
from vidtwin_codec.model.lapping import Lapping

ALL = (1024, 1024, 1024)
FEW = (20, 6, 6)


def noise(rows: int, columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, 16, rows * 32, columns * 32, 3), generator=generator, dtype=torch.uint8)


def pixels(levels: Tensor) -> Tensor:
    return levels.permute(0, 4, 1, 2, 3).float() / 127.5 - 1


@pytest.fixture(scope="module")
def few() -> VidTwin:
    return closed_form.build(FEW)


@torch.inference_mode()
def test_structure_is_a_cosine_transform(few: VidTwin) -> None:
    clip = noise(1, 1)
    latents = few.encode(pixels(clip))
    # one patch: nothing laps, and lines say nothing that the patch does not
    colours = torch.einsum("kc,cthw->kthw", torch.tensor(closed_form.COLOUR_AXES).float(), pixels(clip)[0])
    spectrum = torch.from_numpy(dctn(colours.numpy(), axes=(1, 2, 3), norm="ortho"))
    assert torch.allclose(latents.structure[0, :, 0, 0][:, [0, 20, 26]].T, spectrum[:, :, 0, 0], atol=1e-3)
    assert torch.allclose(latents.structure[0, :, 0, 0, 1], spectrum[0, :, 0, 1], atol=1e-3)
    assert latents.dynamics_x.abs().max() == 0
    assert latents.dynamics_y.abs().max() == 0


@torch.inference_mode()
def test_dynamics_tell_of_light_that_changes_and_not_of_a_thing_that_moves(few: VidTwin) -> None:
    still = pixels(noise(4, 4))[:, :, :1].repeat(1, 1, 16, 1, 1) * 0.5
    flicker = torch.linspace(-0.3, 0.4, 16).view(1, 1, 16, 1, 1)
    assert few.encode(still).dynamics_x.abs().max() < 1e-3
    bright = few.encode(still + flicker)
    assert bright.dynamics_x.abs().amax() > 5
    assert torch.allclose(bright.structure[:, 1:], few.encode(still).structure[:, 1:], atol=2e-3)
    moving = still.clone()
    moving[:, :, 5:9, 32:64, 64:96] += 0.5
    assert few.encode(moving).dynamics_x.abs().max() < 1e-3


@torch.inference_mode()
def test_all_patterns_give_every_level_back() -> None:
    model = closed_form.build(ALL)
    settle(model)  # convolutions of 3072 channels are skipped
    clip = noise(2, 2)
    assert torch.equal(model.decode_levels(model.encode_levels(clip)), clip)


@torch.inference_mode()
def test_the_error_of_latents_is_the_error_of_pixels(few: VidTwin) -> None:
    latents = few.encode(pixels(noise(2, 3)))
    generator = torch.Generator().manual_seed(1)
    moved = torch.randn(latents.structure.shape, generator=generator)
    change = few.decode(latents._replace(structure=latents.structure + moved)) - few.decode(latents)
    assert math.isclose(float(change.square().sum()), float(moved.square().sum()), rel_tol=1e-4)


@torch.inference_mode()
def test_a_row_of_the_dynamics_moves_its_row(few: VidTwin) -> None:
    latents = few.encode(pixels(noise(2, 3)))
    still = latents._replace(dynamics_y=torch.zeros_like(latents.dynamics_y))
    one = still.dynamics_y.clone()
    one[0, 0, 5, 1] = 3.0
    change = few.decode(still._replace(dynamics_y=one)) - few.decode(still)
    assert change[:, :, 5, 48:].abs().min() > 0.01
    assert change[:, :, 5, :16].abs().max() < 1e-5
    assert change[:, :, 6].abs().max() < 1e-5


@torch.inference_mode()
def test_settled_layers_give_the_same_numbers(few: VidTwin) -> None:
    settled = closed_form.build(FEW)
    settle(settled)
    assert settled.encoder is not None
    assert settled.encoder.transformer.idle
    assert settled.encoder.structure.head.passes_means
    clip = pixels(noise(2, 2))
    for ours, theirs in zip(settled.encode(clip), few.encode(clip), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    latents = few.encode(clip)
    assert torch.allclose(settled.decode(latents), few.decode(latents), atol=1e-5)


@torch.inference_mode()
def test_bfloat16_costs_nothing_without_a_filter() -> None:
    model = closed_form.build()
    settle(model)
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")
    scene = [90 + 60 * torch.sin((rows + 2 * t) / 9) * torch.cos((columns - t) / 13) for t in range(16)]
    clip = torch.stack(scene)[None, ..., None].expand(1, 16, 96, 128, 3).round().to(torch.uint8).contiguous()
    exact = model.decode_levels(model.encode_levels(clip))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.decode_levels(model.encode_levels(clip)), exact)


@pytest.mark.parametrize("reach", [2, 4, 12, 16])
def test_lapping_keeps_flat_frames_and_energy(reach: int) -> None:
    lapping = Lapping(32, reach)
    frames = torch.randn(2, 96, 64, 3, generator=torch.Generator().manual_seed(reach))
    filtered = lapping.before(frames.clone())
    assert math.isclose(float(filtered.square().sum()), float(frames.square().sum()), rel_tol=1e-5)
    assert not torch.allclose(filtered, frames, atol=0.1)
    assert torch.allclose(lapping.after(filtered), frames, atol=1e-5)
    flat = torch.full((1, 64, 64, 3), 0.7)
    assert torch.allclose(lapping.before(flat.clone()), flat, atol=1e-6)


def test_footage_decides_on_colours() -> None:
    grey = torch.randn(1, 1, 16, 64, 64, generator=torch.Generator().manual_seed(0)).expand(1, 3, 16, 64, 64)
    assert closed_form.counts_from(grey, 50)[0] == 50
    colourful = torch.randn(1, 3, 16, 64, 64, generator=torch.Generator().manual_seed(0))
    assert min(closed_form.counts_from(colourful, 300)) > 60


def test_steps_are_finer_for_what_stands_still() -> None:
    steps = closed_form.steps()
    assert len(set(steps.structure[1:].ravel().tolist())) == 1
    assert steps.structure[0] / steps.structure[1] == pytest.approx(0.85, rel=1e-3)
    assert steps.structure.shape == (16, 512)
