"""Canvases that follow the camera: each clip's own grid comes back, and what both have seen is known."""

from __future__ import annotations

from dataclasses import replace

import coder4_reader
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_latents import LAYOUT, VIDEO, equal, like_video, rounded, some_latents, steps

from vidtwin_codec.coding import LatentArrays, Placement, SparseGroupDecoder, SparseGroupEncoder
from vidtwin_codec.coding.placement import MAX_ORIGIN
from vidtwin_codec.coding.sparse import prior

FRAMES = LAYOUT.dynamics_x[1]


@st.composite
def placements(draw: st.DrawFn) -> Placement | None:
    if draw(st.integers(0, 3)) == 0:
        return None
    rows = draw(st.integers(1, 4))
    columns = draw(st.integers(1, 12 // rows))
    near = st.one_of(st.integers(-3, 3), st.integers(-MAX_ORIGIN, MAX_ORIGIN))
    top, left = draw(near), draw(near)
    corners = [[draw(st.integers(0, 8 * size - 1)) for size in (rows, columns)] for _ in range(FRAMES)]
    return Placement(rows, columns, top, left, np.array(corners, np.int16))


def rest(height: int, width: int, top: int = 0, left: int = 0, frames: int = FRAMES) -> Placement:
    return Placement(height, width, top, left, np.zeros((frames, 2), np.int16))


@settings(max_examples=30)
@given(
    paths=st.lists(placements(), min_size=1, max_size=4),
    seed=st.integers(0, 999),
    spread=st.sampled_from([0.1, 0.5, 20.0]),
    rdo=st.booleans(),
)
def test_every_clip_comes_back_on_its_canvas(
    paths: list[Placement | None], seed: int, spread: float, rdo: bool
) -> None:
    encoder = SparseGroupEncoder(LAYOUT, 1, steps(LAYOUT), rdo=rdo)
    chosen = []
    for number, path in enumerate(paths):
        grid = LAYOUT if path is None else path.grid(LAYOUT)
        chosen.append(encoder.add(some_latents(grid, 1, seed + number // 2, spread), path))
    decoder = SparseGroupDecoder(encoder.finish(), LAYOUT, len(paths), 1)
    found = [(symbols, decoder.placement) for symbols in decoder]
    assert [path for _, path in found] == paths
    assert all(equal(a, b) for a, (b, _) in zip(chosen, found, strict=True))


@settings(max_examples=10)
@given(paths=st.lists(placements(), min_size=2, max_size=3), seed=st.integers(0, 999))
def test_the_specification_is_enough(paths: list[Placement | None], seed: int) -> None:
    encoder = SparseGroupEncoder(LAYOUT, 1, steps(LAYOUT), rdo=False)
    given_symbols = []
    for path in paths:
        given_symbols.append(rounded(some_latents(LAYOUT if path is None else path.grid(LAYOUT), 1, seed, 0.7)))
        encoder.add_symbols(given_symbols[-1], path)
    assert LAYOUT.patterns is not None
    found = coder4_reader.read_clips(
        encoder.finish(), prior.FILE, *LAYOUT.shapes(), LAYOUT.patterns.to_json(), clips=len(paths), tiles=1
    )
    for (arrays, canvas), symbols, path in zip(found, given_symbols, paths, strict=True):
        expected = path or rest(*LAYOUT.structure[1:3])
        assert tuple(canvas.canvas) == expected.canvas
        assert canvas.corners(8) == [tuple(corner) for corner in expected.corners.tolist()]
        for flat, array in zip(arrays, symbols, strict=True):
            assert np.array_equal(flat, array.ravel())


def test_a_still_world_seen_by_a_moving_canvas_costs_only_what_is_new() -> None:
    """Latents of a wide world, of which each clip sees 5 columns, one further on than the last."""
    wide = replace(VIDEO, structure=(16, 4, 12, 96), dynamics_x=(3, 16, 12))
    world = np.concatenate([like_video(1, seed).structure[:, :, :, :4] for seed in (0, 2, 4)], axis=3)
    world[:, 1:] = 0
    assert world.shape[1:] == wide.structure
    encoder = SparseGroupEncoder(VIDEO, 1, steps(VIDEO))
    still = SparseGroupEncoder(VIDEO, 1, steps(VIDEO))
    nothing = [np.zeros((1, *shape), np.float32) for shape in VIDEO.shapes()[1:]]
    for left in range(6):
        path = rest(4, 5, -7, left - 3, 16)
        encoder.add(LatentArrays(world[:, :, :, left : left + 5], *nothing), path)
        still.add(LatentArrays(world[:, :, :, left : left + 5], *nothing))
    first, *later = encoder.clip_bits
    assert max(later) < 0.35 * first  # a fifth is new
    assert sum(later) < 0.5 * sum(still.clip_bits[1:])
    encoder.add(LatentArrays(world[:, :, :, 5:10], *nothing), path)
    assert encoder.clip_bits[-1] < 0.01 * first


def test_a_path_takes_few_bytes() -> None:
    nothing = LatentArrays(*(np.zeros((1, *shape), np.float32) for shape in VIDEO.shapes()))
    rows = np.array([0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0])
    encoder = SparseGroupEncoder(VIDEO, 1, steps(VIDEO))
    for _ in range(16):
        encoder.add(nothing)
    moving = SparseGroupEncoder(VIDEO, 1, steps(VIDEO))
    for clip in range(6):
        columns = 3 * (16 * clip + np.arange(16)) + rows[::-1]
        left = int(columns[0]) // 32
        corners = np.stack([rows, columns - 32 * left], axis=1).astype(np.int16)
        moving.add(nothing, Placement(4, 5, 0, left, corners))
    assert max(encoder.clip_bits[12:]) < 0.5
    assert max(moving.clip_bits[1:]) < 8 * 12


def test_weights_say_where_nothing_is_spent() -> None:
    latents = like_video(1)
    weights = np.ones((4, 5), np.float32)
    weights[:2], weights[3] = 0, 0.1
    encoder = SparseGroupEncoder(VIDEO, 1, steps(VIDEO))
    everywhere = SparseGroupEncoder(VIDEO, 1, steps(VIDEO)).add(latents).structure
    found = encoder.add(LatentArrays(*(part[:1] for part in latents)), weights=weights).structure
    assert not found[:, :, :2].any()
    assert np.count_nonzero(found[:, :, 2]) > 0.8 * np.count_nonzero(everywhere[:, :, 2])
    assert np.count_nonzero(found[:, :, 3]) < 0.7 * np.count_nonzero(everywhere[:, :, 3])
    with pytest.raises(ValueError, match="weights"):
        encoder.add(latents, weights=2 * weights)
    with pytest.raises(ValueError, match="weights"):
        encoder.add(latents, weights=weights[:, 1:])


@pytest.mark.parametrize(
    "bad",
    [
        rest(0, 3),
        rest(4, 4),
        rest(2, 3, MAX_ORIGIN + 1),
        rest(2, 3, 0, -MAX_ORIGIN - 1),
        rest(2, 3, frames=5),
        Placement(2, 3, 0, 0, np.full((FRAMES, 2), 16, np.int16)),
        Placement(2, 3, 0, 0, np.full((FRAMES, 2), -1, np.int16)),
        Placement(2, 3, 0, 0, np.zeros((FRAMES, 2), np.int32)),  # type: ignore[arg-type]
    ],
)
def test_placements_that_no_file_may_hold_are_refused(bad: Placement) -> None:
    with pytest.raises(ValueError, match=r"canvas|corner"):
        SparseGroupEncoder(LAYOUT, 1, steps(LAYOUT)).add_symbols(rounded(some_latents(LAYOUT, 1)), bad)
    with pytest.raises(ValueError, match="one tile"):
        SparseGroupEncoder(LAYOUT, 2, steps(LAYOUT)).add_symbols(rounded(some_latents(LAYOUT, 2)), rest(2, 3))


@settings(max_examples=40)
@given(paths=st.lists(placements(), min_size=2, max_size=3), data=st.data())
def test_damage_is_refused_or_gives_other_symbols(paths: list[Placement | None], data: st.DataObject) -> None:
    encoder = SparseGroupEncoder(LAYOUT, 1, steps(LAYOUT))
    for path in paths:
        encoder.add(some_latents(LAYOUT if path is None else path.grid(LAYOUT), 1), path)
    body = bytearray(encoder.finish())
    at = data.draw(st.integers(1, min(len(body) - 1, 40)))
    if data.draw(st.booleans()):
        body[at] ^= data.draw(st.integers(1, 255))
    else:
        body[at:] = data.draw(st.binary(max_size=200))
    try:
        decoder = SparseGroupDecoder(bytes(body), LAYOUT, len(paths), 1)
        for symbols in decoder:
            path = decoder.placement
            if path is not None:
                path.check(LAYOUT)
            (LAYOUT if path is None else path.grid(LAYOUT)).check(symbols, 1)
    except ValueError:
        return
