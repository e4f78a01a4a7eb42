"""When a canvas that is cut into tiles is worth them."""

from __future__ import annotations

import numpy as np
import pytest
from pans import pan, picture

from vidtwin_codec.container.tiling import tile_count
from vidtwin_codec.motion import tiled_canvas
from vidtwin_codec.motion.tiled import Look, gain


def tiles_of(height: int, width: int) -> int:
    return tile_count(height, 64, 8) * tile_count(width, 64, 8)


def test_a_pan_is_followed() -> None:
    frames = pan(16, size=(100, 160), step=(0, 3))
    canvas = tiled_canvas(frames, 16, tiles_of)
    assert canvas is not None
    assert canvas.shape == (112, 208)
    assert np.array_equal(canvas.cut(canvas.place(frames)), frames)
    assert canvas.origin == (0, 0)
    assert np.array_equal(np.diff(canvas.positions, axis=0), [[0, 3]] * 15)


def test_what_stands_still_or_knows_no_direction_stays() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (16, 100, 160, 3)).astype(np.uint8)
    still = np.repeat(picture(100, 160)[None], 16, axis=0)
    cut = np.concatenate([still[:8], np.repeat(picture(100, 160, seed=9)[None], 8, axis=0)])
    for frames in (noise, still, cut):
        assert tiled_canvas(frames, 16, tiles_of) is None


def test_tiles_are_weighed() -> None:
    """A little way down is not worth a second row of tiles: only the way across is gone."""
    across = np.arange(16) * 3
    down = np.arange(16) % 2
    whole = picture(80, 220)
    frames = np.stack([whole[y : y + 64, x : x + 160] for y, x in zip(down, across, strict=True)])
    canvas = tiled_canvas(frames, 16, tiles_of)
    assert canvas is not None
    assert canvas.rows == 4
    assert not canvas.positions[:, 0].any()
    assert canvas.positions[:, 1].any()
    assert tiled_canvas(frames, 16, lambda height, width: 1 if width <= 160 else 1 << 60) is None


def test_gain_grows_with_rest_and_falls_with_cost() -> None:
    still = Look(400.0, 10000.0, 4)
    assert gain(still, still, 100.0) == pytest.approx(0)
    assert gain(still, Look(100.0, 10000.0, 4), 100.0) > 1
    assert gain(still, Look(100.0, 10000.0, 8), 100.0) < gain(still, Look(100.0, 10000.0, 4), 100.0)
    assert gain(still, Look(100.0, 20000.0, 4), 100.0) < gain(still, Look(100.0, 10000.0, 4), 100.0)
    assert gain(still, Look(0.0, 0.0, 1), 100.0) < 30
