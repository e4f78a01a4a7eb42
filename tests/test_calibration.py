"""Base steps from the decoder's sensitivity, and the choice between these and the posterior's."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from micro import micro_config, micro_model, noise_clip, pipeline_model

from vidtwin_codec.calibration import scope, sensitivity
from vidtwin_codec.calibration.scope import FULL, SPARING, counted, scope_for, spread
from vidtwin_codec.calibration.sensitivity import squared_derivatives
from vidtwin_codec.calibration.steps import GRID, calibrate
from vidtwin_codec.calibration.trial import DEFAULT_LOSS, OCTAVES, RatePoint, Trial, change, factor_for_default
from vidtwin_codec.coding import DEFAULT_QUALITY, Steps, quality_scale
from vidtwin_codec.model import Latents, TransformerConfig, VidTwin, VidTwinConfig
from vidtwin_codec.model.vidtwin import Posterior
from vidtwin_codec.training.network import PRESET_CONFIGS
from vidtwin_codec.weights import resolve


class Linear(VidTwin):
    """A network of known sensitivity: latents are coordinates of the clip in an orthonormal basis, times ``1 / gains``.

    The posterior's sigma is the same everywhere.
    """

    def __init__(self, gains: Latents) -> None:
        super().__init__(micro_config(structure_blocks=0, dynamics_blocks=0))
        self.gains = gains
        self.shapes = (self.config.structure_shape, self.config.dynamics_x_shape, self.config.dynamics_y_shape)
        self.clip_shape = (3, self.config.frames, self.config.height, self.config.width)
        generator = torch.Generator().manual_seed(0)
        size = math.prod(self.clip_shape), sum(map(math.prod, self.shapes))
        self.basis = torch.linalg.qr(torch.randn(*size, generator=generator))[0]

    def posterior(self, clip: torch.Tensor) -> Posterior:
        parts = torch.split(clip.flatten(1) @ self.basis, [math.prod(shape) for shape in self.shapes], dim=1)
        shaped = [part.view(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)]
        means = [part / gain.clamp_min(1e-6) for part, gain in zip(shaped, self.gains, strict=True)]
        return Posterior(Latents(*means), Latents(*(torch.full_like(mean, 2 * math.log(0.01)) for mean in means)))

    def decode(self, latents: Latents, *, only: object = None) -> torch.Tensor:
        weighed = [(part * gain).flatten(1) for part, gain in zip(latents, self.gains, strict=True)]
        return (torch.cat(weighed, dim=1) @ self.basis.T).view(-1, *self.clip_shape)


def gains(*, silent: bool = False) -> Latents:
    structure = torch.tensor([[1.0, 2.0], [4.0, 0.5], [0.25, 0.0 if silent else 1.0]])[:, None, None, :]
    dynamics = torch.tensor([0.1, 0.2, 0.4])[:, None, None]
    return Latents(structure, dynamics, dynamics * 3)


def latents_of(model: VidTwin, count: int) -> list[Latents]:
    with torch.no_grad():
        return [model.encode(noise_clip(model.config, seed=seed)) for seed in range(count)]


def test_the_squares_of_a_linear_decoder_are_found() -> None:
    model = Linear(gains(silent=True))
    found = sensitivity.measure(model, latents_of(model, 64))
    for part, gain in zip(found, model.gains, strict=True):
        expected = gain.square().squeeze().numpy()
        assert part.shape == expected.shape
        assert np.allclose(part, expected, rtol=0.25)
        assert (part[expected == 0] == 0).all()


def test_they_are_those_of_small_perturbations() -> None:
    """Against one perturbation a channel, on a network that is not linear."""
    model = pipeline_model()
    found = sensitivity.measure(model, latents_of(model, 8))
    means = latents_of(model, 1)[0]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        decoded = model.decode(means)
        for slot in range(3):
            noise = 1e-3 * torch.randn(64, *means.structure.shape[2:4], generator=generator)
            moved = means.structure.repeat(64, 1, 1, 1, 1)
            moved[:, slot, :, :, 0] += noise
            rest = (part.repeat(64, *[1] * (part.dim() - 1)) for part in means[1:])
            effect = (model.decode(Latents(moved, *rest)) - decoded).square().sum() / noise.square().sum()
            assert math.isclose(found[0][slot, 0], float(effect), rel_tol=0.35)


def test_steps_make_the_noise_of_the_reference_equally_in_all_channels() -> None:
    squares = (np.array([[1.0, 4.0], [0.25, 0.0]]), np.array([9.0]), np.array([16.0]))
    reference = (np.ones((2, 2)), np.ones(1), np.ones(1))
    elements = (10, 5, 5)
    steps = sensitivity.steps(squares, elements, reference)
    assert steps is not None
    noise = [square * step**2 for square, step in zip(squares, steps, strict=True)]
    heard = np.concatenate([part[part > 0] for part in noise])
    assert np.allclose(heard, heard[0])
    total = [sum(n * part.sum() for n, part in zip(elements, each, strict=True)) for each in (noise, squares)]
    assert math.isclose(*total)
    assert steps[0][1, 1] == sensitivity.SILENT_STEP
    nothing = tuple(np.zeros_like(part) for part in squares)
    assert sensitivity.steps(nothing, elements, reference) is None
    assert sensitivity.steps((squares[0] * math.nan, *squares[1:]), elements, reference) is None


def smooth_clips(model: Linear, count: int = 6) -> list[torch.Tensor]:
    """Clips that the decoder can make, but for a little noise."""
    pixels, elements = model.basis.shape
    generator = torch.Generator().manual_seed(3)
    codes, noise = (torch.randn(count, size, generator=generator) for size in (elements, pixels))
    return list((codes @ model.basis.T + 0.02 * noise).view(count, 1, *model.clip_shape))


def test_the_decoders_steps_are_kept_where_they_take_fewer_bytes() -> None:
    model = Linear(gains())
    found = calibrate(model, smooth_clips(model))
    assert any("from the decoder's sensitivity: -" in note for note in found.notes)
    # gains of 4 and 0.25 in slots 1 and 2: sixteen times the step, on the grid
    ratio = found.steps.structure[2, 0] / found.steps.structure[1, 0]
    assert math.isclose(math.log2(ratio), 4, abs_tol=3 / GRID)


def test_the_default_quality_costs_what_it_is_to_cost() -> None:
    model = Linear(gains())
    clips = smooth_clips(model)
    steps = calibrate(model, clips).steps
    trial = Trial(model, clips, [model.encode(clip) for clip in clips])
    loss = trial.unquantized - trial.curve(steps)[OCTAVES.index(0)].psnr
    assert math.isclose(loss, DEFAULT_LOSS, rel_tol=0.35)


def test_where_the_posterior_is_as_good_its_steps_stay() -> None:
    flat = Latents(torch.ones(3, 1, 1, 2), torch.ones(3, 1, 1), torch.ones(3, 1, 1))
    model = Linear(flat)
    found = calibrate(model, smooth_clips(model)).steps
    spread = np.concatenate([np.log2(part).ravel() for part in (found.structure, found.dynamics_x, found.dynamics_y)])
    assert np.ptp(spread) <= 3 / GRID, "equal gains and equal sigmas make equal steps"


def test_curves_are_compared_at_equal_psnr() -> None:
    anchor = [RatePoint(1000 * 2**n, 30.0 + n) for n in range(5)]
    assert change(anchor, anchor) == 0
    assert math.isclose(change(anchor, [RatePoint(point.bytes // 2, point.psnr) for point in anchor]) or 0, -0.5)
    shifted = change(anchor, [RatePoint(point.bytes, point.psnr + 1) for point in anchor])
    assert math.isclose(shifted or 0, -0.5)
    assert change(anchor, [RatePoint(point.bytes, point.psnr + 10) for point in anchor]) is None


@pytest.mark.parametrize(("factor", "expected"), [(1.0, 1.0), (2.0, 0.5), (0.5, 2.0), (100.0, 2.0**-1.5)])
def test_the_factor_brings_the_default_to_its_loss(factor: float, expected: float) -> None:
    curve = [RatePoint(1, 40 - DEFAULT_LOSS * (factor * 2.0**octave) ** 2) for octave in OCTAVES]
    assert math.isclose(factor_for_default(curve, 40.0), expected, rel_tol=1e-6)


class Switching(Linear):
    """Whose structure channel (2, 1) has no slope: its sign alone turns the picture over."""

    def decode(self, latents: Latents, *, only: object = None) -> torch.Tensor:
        told = latents.structure[:, 2, :, :, 1].mean(dim=(1, 2)).sign()
        return super().decode(latents, only=only) * (1 + told)[:, None, None, None, None]


def test_a_channel_that_only_tells_one_of_two_things_apart_is_not_silenced() -> None:
    model = Switching(gains(silent=True))
    latents = latents_of(model, 4)
    for number, one in enumerate(latents):
        one.structure[:, 2, :, :, 1] = 3.0 if number % 2 else -3.0
    squares = sensitivity.measure(model, latents)
    reference = (np.full((3, 2), 0.5), np.full(3, 0.5), np.full(3, 0.5))
    wide = tuple(np.full_like(part, 100.0) for part in reference)
    squares[0][2, 1] = 1e-9  # all but flat
    steps = sensitivity.checked(model, latents, squares, wide, reference)
    assert steps[0][2, 1] == 0.5
    faint = np.ones((3, 2), dtype=bool)
    faint[2, 1] = False
    assert (steps[0][faint] == 100.0).all(), "what the derivatives foretell is believed"
    assert (steps[1] == 100.0).all()
    assert (wide[0] == 100.0).all(), "its input is left alone"


def test_few_trials_find_the_channel_that_matters_by_halving() -> None:
    names = [(0, (number, 0)) for number in range(8)]
    tried: list[int] = []

    def borne(group: Sequence[sensitivity.Channel]) -> bool:
        tried.append(len(group))
        return names[5] not in group

    assert sensitivity._bisected(names, borne, 20) == {*names} - {names[5]}
    assert tried == [8, 4, 4, 2, 2, 1, 1]
    assert sensitivity._bisected(names, borne, 2) == {*names[:4]}, "what was not tried is not believed"
    assert sensitivity._bisected([], borne, 2) == set()


@pytest.mark.parametrize("checks", [None, 8])
def test_a_switch_keeps_its_step_with_many_trials_and_with_few(checks: int | None) -> None:
    model = Switching(gains(silent=True))
    latents = latents_of(model, 4)
    for number, one in enumerate(latents):
        one.structure[:, 2, :, :, 1] = 3.0 if number % 2 else -3.0
    squares = sensitivity.measure(model, latents)
    squares[0][2, 1] = 1e-9
    reference = (np.full((3, 2), 0.5), np.full(3, 0.5), np.full(3, 0.5))
    wide = (reference[0].copy(), *reference[1:])
    wide[0][2] = 100.0
    found = sensitivity.checked(
        model, latents, squares, wide, reference, scope=dataclasses.replace(FULL, checks=checks)
    )
    assert found[0][2].tolist() == [100.0, 0.5]


def test_only_networks_as_large_as_the_released_one_are_calibrated_sparingly() -> None:
    assert scope_for(PRESET_CONFIGS["base"]) is SPARING
    for name in ("compact", "small"):
        assert scope_for(PRESET_CONFIGS[name]) is FULL
    assert scope_for(VidTwinConfig.from_dict(resolve("mini").metadata.config)) is FULL
    clips = [torch.full((1,), float(number)) for number in range(20)]
    assert [int(clip) for clip in spread(clips, SPARING.clips)] == [0, 3, 6, 10, 13, 16]
    assert spread(clips, None) == clips
    assert SPARING.runs(4) == 4 + 2 * 7 + 4 * 2 + 9
    assert FULL.runs(1) == 1 + 11 + 17 + 1


def test_a_way_back_is_counted_and_goes_through_python_at_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = runs = 0

    def ran() -> None:
        nonlocal runs
        runs += 1

    def listen(gradient: torch.Tensor) -> None:
        nonlocal heard
        heard += 1

    monkeypatch.setattr(scope, "_listen", listen)
    side = TransformerConfig(hidden_size=16, depth=3, num_heads=2)
    model = micro_model(decoder=side)
    with counted(model, ran):
        latents = model.encode(noise_clip(model.config))
        assert (runs, heard) == (1, 0)
        squared_derivatives(model, latents, torch.Generator(), passes=2)
    assert (runs, heard) == (1 + 1 + 2, 2 * 3)
    model.decode(latents)
    assert runs == 4, "the hooks are gone"


def test_a_silent_channel_is_zero_at_every_quality() -> None:
    steps = Steps(np.full((1, 1), sensitivity.SILENT_STEP), np.ones(1), np.ones(1))
    for quality in (0, DEFAULT_QUALITY, 100):
        assert steps.scaled(quality_scale(quality)).structure[0, 0] > 1000
