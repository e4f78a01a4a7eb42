"""Canvases that hold frames along a path, and what each patch has seen of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from micro import window_config
from pans import picture

from vidtwin_codec.coding import SPARSE, CorruptGroupError, OpenGroup, SparseGroupEncoder, pack_body
from vidtwin_codec.coding.placement import Placement, at_rest
from vidtwin_codec.network.following import Follower, cut_out, seen_shares
from vidtwin_codec.network.geometry import Geometry, window_layout

LAYOUT = window_layout(window_config(), 16, 24)
CORNERS = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 23)), min_size=4, max_size=4)


@given(corners=CORNERS, rows=st.integers(1, 4), columns=st.integers(1, 4), top=st.integers(-9, 9))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_only_canvases_that_hold_their_frames_are_read(
    corners: list[tuple[int, int]], rows: int, columns: int, top: int
) -> None:
    placement = Placement(rows, columns, top, 0, np.array(corners, np.int16))
    try:
        placement.check(LAYOUT)
    except ValueError:
        return
    from vidtwin_codec.coding import GroupSpan, LatentArrays, Steps

    steps = Steps(np.full((4, 10), 0.5), np.ones(2), np.ones(2))
    writer = SparseGroupEncoder(LAYOUT, 1, steps)
    shapes = placement.grid(LAYOUT).shapes()
    writer.add_symbols(LatentArrays(*(np.zeros((1, *shape), np.int32) for shape in shapes)), placement)
    data = pack_body(SPARSE, GroupSpan(0, 4, 0, 1), 1, writer.finish())
    fits = all(y + 13 <= 8 * rows and x + 20 <= 8 * columns for y, x in corners)

    def read(frame: tuple[int, int] | None) -> Placement | None:
        (clip,) = OpenGroup(data, LAYOUT, max_clips=1, max_tiles=1, frame=frame).placed()
        return clip.placement

    with pytest.raises(CorruptGroupError, match="has none"):
        read(None)
    if fits:
        assert read((13, 20)) == placement
    else:
        with pytest.raises(CorruptGroupError, match="beyond its canvas"):
            read((13, 20))


@given(
    steps=st.lists(st.tuples(st.integers(-4, 4), st.integers(-6, 6)), min_size=1, max_size=21),
    size=st.tuples(st.integers(17, 40), st.integers(17, 50)),
)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_frames_come_back_exactly_from_canvases(steps: list[tuple[int, int]], size: tuple[int, int]) -> None:
    at = np.cumsum(np.array(steps), axis=0)
    at -= at.min(0)
    whole = picture(*(int(side) for side in at.max(0) + size))
    frames = np.stack([whole[y : y + size[0], x : x + size[1]] for y, x in at])
    geometry = Geometry(size[1], size[0], 4, -(-size[0] // 8) * 8, -(-size[1] // 8) * 8, 0, abutting=True)
    layout = window_layout(window_config(), geometry.tile_height, geometry.tile_width)
    found = []
    for stretch in Follower(geometry, layout, 16).follow(frames, 0):
        clips = stretch.frames.reshape(len(stretch.placements), 4, *stretch.frames.shape[1:])
        for clip, placement in zip(clips, stretch.placements, strict=True):
            if placement is not None:
                placement.check(layout)
            found.append(cut_out(clip, placement, *size))
            shares = seen_shares(placement, layout, *size, reach=2)
            assert shares.max() <= 1
            assert shares.min() >= 0
    wanted = np.concatenate([frames, np.repeat(frames[-1:], -len(frames) % 4, axis=0)])
    assert np.array_equal(np.concatenate(found), wanted)


def test_shares_are_those_of_pixels() -> None:
    """Without lapping; with it, a patch's border is shared with its neighbour."""
    assert np.allclose(seen_shares(None, LAYOUT, 12, 20, reach=0), [[1, 1, 0.5], [0.5, 0.5, 0.25]])
    corners = np.array([[0, 0], [0, 8], [0, 8], [0, 8]], np.int16)
    moved = Placement(2, 4, 0, 0, corners)
    assert np.allclose(seen_shares(moved, LAYOUT, 16, 24, reach=0), [[0.25, 1, 1, 0.75]] * 2)
    lapped = seen_shares(at_rest(LAYOUT), LAYOUT, 16, 16, reach=3)
    assert lapped[0, 0] == lapped[1, 0] == 1
    assert 0.9 < lapped[0, 1] < 1
    assert 0 < lapped[0, 2] < 0.1
