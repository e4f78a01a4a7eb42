"""Efforts: symbols chosen by rate and distortion, latents moved towards the pixels, files that any decoder reads."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import MakeVideo
from hypothesis import given, settings
from hypothesis import strategies as st
from media_samples import read_all
from micro import noise_clip, pipeline_model
from torch import Tensor, nn

from vidtwin_codec import DecodeOptions, EncodeOptions, VidtwinError, decode_frames, encode
from vidtwin_codec.cli.main import cli
from vidtwin_codec.coding import (
    CODERS,
    CONTEXT,
    Group,
    LatentArrays,
    LatentLayout,
    Steps,
    dequantize,
    pack_group,
    quality_scale,
    quantize,
)
from vidtwin_codec.coding.context import planes, scales
from vidtwin_codec.coding.context.choosing import Chooser
from vidtwin_codec.coding.context.model import Model
from vidtwin_codec.coding.context.tables import TOTAL
from vidtwin_codec.coding.context.tokens import EXTRA_BITS, tokenize
from vidtwin_codec.container import VtwReader
from vidtwin_codec.model import Latents, load_checkpoint
from vidtwin_codec.pipeline.codec import Codec
from vidtwin_codec.pipeline.device import select_device
from vidtwin_codec.refinement import LEVELS, MAX_EFFORT
from vidtwin_codec.refinement.descent import descend
from vidtwin_codec.refinement.refiner import Refiner
from vidtwin_codec.refinement.sensitivity import measure_sensitivity
from vidtwin_codec.refinement.symbols import EXCHANGE, Alternative, choose_symbols

LAYOUT = LatentLayout((3, 4, 4, 2), (3, 4, 4), (3, 4, 4))
CLIPS, TILES = 3, 2


def random_latents(seed: int, spread: float = 1.0) -> LatentArrays:
    """Laplacian, every second clip much like the one before: as latents are."""
    random = np.random.default_rng(seed)
    parts = []
    for shape in LAYOUT.shapes():
        values = random.laplace(scale=spread, size=(CLIPS, TILES, *shape))
        values[1::2] = values[:-1:2] + 0.1 * values[1::2]
        parts.append(values.reshape(-1, *shape).astype(np.float32))
    return LatentArrays(*parts)


def even_steps(size: float) -> Steps:
    return Steps(np.full((3, 2), size), np.full(3, size), np.full(3, size))


def same(one: LatentArrays, other: LatentArrays) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def choose(latents: LatentArrays, weight: float) -> tuple[LatentArrays, float]:
    weights = LatentArrays(*(np.full((1, 1, 1, 1), weight) for _ in range(3)))
    return Chooser(LAYOUT, CLIPS, TILES).choose(latents, weights, quantize(latents, even_steps(1.0)))


def bytes_of(symbols: LatentArrays) -> int:
    return len(CODERS[CONTEXT].encode(symbols, LAYOUT, CLIPS, TILES))


def test_levels_do_more_and_more() -> None:
    assert LEVELS[0].passes == 0
    assert not LEVELS[0].decodes
    for one, more in pairwise(LEVELS):
        assert one != more
        assert (one.passes, one.measured, one.descents) <= (more.passes, more.measured, more.descents)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), spread=st.sampled_from([0.1, 1.0, 30.0, 1e7, 1e30]))
def test_an_infinite_price_of_errors_is_rounding(seed: int, spread: float) -> None:
    latents = random_latents(seed, spread)
    clipped = LatentArrays(*(np.clip(part, -(2**23) + 1, 2**23 - 1) for part in latents))
    assert same(choose(clipped, math.inf)[0], quantize(latents, even_steps(1.0)))


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_cheap_errors_cost_fewer_bytes_and_more_error(seed: int) -> None:
    latents = random_latents(seed)
    found = [choose(latents, price) for price in (math.inf, 12.0, 3.0, 0.0)]
    sizes = [bytes_of(symbols) for symbols, _ in found]
    errors = [sum(float(((a - b) ** 2).sum()) for a, b in zip(latents, s, strict=True)) for s, _ in found]
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)
    assert sizes[-1] < sizes[0] / 2


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), spread=st.sampled_from([0.3, 1.0, 30.0]))
def test_each_symbol_is_the_cheapest_where_the_coder_stands(seed: int, spread: float) -> None:
    """The rule, symbol by symbol, along the walk over what was chosen."""
    latents, price = random_latents(seed, spread), 9.0
    symbols, _ = choose(latents, price)
    start = planes.split(quantize(latents, even_steps(1.0)), LAYOUT, CLIPS, TILES)
    sizes = scales.SCALES[scales.measure(start, LAYOUT.channels)]
    parts = planes.split(symbols, LAYOUT, CLIPS, TILES), planes.split(latents, LAYOUT, CLIPS, TILES)
    for plane, want in zip(*parts, strict=True):
        model = Model(plane, sizes)
        for (step, channel), values, guesses, contexts, _ in model.walk():
            wanted = want.values[step, channel].astype(np.float64)
            near = np.rint(wanted).astype(np.int64)
            options = np.stack([near, near - np.sign(near), near + np.sign(guesses - near), guesses, 0 * near])
            tokens, _ = tokenize(options - guesses)
            bits = np.log2(TOTAL / model.tables.intervals(contexts, tokens)[1]) + EXTRA_BITS[tokens]
            costs = price * ((options - wanted) ** 2 - (near - wanted) ** 2) + bits
            taken = np.where(options == values, costs, np.inf).min(axis=0)
            assert np.all(taken <= costs.min(axis=0) + 1e-6)
            model.tables.learn(contexts, tokenize(values - guesses)[0])


def test_bits_are_those_of_the_coder() -> None:
    """Of the same symbols, when the scales they are coded with are those they were chosen with."""
    latents = random_latents(4, 3.0)
    symbols, bits = choose(latents, math.inf)
    overhead = len(
        CODERS[CONTEXT].encode(LatentArrays(*(np.zeros_like(part) for part in symbols)), LAYOUT, CLIPS, TILES)
    )
    assert bits / 8 < bytes_of(symbols) < bits / 8 + overhead + 4


def test_without_passes_symbols_are_the_nearest_ones() -> None:
    latents, steps = random_latents(1), even_steps(0.3)
    assert same(choose_symbols(latents, steps, LAYOUT, clips=CLIPS, tiles=TILES, passes=0), quantize(latents, steps))


@pytest.mark.parametrize("passes", [0, 1])
def test_latents_that_are_not_numbers_are_told(passes: int) -> None:
    latents = random_latents(1)
    latents.dynamics_x[2, 1, 0, 0] = np.nan
    with pytest.raises(VidtwinError, match="not finite"):
        choose_symbols(latents, even_steps(0.3), LAYOUT, clips=CLIPS, tiles=TILES, passes=passes)


def test_errors_go_where_they_do_not_show() -> None:
    latents, steps = random_latents(2), even_steps(1.0)
    sensitivity = LatentArrays(np.full((1, 3, 1, 1, 2), 1.0), np.full((1, 3, 1, 1), 0.01), np.zeros((1, 3, 1, 1)))
    symbols = choose_symbols(latents, steps, LAYOUT, clips=CLIPS, tiles=TILES, passes=2, sensitivity=sensitivity)
    error = [float(((a - b) ** 2).mean()) for a, b in zip(latents, dequantize(symbols, steps), strict=True)]
    assert error[0] < 0.15  # a step of 1 rounds with 1/12
    assert error[1] > 3 * error[0]
    assert float(np.abs(symbols.dynamics_y).mean()) < 0.1


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), drift=st.sampled_from([0.0, 0.05, 0.3, 2.0]), error=st.sampled_from([0.0, 9.0, 1e9]))
def test_the_alternative_is_taken_where_it_costs_less(seed: int, drift: float, error: float) -> None:
    """With a sensitivity and steps of 1, errors of pixels and of symbols are the same thing."""
    refined, steps = random_latents(seed), even_steps(1.0)
    random = np.random.default_rng(seed + 1)
    means = LatentArrays(*((a + drift * random.normal(size=a.shape)).astype(np.float32) for a in refined))
    sensitivity = LatentArrays(np.ones((1, 3, 1, 1, 2)), np.ones((1, 3, 1, 1)), np.ones((1, 3, 1, 1)))
    options: dict[str, Any] = {"clips": CLIPS, "tiles": TILES, "passes": 2, "sensitivity": sensitivity}
    alone, before = (choose_symbols(latents, steps, LAYOUT, **options) for latents in (refined, means))
    found = choose_symbols(refined, steps, LAYOUT, **options, alternative=Alternative(means, error))
    assert same(found, alone) or same(found, before)

    def cost(symbols: LatentArrays, latents: LatentArrays, more: float) -> float:
        price = 12 / (2 * math.log(2) * 0.5)
        distance = sum(float(((a - b) ** 2).sum()) for a, b in zip(latents, symbols, strict=True))
        return price * (distance + more) + EXCHANGE * 8 * bytes_of(symbols)

    taken = cost(found, refined, 0.0) if same(found, alone) else cost(found, means, error)
    # the rule counts bits, and this bytes: the last few may differ
    assert taken <= min(cost(alone, refined, 0.0), cost(before, means, error)) + EXCHANGE * 8 * 8


class Linear(nn.Module):
    """A decoder that is a matrix: what can be computed on paper."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = matrix

    def decode(self, latents: Latents) -> Tensor:
        flat = torch.cat([part.flatten(1) for part in latents], dim=1)
        return (flat @ self.matrix.T).view(len(flat), 3, 1, 1, -1)


def linear_case(seed: int = 0) -> tuple[Linear, Latents, Tensor]:
    torch.manual_seed(seed)
    size = sum(math.prod(shape) for shape in LAYOUT.shapes())
    model = Linear(torch.randn(3 * 200, size) / 40)
    latents = Latents(*(torch.randn(2, *shape) / 4 for shape in LAYOUT.shapes()))
    return model, latents, torch.rand(2, 3, 1, 1, 200) - 0.5


def test_sensitivity_is_the_energy_of_the_decoders_columns() -> None:
    model, latents, _ = linear_case()
    # columns that do not overlap: one probe is exact
    model.matrix = torch.zeros(3 * 200, model.matrix.shape[1])
    columns = torch.arange(model.matrix.shape[1])
    model.matrix[columns, columns] = torch.linspace(0.1, 2, len(columns))
    found = measure_sensitivity(model, latents)  # type: ignore[arg-type]
    energies = (model.matrix**2).sum(0).double().numpy()
    at = 0
    for part, shape in zip(found, LAYOUT.shapes(), strict=True):
        mine = energies[at : at + math.prod(shape)].reshape(1, *shape).mean(axis=(2, 3), keepdims=True)
        at += math.prod(shape)
        assert part.shape == mine.shape
        assert np.allclose(part, mine, rtol=1e-5)


def test_descent_finds_the_least_squares() -> None:
    model, start, pixels = linear_case()
    matrix = model.matrix
    ones = Latents(*(torch.full((1,) * part.ndim, float((matrix**2).sum(0).mean())) for part in start))
    found = descend(model, start, pixels, ones, 60)  # type: ignore[arg-type]
    solution = torch.linalg.lstsq(matrix.double(), pixels.flatten(1).T.double()).solution
    best = (matrix.double() @ solution - pixels.flatten(1).T).square().sum(0)
    assert bool((found.errors <= 1.001 * best).all())
    assert bool((found.before > 1.5 * best).all())


def test_errors_are_the_same_bits_on_any_number_of_threads() -> None:
    class Still:
        def decode(self, latents: Latents) -> Tensor:
            return latents.structure.flatten()[0].expand(1, 3, 16, 112, 112)

    _, start, _ = linear_case()
    start = Latents(*(part[:1] for part in start))
    ones = Latents(*(torch.ones((1,) * part.ndim) for part in start))
    pixels = torch.rand(8, 1, 3, 16, 112, 112, generator=torch.Generator().manual_seed(0))
    found, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            found.append([descend(Still(), start, clip, ones, 1).before.item() for clip in pixels])  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1] == found[2]


def test_channels_without_sensitivity_stay() -> None:
    model, start, pixels = linear_case()
    some = Latents(*(torch.full((1,) * part.ndim, value) for part, value in zip(start, (0.3, 0.0, 0.3), strict=True)))
    found = descend(model, start, pixels, some, 5).latents  # type: ignore[arg-type]
    assert torch.equal(found.dynamics_x, start.dynamics_x)
    assert not torch.equal(found.structure, start.structure)


@pytest.mark.parametrize("seed", range(3))
def test_descent_makes_no_tile_worse(seed: int) -> None:
    model = pipeline_model(seed)
    pixels = noise_clip(model.config, batch=3, seed=seed)
    start = Latents(*(part.clone() for part in model.encode(pixels)))
    sensitivity = measure_sensitivity(model, start)
    scale = Latents(*(torch.from_numpy(part).float() for part in sensitivity))
    few, more = (descend(model, start, pixels, scale, steps) for steps in (2, 12))
    with torch.inference_mode():
        again = (model.decode(more.latents).clamp(-1, 1) - pixels).square().flatten(1).sum(1).double()
    assert torch.allclose(again, more.errors, rtol=1e-5)
    assert bool((more.errors <= few.errors).all())
    assert bool((few.errors <= few.before).all())
    assert float(more.errors.sum()) < float(more.before.sum())


def test_a_tile_that_is_not_a_number_is_left_alone() -> None:
    model, start, pixels = linear_case()
    start.structure[1, 0, 0, 0, 0] = float("nan")
    ones = Latents(*(torch.ones((1,) * part.ndim) for part in start))
    found = descend(model, start, pixels, ones, 4)  # type: ignore[arg-type]
    assert torch.equal(found.latents.structure[1].isnan(), start.structure[1].isnan())
    assert bool(found.errors[0] < found.before[0])


def test_refining_does_not_depend_on_the_batch(micro_weights: Path) -> None:
    device = select_device("cpu", "float32", "float32")
    frames = np.random.default_rng(0).integers(0, 256, (8, 36, 40, 3), dtype=np.uint8)
    found = []
    for batch in (4, 64):
        codec = Codec(load_checkpoint(micro_weights), device, batch)
        geometry = codec.geometry(40, 36, 8)
        refiner = Refiner(codec, LEVELS[5])
        found.append(refiner.refine(frames, codec.encode(frames, geometry), geometry).latents)
    for one, other in zip(*found, strict=True):
        assert np.allclose(one, other, atol=1e-3)


def encoded(source: Path, target: Path, micro_weights: Path, effort: int) -> bytes:
    options = EncodeOptions(weights=str(micro_weights), device="cpu", effort=effort, audio="none")
    encode(source, target, options)
    return target.read_bytes()


@pytest.mark.parametrize("effort", [0, 1, 3, 5])
def test_any_decoder_reads_any_effort(make_video: MakeVideo, micro_weights: Path, tmp_path: Path, effort: int) -> None:
    source = make_video("in.mp4", size="40x36", frames=10)
    found = encoded(source, tmp_path / "a.vtw", micro_weights, effort)
    assert encoded(source, tmp_path / "b.vtw", micro_weights, effort) == found
    with VtwReader(tmp_path / "a.vtw") as reader:
        assert reader.header.options.get("effort", 0) == effort
    options = DecodeOptions(weights=str(micro_weights), device="cpu")
    decoded = np.concatenate(list(decode_frames(tmp_path / "a.vtw", options)))
    assert decoded.shape == read_all(source).shape


def test_effort_0_rounds_and_nothing_else(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    source = make_video("in.mp4", size="32x32", frames=8)
    encoded(source, tmp_path / "a.vtw", micro_weights, 0)
    codec = Codec(load_checkpoint(micro_weights), select_device("cpu", "float32", "float32"))
    means = codec.encode(read_all(source), codec.geometry(32, 32, 16))
    with VtwReader(tmp_path / "a.vtw") as reader:
        base = Steps(np.full((3, 2), 0.1), np.full(3, 0.1), np.full(3, 0.1))
        assert reader.header.steps == base.scaled(quality_scale(75))
        assert "effort" not in reader.header.options
        group = reader.read_group(0)
    expected = Group(0, 8, 0, 2, 1, quantize(means, base.scaled(quality_scale(75))))
    layout = codec.layout
    assert pack_group(group, layout) == pack_group(expected, layout)


def test_refinement_comes_nearer_to_the_source(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    source = make_video("in.mp4", size="40x36", frames=8)
    reference = read_all(source).astype(float)
    errors = []
    for effort in (3, 7):
        options = EncodeOptions(weights=str(micro_weights), device="cpu", effort=effort, audio="none", quality=95)
        encode(source, tmp_path / f"{effort}.vtw", options)
        frames = list(
            decode_frames(tmp_path / f"{effort}.vtw", DecodeOptions(weights=str(micro_weights), device="cpu"))
        )
        errors.append(float(((np.concatenate(frames) - reference) ** 2).mean()))
    assert errors[1] < 0.97 * errors[0]


@pytest.mark.parametrize("effort", [-1, MAX_EFFORT + 1])
def test_no_other_efforts(effort: int) -> None:
    with pytest.raises(VidtwinError, match="effort"):
        replace(EncodeOptions(), effort=effort)
    wrong = CliRunner().invoke(cli, ["encode", "--effort", str(effort), "a.mp4", "b.vtw"])
    assert wrong.exit_code == 2
