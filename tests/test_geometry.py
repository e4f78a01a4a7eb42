from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidtwin_codec.container.tiling import tile_offsets
from vidtwin_codec.model import VidTwinConfig
from vidtwin_codec.model.levels import pixels_from_levels
from vidtwin_codec.network.geometry import MAX_WINDOW_PIXELS, Geometry, resize_frames, scaled_size, window_layout
from vidtwin_codec.network.runner import network_geometry


@given(size=st.integers(1, 5000), tile=st.integers(2, 300), data=st.data())
def test_tiles_cover_evenly_with_at_least_the_overlap(size: int, tile: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, tile // 2))
    offsets = tile_offsets(size, tile, overlap)
    assert offsets[0] == 0
    assert offsets[-1] + tile >= size
    assert size <= tile or offsets[-1] + tile == size
    strides = [b - a for a, b in pairwise(offsets)]
    assert all(0 < stride <= tile - overlap for stride in strides)
    assert not strides or max(strides) - min(strides) <= 1
    # one fewer would leave a gap or too little overlap
    assert len(offsets) == 1 or (len(offsets) - 1) * (tile - overlap) + overlap < size


@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    frames=st.integers(1, 9),
    overlap=st.integers(0, 8),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_cut_and_join_give_back_every_pixel(width: int, height: int, frames: int, overlap: int, seed: int) -> None:
    geometry = Geometry(width, height, 4, 16, 20, overlap)
    generator = torch.Generator().manual_seed(seed)
    video = torch.randint(0, 256, (frames, height, width, 3), dtype=torch.uint8, generator=generator)
    tiles = geometry.cut(video)
    assert tiles.shape == (geometry.clips(frames) * len(geometry.tiles), 3, 4, 16, 20)
    clips = pixels_from_levels(tiles, torch.float32).split(len(geometry.tiles))
    joined = torch.cat([geometry.join(clip) for clip in clips])
    assert torch.equal(joined[:frames], video)
    assert torch.equal(joined[frames:], video[-1:].expand(len(joined) - frames, -1, -1, -1))


def test_neighbouring_tiles_fade_into_each_other() -> None:
    geometry = Geometry(28, 8, 1, 8, 16, 4)
    left, right = torch.full((3, 1, 8, 16), -1.0), torch.full((3, 1, 8, 16), 1.0)
    row = geometry.join([left, right])[0, 4, :, 0].tolist()
    assert row[:12] == [0] * 12
    assert row[16:] == [255] * 12
    assert row[12:16] == [32, 96, 159, 223]


def test_values_beyond_the_range_are_clipped() -> None:
    geometry = Geometry(4, 4, 1, 4, 4, 0)
    assert geometry.join([torch.full((3, 1, 4, 4), 3.0)]).unique().tolist() == [255]
    assert geometry.join([torch.full((3, 1, 4, 4), -3.0)]).unique().tolist() == [0]


WIDE = VidTwinConfig(
    patch_size=32,
    structure_channels=512,
    dynamics_channels=3,
    structure_blocks=0,
    dynamics_blocks=0,
    any_grid=True,
    patterns=(380, 80, 52),
)


@given(width=st.integers(1, 9000), height=st.integers(1, 9000))
@settings(max_examples=60, deadline=None)
def test_windows_cover_any_frame_within_their_bounds(width: int, height: int) -> None:
    geometry = network_geometry(WIDE, width, height, 16)
    layout = window_layout(WIDE, geometry.tile_height, geometry.tile_width)  # refuses more elements than are allowed
    assert layout.patterns is not None
    assert geometry.tile_height * geometry.tile_width <= MAX_WINDOW_PIXELS
    assert geometry.tile_height % 32 == geometry.tile_width % 32 == 0
    rows, columns = (len({corner[axis] for corner in geometry.tiles}) for axis in (0, 1))
    assert len(geometry.tiles) == rows * columns
    for size, tile, count in ((height, geometry.tile_height, rows), (width, geometry.tile_width, columns)):
        assert (count - 1) * tile < size <= count * tile < size + 32 * count
    pixels = rows * columns * geometry.tile_height * geometry.tile_width
    assert rows * columns == 1 or pixels <= 1.08 * (width + 32) * (height + 32)


@pytest.mark.parametrize(
    ("width", "height", "windows"),
    [
        *[(640, 360, 1), (854, 480, 1), (1280, 720, 1), (1920, 1080, 1), (1080, 1920, 1), (360, 640, 1)],
        *[(2560, 1440, 2), (3840, 2160, 4), (7680, 4320, 16), (64, 20000, 1)],
    ],
)
def test_usual_frames_are_few_windows_of_hardly_more_pixels(width: int, height: int, windows: int) -> None:
    geometry = network_geometry(WIDE, width, height, 16)
    assert len(geometry.tiles) == windows
    assert windows * geometry.tile_height * geometry.tile_width <= 1.08 * width * height


@given(width=st.integers(1, 50), height=st.integers(1, 50), frames=st.integers(1, 9), patches=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_windows_give_back_every_pixel(width: int, height: int, frames: int, patches: int) -> None:
    geometry = Geometry(width, height, 4, 8 * (1 + patches % 3), 8 * (1 + patches // 3), 0, abutting=True)
    generator = torch.Generator().manual_seed(width + 50 * height)
    video = torch.randint(0, 256, (frames, height, width, 3), dtype=torch.uint8, generator=generator)
    windows = geometry.cut(video).permute(0, 2, 3, 4, 1)
    assert windows.shape[1:] == (4, geometry.tile_height, geometry.tile_width, 3)
    joined = torch.cat([geometry.join_levels(clip) for clip in windows.split(len(geometry.tiles))])
    assert torch.equal(joined[:frames], video)
    assert torch.equal(windows[-1, -1, -1, -1], video[-1, -1, -1])


def test_no_group_reaches_across_a_minute() -> None:
    for fps in (Fraction(1), Fraction(24000, 1001), Fraction(25), Fraction(60), Fraction(500)):
        for geometry in (network_geometry(WIDE, 1920, 1080, 0), Geometry(1920, 1080, 16, 224, 224, 16)):
            least, most = geometry.clips_per_group(fps), geometry.most_clips_per_group(fps)
            assert most % least == 0
            assert most >= least
    assert network_geometry(WIDE, 3840, 2160, 0).most_clips_per_group(Fraction(25)) == 96


def test_groups_last_about_ten_seconds_and_stay_bounded_in_memory() -> None:
    assert Geometry(224, 224, 16, 224, 224, 16).clips_per_group(Fraction(25)) == 16
    assert Geometry(224, 224, 16, 224, 224, 16).clips_per_group(Fraction(1, 100)) == 1
    large = Geometry(7680, 4320, 16, 224, 224, 16)
    assert 1 <= large.clips_per_group(Fraction(60)) * len(large.tiles) <= 1024


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((1920, 1080), None, (1920, 1080)),
        ((1920, 1080), 224, (398, 224)),
        ((1080, 1920), 224, (224, 398)),
        ((320, 200), 224, (320, 200)),
        ((10000, 2), 1, (5000, 1)),
    ],
)
def test_short_side(size: tuple[int, int], short_side: int | None, expected: tuple[int, int]) -> None:
    assert scaled_size(*size, short_side) == expected


def test_resizing_keeps_flat_colours_and_the_number_of_frames() -> None:
    frames = torch.tensor([10, 128, 250], dtype=torch.uint8).expand(3, 7, 9, 3)
    resized = resize_frames(frames, 21, 16)
    assert resized.shape == (3, 16, 21, 3)
    assert torch.equal(resized, frames[:1, :1, :1].expand(3, 16, 21, 3))
