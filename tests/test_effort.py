"""Efforts: symbols rounded, or chosen by rate and distortion; files that any decoder reads."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import MakeVideo
from hypothesis import given, settings
from hypothesis import strategies as st
from media_samples import read_all

from vidtwin_codec import DecodeOptions, EncodeOptions, VidtwinError, decode_frames, encode
from vidtwin_codec.cli.main import cli
from vidtwin_codec.coding import (
    CODERS,
    CONTEXT,
    DEFAULT_QUALITY,
    Group,
    LatentArrays,
    LatentLayout,
    Steps,
    pack_group,
    quality_scale,
    quantize,
)
from vidtwin_codec.coding.context import planes, scales
from vidtwin_codec.coding.context.model import Model
from vidtwin_codec.coding.context.rdoq import rdoq
from vidtwin_codec.coding.context.tables import TOTAL
from vidtwin_codec.coding.context.tokens import EXTRA_BITS, tokenize
from vidtwin_codec.coding.effort import MAX_EFFORT, choose_symbols
from vidtwin_codec.container import VtwReader
from vidtwin_codec.model import load_checkpoint
from vidtwin_codec.network.device import select_device
from vidtwin_codec.network.runner import NetworkRunner

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
    return rdoq(latents, weights, quantize(latents, even_steps(1.0)), LAYOUT, clips=CLIPS, tiles=TILES)


def bytes_of(symbols: LatentArrays) -> int:
    return len(CODERS[CONTEXT].encode(symbols, LAYOUT, CLIPS, TILES))


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


def test_without_effort_symbols_are_the_nearest_ones() -> None:
    latents, steps = random_latents(1), even_steps(0.3)
    assert same(choose_symbols(latents, steps, LAYOUT, clips=CLIPS, tiles=TILES, effort=0), quantize(latents, steps))


@pytest.mark.parametrize("effort", [0, 1])
def test_latents_that_are_not_numbers_are_told(effort: int) -> None:
    latents = random_latents(1)
    latents.dynamics_x[2, 1, 0, 0] = np.nan
    with pytest.raises(VidtwinError, match="not finite"):
        choose_symbols(latents, even_steps(0.3), LAYOUT, clips=CLIPS, tiles=TILES, effort=effort)


def encoded(source: Path, target: Path, micro_weights: Path, effort: int) -> bytes:
    options = EncodeOptions(weights=str(micro_weights), device="cpu", effort=effort, audio="none")
    encode(source, target, options)
    return target.read_bytes()


@pytest.mark.parametrize("effort", [0, 1])
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
    network = NetworkRunner(load_checkpoint(micro_weights), select_device("cpu", "float32", "float32"))
    means = network.encode(read_all(source), network.geometry(32, 32, 16))
    with VtwReader(tmp_path / "a.vtw") as reader:
        base = Steps(np.full((3, 2), 0.1), np.full(3, 0.1), np.full(3, 0.1))
        assert reader.header.steps == base.scaled(quality_scale(DEFAULT_QUALITY))
        assert "effort" not in reader.header.options
        group = reader.read_group(0)
    expected = Group(0, 8, 0, 2, 1, quantize(means, base.scaled(quality_scale(DEFAULT_QUALITY))))
    layout = network.layout
    assert pack_group(group, layout) == pack_group(expected, layout)


@pytest.mark.parametrize("effort", [-1, MAX_EFFORT + 1])
def test_no_other_efforts(effort: int) -> None:
    with pytest.raises(VidtwinError, match="effort"):
        replace(EncodeOptions(), effort=effort)
    wrong = CliRunner().invoke(cli, ["encode", "--effort", str(effort), "a.mp4", "b.vtw"])
    assert wrong.exit_code == 2
