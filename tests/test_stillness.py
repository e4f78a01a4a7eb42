"""Groups go on while the scene stands still, and only then."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_samples import ffmpeg

from vidtwin_codec import DecodeOptions, EncodeOptions, VidtwinError, decode_frames, encode
from vidtwin_codec.coding import Group, LatentArrays
from vidtwin_codec.container import VtwReader, verify
from vidtwin_codec.encoding.dense_groups import Joiner, stands_still
from vidtwin_codec.network.geometry import Geometry

SHAPES = ((3, 2, 2, 2), (2, 4, 3), (2, 4, 3))
CLIP_FRAMES = 4


def group_of(scenes: list[int], first_clip: int = 0, tiles: int = 2, flicker: int = 0) -> Group:
    """A clip for each number; equal numbers look the same but for ``flicker`` symbols that change by 1."""
    made = []
    for place, scene in enumerate(scenes):
        random, noise = np.random.default_rng(scene), np.random.default_rng((scene, first_clip + place))
        arrays = [np.rint(random.laplace(scale=20, size=(tiles, *shape))).astype(np.int32) for shape in SHAPES]
        arrays[0].ravel()[noise.permutation(arrays[0].size)[:flicker]] += 1
        made.append(arrays)
    symbols = LatentArrays(*(np.concatenate(column) for column in zip(*made, strict=True)))
    clips = len(scenes)
    return Group(CLIP_FRAMES * first_clip, CLIP_FRAMES * clips, first_clip, clips, tiles, symbols)


def test_a_clip_stands_still_when_little_of_it_changes() -> None:
    before = group_of([7, 1])
    assert stands_still(before, group_of([1, 1, 1], 2))
    assert stands_still(before, group_of([1, 1, 1], 2, flicker=4))
    assert not stands_still(before, group_of([2, 2, 2], 2)), "another scene"
    assert not stands_still(before, group_of([1, 2, 2], 2)), "a cut within"
    assert not stands_still(before, group_of([7, 7], 2)), "the first clip of the group before is not its last"


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=4), max_size=8), st.integers(1, 9))
def test_joining_loses_nothing_and_keeps_its_limit(scenes: list[list[int]], most: int) -> None:
    scenes = [each for scene in scenes for each in ([scene[:1]] * len(scene))]  # no group across a multiple of its own
    joiner, given_, made, clip = Joiner(most), [], [], 0
    for each in scenes:
        given_.append(group_of(each, clip))
        clip += len(each)
        made.append(joiner.add(given_[-1]))
    found = [group for group in (*made, joiner.flush()) if group is not None]
    assert joiner.flush() is None
    end = (0, 0)
    for group in found:
        assert (group.first_frame, group.first_clip) == end
        assert group.clips <= most
        assert group.first_clip // most == (group.span.end_clip - 1) // most
        end = (group.span.end_frame, group.span.end_clip)
    for part in range(3):
        parts = [[group.symbols[part] for group in groups] for groups in (given_, found)]
        assert not scenes or np.array_equal(*map(np.concatenate, parts))


def test_the_longest_group_is_a_minute_or_what_memory_allows() -> None:
    small = Geometry(224, 224, 16, 224, 224, 16)
    assert small.most_clips_per_group(Fraction(25)) == 96
    assert small.most_clips_per_group(Fraction(1000)) == 625
    for geometry in (Geometry(1920, 1080, 16, 224, 224, 16), Geometry(7680, 4320, 16, 224, 224, 16)):
        most = geometry.most_clips_per_group(Fraction(25))
        assert geometry.clips_per_group(Fraction(25)) <= most
        assert most * len(geometry.tiles) <= 4096


@pytest.fixture
def films(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A minute of motion, its first picture held for a minute, and both after each other; 4 frames a second."""
    moving, still, both = (tmp_path / f"{name}.mp4" for name in ("moving", "still", "both"))
    picture = "testsrc2=size=64x64:rate=4,hue=h=40*t,rotate=t,format=gbrp"
    held = f"{picture},trim=end_frame=1,loop=-1:1,setpts=N/4/TB"
    codec = ["-c:v", "libx264", "-pix_fmt", "yuv444p", "-r", "4"]
    ffmpeg("-f", "lavfi", "-i", picture, "-frames:v", "240", *codec, f"file:{moving}")
    ffmpeg("-f", "lavfi", "-i", held, "-frames:v", "240", *codec, f"file:{still}")
    inputs = ["-i", f"file:{still}", "-i", f"file:{moving}"]
    ffmpeg(*inputs, "-filter_complex", "[0:v][1:v]concat", *codec, f"file:{both}")
    return moving, still, both


def test_a_still_minute_costs_under_a_twentieth_of_a_moving_one(
    films: tuple[Path, Path, Path], micro_weights: Path, tmp_path: Path
) -> None:
    options = EncodeOptions(weights=str(micro_weights), device="cpu", quality=90, force=True)
    sizes, groups = [], []
    for source in films:
        encode(source, tmp_path / "a.vtw", options)
        assert verify(tmp_path / "a.vtw") == []
        with VtwReader(tmp_path / "a.vtw") as reader:
            sizes.append(sum(entry.size for entry in reader.groups))
            groups.append([(entry.first_frame, entry.frames) for entry in reader.groups])
    assert groups[0] == [(start, 40) for start in range(0, 240, 40)]
    assert groups[1] == [(0, 240)]
    assert groups[2] == [(0, 240), *((start, 40) for start in range(240, 480, 40))]
    assert sizes[1] < 0.05 * sizes[0]


def test_a_long_group_is_decoded_in_parts(films: tuple[Path, Path, Path], micro_weights: Path, tmp_path: Path) -> None:
    path, options = tmp_path / "a.vtw", {"weights": str(micro_weights), "device": "cpu"}
    encode(films[2], path, EncodeOptions(**options))
    whole = np.concatenate(list(decode_frames(path, DecodeOptions(**options))))
    assert len(whole) == 480
    for first, last in ((57, 63), (238, 243), (479, 480)):
        part = DecodeOptions(start=first / 4, duration=(last - first) / 4, **options)
        found = np.concatenate(list(decode_frames(path, part)))
        assert np.abs(found.astype(int) - whole[first:last]).max() <= 1
    data = bytearray(path.read_bytes())
    with VtwReader(path) as reader:
        data[reader.groups[0].offset + 30] ^= 1
    path.write_bytes(data)
    with pytest.raises(VidtwinError, match="frames 0"):
        list(decode_frames(path, DecodeOptions(**options)))
    recovered = np.concatenate(list(decode_frames(path, DecodeOptions(recover=True, **options))))
    assert len(recovered) == 480
    assert np.abs(recovered[240:].astype(int) - whole[240:]).max() <= 1
