"""Quantisation steps, symbols and the quality scale."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidtwin_codec.coding import (
    BASE_QUALITY,
    MAX_SYMBOL,
    LatentArrays,
    LatentLayout,
    Steps,
    dequantize,
    quality_scale,
    quantize,
)
from vidtwin_codec.coding.steps import MAX_STEP, MIN_STEP
from vidtwin_codec.errors import VidtwinError

LAYOUT = LatentLayout((3, 2, 4, 2), (2, 5, 3), (2, 5, 4))


def some_steps(seed: int = 0) -> Steps:
    values = np.random.default_rng(seed)
    return Steps(values.uniform(0.01, 3, (3, 2)), values.uniform(0.01, 3, 2), values.uniform(0.01, 3, 2))


def some_latents(seed: int = 0, scale: float = 4.0) -> LatentArrays:
    values = np.random.default_rng(seed)
    return LatentArrays(*(values.normal(scale=scale, size=(6, *shape)).astype(np.float32) for shape in LAYOUT.shapes()))


def test_layout_counts_elements_and_channels() -> None:
    released = LatentLayout((16, 7, 7, 8), (8, 16, 7), (8, 16, 7))
    assert released.elements == 8064
    assert released.channels == 16 * 8 + 8 + 8
    assert LatentLayout.from_json(released.to_json()) == released


@pytest.mark.parametrize(
    "sizes",
    [
        {"structure": [0, 7, 7, 8]},
        {"structure": [16, 7, 7]},
        {"structure": [16, 7, 7, 8.0]},
        {"structure": [True, 7, 7, 8]},
        {"structure": [60000, 60000, 60000, 60000]},
        {"structure": [60000, 1, 1, 100]},
        {"dynamics_x": [8, 15, 7]},
        {"dynamics_y": "abc"},
        {"dynamics_y": [-1, 16, 7]},
    ],
)
def test_layout_refuses_impossible_sizes(sizes: dict[str, object]) -> None:
    released = LatentLayout((16, 7, 7, 8), (8, 16, 7), (8, 16, 7)).to_json()
    with pytest.raises(VidtwinError, match="latent layout"):
        LatentLayout.from_json(released | sizes)


@pytest.mark.parametrize("value", [None, [], "x", {"structure": [1, 1, 1, 1]}])
def test_layout_refuses_other_json(value: object) -> None:
    with pytest.raises(VidtwinError, match="latent layout"):
        LatentLayout.from_json(value)


def test_steps_hold_what_a_file_stores() -> None:
    steps = some_steps()
    stored = steps.to_bytes()
    assert len(stored) == 2 * LAYOUT.channels
    assert Steps.from_bytes(stored, LAYOUT) == steps
    assert np.array_equal(steps.structure, steps.structure.astype(np.float16))
    assert Steps.from_json(steps.to_json()) == steps
    assert hash(Steps.from_bytes(stored, LAYOUT)) == hash(steps)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf"), MIN_STEP / 2, MAX_STEP * 2])
def test_steps_refuse_what_float16_cannot_hold(bad: float) -> None:
    with pytest.raises(VidtwinError, match="must lie between"):
        Steps(np.full((3, 2), 1.0), np.array([1.0, bad]), np.ones(2))


def test_steps_refuse_wrong_shapes_and_lengths() -> None:
    with pytest.raises(VidtwinError, match="shape"):
        Steps(np.ones(6), np.ones(2), np.ones(2))
    with pytest.raises(VidtwinError, match="bytes, expected"):
        Steps.from_bytes(b"\0" * 6, LAYOUT)
    with pytest.raises(VidtwinError, match="do not fit"):
        Steps(np.ones((2, 2)), np.ones(2), np.ones(2)).check(LAYOUT)
    for value in ([], {}, {"structure": [[1], [1, 2]], "dynamics_x": [1], "dynamics_y": [1]}):
        with pytest.raises(VidtwinError, match="quantisation steps"):
            Steps.from_json(value)
    with pytest.raises(VidtwinError, match="must lie between"):  # and not a warning that 1e308 is no float32
        Steps.from_json({"structure": [[1e308]], "dynamics_x": [1], "dynamics_y": [1]})


def test_scaling_keeps_steps_storable() -> None:
    steps = some_steps()
    assert np.allclose(steps.scaled(2.0).structure, 2 * steps.structure, rtol=1e-3)
    assert steps.scaled(1e-9).structure.max() == MIN_STEP
    assert steps.scaled(1e9).structure.min() == MAX_STEP
    for factor in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(VidtwinError, match="scaled"):
            steps.scaled(factor)


def test_quality_scale_is_monotone_and_wide() -> None:
    scales = [quality_scale(quality) for quality in range(101)]
    assert quality_scale(BASE_QUALITY) == 1.0
    assert all(finer < coarser for coarser, finer in itertools.pairwise(scales))
    assert scales[0] > 14
    assert scales[100] < 1 / 9
    for quality in (-1, 100.5, float("nan")):
        with pytest.raises(VidtwinError, match="out of range"):
            quality_scale(quality)


@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 1000))
def test_quantisation_error_is_at_most_half_a_step(seed: int, scale: float) -> None:
    steps, latents = some_steps(seed), some_latents(seed, scale)
    symbols = quantize(latents, steps)
    assert all(array.dtype == np.int32 for array in symbols)
    restored = dequantize(symbols, steps)
    assert all(array.dtype == np.float32 for array in restored)
    widths = (steps.structure[:, None, None, :], steps.dynamics_x[:, None, None], steps.dynamics_y[:, None, None])
    for before, after, width in zip(latents, restored, widths, strict=True):
        # float32 rounding of the quotient and the product
        slack = 4 * np.finfo(np.float32).eps * np.abs(before)
        assert np.all(np.abs(before - after) <= width / 2 + slack)


@given(seed=st.integers(0, 1000))
def test_symbols_survive_another_round(seed: int) -> None:
    steps = some_steps(seed)
    symbols = quantize(some_latents(seed), steps)
    again = quantize(dequantize(symbols, steps), steps)
    assert all(np.array_equal(a, b) for a, b in zip(symbols, again, strict=True))


def test_ties_go_to_even() -> None:
    steps = Steps(np.full((3, 2), 2.0), np.ones(2), np.ones(2))
    latents = LatentArrays(*(np.full((1, *shape), 5.0, np.float32) for shape in LAYOUT.shapes()))
    assert np.all(quantize(latents, steps).structure == 2)


def test_symbols_are_clipped_to_the_safe_range() -> None:
    steps = some_steps().scaled(1e-9)
    huge = LatentArrays(*(np.full((1, *shape), -3e38, np.float32) for shape in LAYOUT.shapes()))
    assert np.all(quantize(huge, steps).dynamics_x == -MAX_SYMBOL)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_latents_that_are_not_numbers_are_refused(bad: float) -> None:
    latents = some_latents()
    latents.dynamics_y[2, 1, 0, 0] = bad
    with pytest.raises(VidtwinError, match="not finite"):
        quantize(latents, some_steps())


def test_neither_coding_nor_container_imports_torch() -> None:
    code = "import sys, vidtwin_codec.container, vidtwin_codec.coding; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
