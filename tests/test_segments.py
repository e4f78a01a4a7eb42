"""A video encoded in segments and joined is the video encoded at once, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from batches import encoding
from conftest import MakeVideo
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_samples import sample_header
from media_samples import ffmpeg
from test_stillness import SHAPES, group_of

from vidtwin_codec import VidtwinError, encode
from vidtwin_codec.coding import Group, LatentLayout, Steps, pack_group
from vidtwin_codec.container import VtwReader
from vidtwin_codec.media import probe
from vidtwin_codec.pipeline.codec import Codec
from vidtwin_codec.pipeline.options import EncodeOptions
from vidtwin_codec.pipeline.packer import Packed
from vidtwin_codec.pipeline.segments import Segment, can_be_split, encode_segment, join_groups
from vidtwin_codec.pipeline.stillness import Joiner

EXAMPLE = Path(__file__).parent.parent / "examples" / "big_buck_bunny.mp4"
MOST_CLIPS = 8
CLIPS = 2
HEADER = replace(
    sample_header(),
    layout=LatentLayout(*SHAPES),
    steps=Steps(np.ones((3, 2)), np.ones(2), np.ones(2)),
    clips_per_group=MOST_CLIPS,
)


def joined(groups: Sequence[Group]) -> list[Packed]:
    joiner = Joiner(MOST_CLIPS)
    made = [*map(joiner.add, groups), joiner.rest()]
    return [Packed(pack_group(group, HEADER.layout, 1), group.span) for group in made if group is not None]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 1), max_size=16), st.sets(st.integers(1, 14), max_size=5), st.booleans())
def test_groups_joined_in_segments_are_those_joined_at_once(scenes: list[int], cuts: set[int], odd: bool) -> None:
    """Scenes of equal numbers stand still; every segment begins at a multiple of the group's clips."""
    scenes = [scene for scene in scenes for _ in range(CLIPS)][: -1 if odd else None]
    groups = [
        group_of(scenes[start : start + CLIPS], start, tiles=1, flicker=1) for start in range(0, len(scenes), CLIPS)
    ]
    edges = sorted({0, len(groups), *(cut for cut in cuts if cut < len(groups))})
    segments = [joined(groups[start:stop]) for start, stop in pairwise(edges)]
    assert list(join_groups(segments, HEADER, CLIPS, 1)) == joined(groups)


def in_segments(source: Path, options: EncodeOptions, firsts: Sequence[int], folder: Path) -> list[Segment]:
    info, made = probe(source, fps=options.fps), []
    for first, stop in pairwise([*firsts, None]):
        count = None if stop is None else stop - first
        target = folder / f"{first}.part"
        made.append(encode_segment(info, target, options, first=first, count=count, load=Codec.load))
    return made


def check(source: Path, options: EncodeOptions, firsts: Sequence[int], folder: Path) -> int:
    """Whether segments that begin at these groups come to the same file; gives its number of groups."""
    assert can_be_split(probe(source, fps=options.fps), options)
    encode(source, folder / "whole.vtw", options)
    segments = in_segments(source, options, firsts, folder)
    assert all(not segment.warnings for segment in segments)
    result = encode(source, folder / "joined.vtw", options, segments=segments)
    assert (folder / "joined.vtw").read_bytes() == (folder / "whole.vtw").read_bytes()
    with VtwReader(folder / "joined.vtw") as reader:
        assert result.frames == reader.frames == segments[-1].frames[1]
        return len(reader.groups)


@pytest.mark.parametrize(("effort", "firsts"), [(1, [0, 1, 2]), (4, [0, 1])])
def test_a_video_with_sound(
    effort: int, firsts: list[int], make_video: MakeVideo, micro_weights: Path, tmp_path: Path
) -> None:
    # 4 frames a second: a group has 40; the last one here 25
    source = make_video("a.mp4", size="36x32", rate=4, frames=40 * len(firsts) - 15, audio=True)
    options = encoding(micro_weights, effort=effort, force=True)
    check(source, options, firsts, tmp_path)


def test_still_scenes_across_segments(micro_weights: Path, tmp_path: Path) -> None:
    """A scene that stands still for longer than a group may last, then one that moves."""
    picture = "testsrc2=size=32x32:rate=4,hue=h=40*t,rotate=t,format=gbrp"
    codec = ["-c:v", "libx264", "-pix_fmt", "yuv444p", "-r", "4"]
    still = "[0:v]split[a][b];[a]trim=end_frame=1,loop=-1:1,setpts=N/4/TB,trim=end_frame=320[still];[still][b]concat"
    source = tmp_path / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", picture, "-filter_complex", still, "-frames:v", "400", *codec, f"file:{source}")
    options = encoding(micro_weights, quality=90, force=True)
    # a minute, the rest of the scene, and what moves
    assert 3 <= check(source, options, [0, 3, 5, 6, 9], tmp_path) < 10


def test_variable_rate_and_another_rate(micro_weights: Path, tmp_path: Path) -> None:
    source, codec = tmp_path / "a.mkv", ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "3", "-g", "25"]
    # frames left out and late ones: no constant rate is near
    times = "select='not(mod(n*n,7)-2)+not(mod(n,3))',setpts=PTS+0.4*random(1)/TB/4"
    picture = f"testsrc2=size=32x32:rate=6,{times}"
    ffmpeg("-f", "lavfi", "-i", picture, "-t", "36", "-fps_mode", "vfr", *codec, f"file:{source}")
    assert probe(source).variable_rate
    options = encoding(micro_weights, force=True)
    check(source, options, [0, 1, 2], tmp_path)
    check(source, replace(options, fps=Fraction(5)), [0, 2], tmp_path)


def test_a_real_video(micro_weights: Path, tmp_path: Path) -> None:
    """Reordered frames in an MP4, several batches of tiles in a group."""
    options = encoding(micro_weights, short_side=32, fps=Fraction(3), batch=2, force=True)
    source = tmp_path / "long.mp4"
    ffmpeg("-stream_loop", "2", "-i", f"file:{EXAMPLE}", "-c", "copy", f"file:{source}")
    check(source, options, [0, 1], tmp_path)


def test_what_cannot_be_split(make_video: MakeVideo, micro_weights: Path) -> None:
    info, options = probe(make_video("a.mp4")), encoding(micro_weights)
    assert can_be_split(info, options)
    assert not can_be_split(info, replace(options, target_kbps=50))
    assert not can_be_split(replace(info, interlaced=True), options)
    assert not can_be_split(replace(info, frames=None), options)
    assert not can_be_split(replace(info, color=replace(info.color, transfer="smpte2084")), options)


def test_a_segment_says_what_went_wrong(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    source, options = make_video("a.mkv", rate=4, frames=90), encoding(micro_weights, force=True)
    info = probe(source)
    with pytest.raises(VidtwinError, match="start lies after the end"):
        encode_segment(info, tmp_path / "a.part", options, first=3, count=None, load=Codec.load)
    # shorter than it was when it was probed
    data = source.read_bytes()
    source.write_bytes(data[: 2 * len(data) // 3])
    segment = encode_segment(info, tmp_path / "a.part", options, first=1, count=None, load=Codec.load)
    assert any("could be decoded" in text for text in segment.warnings)
    # and a segment that was damaged
    (tmp_path / "a.part").write_bytes(bytes(len((tmp_path / "a.part").read_bytes())))
    with pytest.raises(VidtwinError, match="segment is damaged"):
        encode(make_video("b.mkv"), tmp_path / "b.vtw", options, segments=[segment])
