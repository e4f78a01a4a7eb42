"""The sparse coder: what goes in comes out, whatever the layout; damage is refused; the specification says enough."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import coder4_reader
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sparse_latents import LAYOUT, VIDEO, equal, like_video, one, rounded, some_latents, steps

from vidtwin_codec.coding import (
    CODERS,
    LATEST_CODER,
    MAX_SYMBOL,
    SPARSE,
    Group,
    LatentArrays,
    LatentLayout,
    SparseGroupDecoder,
    SparseGroupEncoder,
    pack_group,
    unpack_group,
)
from vidtwin_codec.coding.patterns import Patterns
from vidtwin_codec.coding.sparse import binary, jit, prior
from vidtwin_codec.coding.sparse.coder import ending
from vidtwin_codec.errors import VidtwinError

ROOT = Path(__file__).parent.parent


@st.composite
def sparse_layouts(draw: st.DrawFn) -> LatentLayout:
    size = draw(st.sampled_from([2, 3, 4, 8, 32, 64]))
    counts = tuple(draw(st.integers(0, min(size**2, 20))) for _ in range(3))
    counts = counts if any(counts) else (1, 0, 0)
    slots, h, w, channels, frames = (draw(st.integers(1, most)) for most in (18, 3, 3, 2, 4))
    patterns = Patterns(size, (counts[0], counts[1], counts[2]))
    return LatentLayout((slots, h, w, sum(counts)), (channels, frames, w), (channels, frames, h), patterns)


@settings(max_examples=40)
@given(
    layout=sparse_layouts(),
    counts=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    seed=st.integers(0, 9999),
    spread=st.sampled_from([0.0, 0.1, 0.5, 3.0, 100.0, 1e6, 1e8]),
)
def test_any_group_comes_back(layout: LatentLayout, counts: tuple[int, int], seed: int, spread: float) -> None:
    clips, tiles = counts
    symbols = rounded(some_latents(layout, clips * tiles, seed, spread))
    symbols.structure[-tiles:] = symbols.structure[:tiles]
    group = Group(0, clips, 0, clips, tiles, symbols)
    back = unpack_group(pack_group(group, layout), layout, max_clips=clips, max_tiles=tiles)
    assert equal(back.symbols, symbols)


@settings(max_examples=25)
@given(
    layout=sparse_layouts(), seed=st.integers(0, 9999), spread=st.sampled_from([0.3, 2.0, 1e4, 1e9]), rdo=st.booleans()
)
def test_chosen_symbols_are_those_that_are_read(layout: LatentLayout, seed: int, spread: float, rdo: bool) -> None:
    encoder = SparseGroupEncoder(layout, 2, steps(layout), rdo=rdo)
    chosen = [encoder.add(some_latents(layout, 2, seed + clip, spread)) for clip in range(2)]
    body = encoder.finish()
    read = list(SparseGroupDecoder(body, layout, 2, 2))
    assert len(read) == 2
    assert all(equal(a, b) for a, b in zip(chosen, read, strict=True))
    assert sum(encoder.clip_bits) <= 8 * len(body) <= sum(encoder.clip_bits) + 24
    assert all(bits >= 0 for bits in encoder.clip_bits)


@settings(max_examples=6)
@given(layout=sparse_layouts(), seed=st.integers(0, 9999), spread=st.sampled_from([0.4, 20.0, 1e6]))
def test_the_specification_is_enough(layout: LatentLayout, seed: int, spread: float) -> None:
    symbols = rounded(some_latents(layout, 4, seed, spread))
    symbols.structure[2:] = np.where(np.arange(symbols.structure.shape[-1]) % 3, symbols.structure[:2], 0)
    body = CODERS[SPARSE].encode(symbols, layout, 2, 2)
    assert layout.patterns is not None
    found = coder4_reader.read(body, prior.FILE, *layout.shapes(), layout.patterns.to_json(), clips=2, tiles=2)
    for flat, array in zip(found, symbols, strict=True):
        assert np.array_equal(flat, array.ravel())


def test_edges_of_every_range_come_back() -> None:
    symbols = rounded(some_latents(LAYOUT, 4))
    edges = [0, 1, -1, 14, -14, 15, -15, 16, 17, 255, 1 << 15, MAX_SYMBOL, -MAX_SYMBOL, MAX_SYMBOL - 1]
    symbols.structure.flat[: len(edges)] = edges
    symbols.structure.flat[-len(edges) :] = edges[::-1]  # far from the clip before
    symbols.dynamics_x.flat[-len(edges) :] = edges
    body = CODERS[SPARSE].encode(symbols, LAYOUT, 2, 2)
    assert equal(CODERS[SPARSE].decode(memoryview(body), LAYOUT, 2, 2), symbols)


def test_it_is_the_coder_of_layouts_with_patterns_alone() -> None:
    dense = LatentLayout(LAYOUT.structure, LAYOUT.dynamics_x, LAYOUT.dynamics_y)
    assert (SPARSE, LATEST_CODER) == (4, 5)
    assert CODERS[SPARSE].fits(LAYOUT, 1)
    assert not CODERS[SPARSE].fits(dense, 1)
    with pytest.raises(ValueError, match="cannot code"):
        pack_group(Group(0, 1, 0, 1, 1, rounded(some_latents(dense, 1))), dense, coder=SPARSE)


def test_choosing_takes_fewer_bits_than_rounding_at_equal_error() -> None:
    """Rounding at a step that gives the same error costs a quarter more."""
    latents = like_video(3)

    def cost(size: float, rdo: bool) -> tuple[float, float]:
        encoder = SparseGroupEncoder(VIDEO, 1, steps(VIDEO, size), rdo=rdo)
        error = 0.0
        for clip in range(3):
            found = encoder.add(one(latents, clip)).structure * np.float32(size)
            error += float(((found - latents.structure[clip]) ** 2).sum())
        return sum(encoder.clip_bits), error

    bits, error = cost(1.0, rdo=True)
    rounding = np.array([cost(size, rdo=False) for size in (0.9, 1.0, 1.15, 1.3, 1.5)])
    at_equal_error = float(np.interp(np.log(error), np.log(rounding[:, 1]), np.log(rounding[:, 0])))
    assert rounding[0, 1] < error < rounding[-1, 1]
    assert np.log(bits) < at_equal_error - 0.05


def test_what_stands_still_is_free() -> None:
    first = LatentArrays(*(np.zeros((1, *shape), np.float32) for shape in VIDEO.shapes()))
    first.structure[:, 0] = like_video(1).structure[:, 0]
    encoder = SparseGroupEncoder(VIDEO, 1, steps(VIDEO))
    for _ in range(10):
        encoder.add(first)
    assert sum(encoder.clip_bits[2:]) < 0.01 * encoder.clip_bits[0]


def test_a_clip_that_goes_on_where_the_last_ended_costs_less() -> None:
    """Played backwards it costs more, though half of its signs are all that changes."""
    frames = np.arange(16)
    cosines = np.cos(np.pi * frames[:, None] * (2 * frames + 1) / 32) * np.where(frames, 1, np.sqrt(0.5))[:, None] / 2
    walk = np.random.default_rng(3).normal(size=(32, *VIDEO.structure[1:])).cumsum(axis=0)
    first, second = (np.tensordot(cosines, part, 1)[None].astype(np.float32) for part in np.split(walk, 2))
    backwards = second * np.where(frames % 2, -1, 1)[:, None, None, None].astype(np.float32)
    nothing = [np.zeros((1, *shape), np.float32) for shape in VIDEO.shapes()[1:]]

    def cost(*clips: NDArray[np.float32]) -> float:
        encoder = SparseGroupEncoder(VIDEO, 1, steps(VIDEO, 2.0), rdo=False)
        for clip in clips:
            encoder.add(LatentArrays(clip, *nothing))
        return encoder.clip_bits[-1]

    assert cost(first, second) < 0.985 * cost(first, backwards)
    assert abs(cost(second) - cost(backwards)) < 0.01 * cost(second)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_latents_that_are_no_numbers_are_refused(bad: float) -> None:
    latents = some_latents(LAYOUT, 1)
    latents.structure[0, 1, 0, 0, 2] = bad
    with pytest.raises(VidtwinError, match="not finite"):
        SparseGroupEncoder(LAYOUT, 1, steps(LAYOUT)).add(latents)


@settings(max_examples=40)
@given(data=st.data())
def test_damage_is_refused_or_gives_other_symbols(data: st.DataObject) -> None:
    symbols = rounded(some_latents(LAYOUT, 4, spread=1.0))
    body = bytearray(CODERS[SPARSE].encode(symbols, LAYOUT, 2, 2))
    whole = len(body)
    kind = data.draw(st.sampled_from(["flip", "cut", "more", "noise"]))
    at = data.draw(st.integers(1, len(body) - 1))
    if kind == "flip":
        body[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del body[at:]
    elif kind == "more":
        body += data.draw(st.binary(min_size=1, max_size=9))
    else:
        body[at:] = data.draw(st.binary(max_size=200))
    try:
        found = CODERS[SPARSE].decode(memoryview(bytes(body)), LAYOUT, 2, 2)
    except ValueError:
        return
    assert kind != "cut" or at > whole - 6  # nearly every end of a stream is that of some symbols; more is missed
    assert all(int(np.abs(array).max()) <= MAX_SYMBOL for array in found)


@pytest.mark.parametrize("body", [b"", b"\x50", b"\x50" + bytes(40), b"\x50" + b"\xff" * 40])
def test_bodies_that_are_nothing_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"byte|end|range|canvas"):
        list(SparseGroupDecoder(body, VIDEO, 3, 1))


@given(low=st.integers(0, 2**40 - 1), size=st.integers(0, 2**40))
def test_the_ending_lies_in_the_interval(low: int, size: int) -> None:
    high = min(low + size, 2**40 - 1)
    end = ending(low, high)
    assert low <= int.from_bytes(end.ljust(5, b"\0"), "big") <= high


PROGRAM = """
import sys; sys.path.insert(0, "tests")
import hashlib, numpy as np
from sparse_latents import LAYOUT, one, rounded, some_latents, steps
from vidtwin_codec.coding import CODERS, SPARSE, SparseGroupEncoder
from vidtwin_codec.coding.sparse import jit
encoder = SparseGroupEncoder(LAYOUT, 2, steps(LAYOUT))
latents = some_latents(LAYOUT, 6, spread=1.5)
latents.structure[2, 0, 0, 0, :4] = 3e6, -2e9, 40, 900
latents.dynamics_x[0, 0, 0, :2] = 1e5, -20
symbols = [encoder.add(one(latents, clip, 2)) for clip in range(3)]
digest = hashlib.sha256(encoder.finish() + CODERS[SPARSE].encode(rounded(latents), LAYOUT, 3, 2))
for part in symbols:
    digest.update(b"".join(array.tobytes() for array in part))
print(jit.COMPILED, digest.hexdigest())
"""


def test_plain_python_writes_the_same_bytes() -> None:
    found = []
    for extra in ({}, {"VIDTWIN_NO_NUMBA": "1"}):
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env={**os.environ, **extra},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        found.append(run.stdout.split())
    assert found[1][0] == "False"
    assert found[0][1] == found[1][1]


def test_the_prior_is_that_of_the_specification() -> None:
    text = (ROOT / "docs" / "FORMAT.md").read_text(encoding="utf-8")
    data = prior.load()
    assert hashlib.sha256(prior.FILE.read_bytes()).hexdigest() in text
    assert f"[{len(data.states)}]" in text
    assert f"[{len(data.weights)}]" in text
    assert prior.FILE.stat().st_size < 150_000


@pytest.mark.skipif(not jit.COMPILED, reason="there is no numba")
def test_compiled_kernels_count_no_references() -> None:
    # of every array, in every call, it would take twice the time of all the rest
    kernel = binary.cost

    def counts(**options: bool) -> bool:
        compiled = jit._NUMBA.jit(jit._signature(kernel.py_func), **(kernel.targetoptions | options))(kernel.py_func)
        return any("NRT_incref" in text for text in compiled.inspect_llvm().values())

    assert counts(_nrt=True)
    assert not counts()
