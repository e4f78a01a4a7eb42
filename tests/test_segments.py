"""A video encoded in segments that are written one after the other is the video encoded at once, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from batches import encoding
from conftest import MakeVideo
from media_samples import ffmpeg

from vidtwin_codec import VidtwinError, encode, weights
from vidtwin_codec.batch.ray.segments import Segment, can_be_split, encode_segment, joining
from vidtwin_codec.container import VtwReader
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder
from vidtwin_codec.media import probe
from vidtwin_codec.network.runner import NetworkRunner
from vidtwin_codec.options import EncodeOptions

EXAMPLE = Path(__file__).parent.parent / "examples" / "big_buck_bunny.mp4"
SEGMENT = 8  # clips of 4 frames, of a video of a frame in two seconds


def in_segments(source: Path, options: EncodeOptions, firsts: Sequence[int], folder: Path) -> list[Segment]:
    info, made = probe(source, fps=options.fps), []
    for first, stop in pairwise([*firsts, None]):
        count = None if stop is None else stop - first
        target = folder / f"{first}.part"
        made.append(encode_segment(info, target, options, first=first, count=count, load=NetworkRunner.load))
    return made


def encoder_of(source: Path, options: EncodeOptions) -> Encoder:
    entry = weights.resolve(options.weights)
    return Encoder(
        EncodeJob(probe(source, fps=options.fps), NetworkRunner.load(entry, options, "encoder"), entry, options)
    )


def check(source: Path, options: EncodeOptions, firsts: Sequence[int], folder: Path) -> int:
    """Whether segments that begin at these clips come to the same file; gives its number of groups."""
    assert can_be_split(probe(source, fps=options.fps), options)
    encode(source, folder / "whole.vtw", options)
    segments = in_segments(source, options, firsts, folder)
    assert all(not segment.warnings for segment in segments)
    result = encode(source, folder / "joined.vtw", options, write=joining(segments))
    assert (folder / "joined.vtw").read_bytes() == (folder / "whole.vtw").read_bytes()
    with VtwReader(folder / "joined.vtw") as reader:
        assert result.frames == reader.frames == segments[-1].frames[1]
        return len(reader.groups)


@pytest.mark.parametrize(("effort", "network"), [(0, "micro"), (1, "window")])
def test_a_video_with_sound(
    effort: int, network: str, make_video: MakeVideo, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = make_video("a.mkv", size="36x32", rate=Fraction(1, 2), frames=75, audio=True)
    options = encoding(request.getfixturevalue(f"{network}_weights"), effort=effort, force=True)
    check(source, options, [0, SEGMENT, 2 * SEGMENT], tmp_path)
    check(source, options, [0, 2 * SEGMENT], tmp_path)


@pytest.mark.parametrize("network", ["micro", "window"])
def test_still_scenes_across_segments(network: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A scene that stands still for longer than a group may last, then one that moves."""
    picture = "testsrc2=size=32x32:rate=1/2,hue=h=40*t,rotate=t,format=gbrp"
    codec = ["-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv444p", "-r", "1/2"]
    still = "[0:v]split[a][b];[a]trim=end_frame=1,loop=-1:1,setpts=2*N/TB,trim=end_frame=80[still];[still][b]concat"
    source = tmp_path / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", picture, "-filter_complex", still, "-frames:v", "120", *codec, f"file:{source}")
    options = encoding(request.getfixturevalue(f"{network}_weights"), quality=90, force=True)
    # a minute, another one, the rest of the scene, and what moves
    groups = check(source, options, [0, SEGMENT, 2 * SEGMENT, 3 * SEGMENT], tmp_path)
    assert groups > 3
    if network == "window":
        return  # random numbers make something of what stands still
    with VtwReader(tmp_path / "whole.vtw") as reader:
        assert [(entry.first_clip, entry.clips) for entry in reader.groups[:2]] == [(0, SEGMENT), (SEGMENT, SEGMENT)]


def test_variable_rate_and_another_rate(micro_weights: Path, tmp_path: Path) -> None:
    source, codec = tmp_path / "a.mkv", ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "3", "-g", "25"]
    # frames left out and late ones: no constant rate is near
    times = "select='not(mod(n*n,7)-2)+not(mod(n,3))',setpts=PTS+0.4*random(1)/TB/4*8"
    picture = f"testsrc2=size=32x32:rate=3/4,{times}"
    ffmpeg("-f", "lavfi", "-i", picture, "-t", "240", "-fps_mode", "vfr", *codec, f"file:{source}")
    assert probe(source).variable_rate
    options = encoding(micro_weights, force=True)
    with_rate = replace(options, fps=Fraction(1, 2))
    check(source, with_rate, [0, SEGMENT, 2 * SEGMENT], tmp_path)
    most = encoder_of(source, options).most_clips_per_group
    check(source, options, [0, most], tmp_path)


def test_a_real_video(micro_weights: Path, tmp_path: Path) -> None:
    """Reordered frames in an MP4, several batches of tiles in a group."""
    options = encoding(micro_weights, short_side=32, fps=Fraction(1, 2), batch=2, force=True)
    source = tmp_path / "long.mp4"
    ffmpeg("-stream_loop", "19", "-i", f"file:{EXAMPLE}", "-c", "copy", f"file:{source}")
    check(source, options, [0, encoder_of(source, options).most_clips_per_group], tmp_path)


def test_what_cannot_be_split(make_video: MakeVideo, micro_weights: Path) -> None:
    info, options = probe(make_video("a.mp4")), encoding(micro_weights)
    assert can_be_split(info, options)
    assert not can_be_split(info, replace(options, target_kbps=50))
    assert not can_be_split(replace(info, interlaced=True), options)
    assert not can_be_split(replace(info, frames=None), options)
    assert not can_be_split(replace(info, color=replace(info.color, transfer="smpte2084")), options)


def test_a_segment_says_what_went_wrong(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    source, options = make_video("a.mkv", rate=Fraction(1, 2), frames=90), encoding(micro_weights, force=True)
    info = probe(source)
    with pytest.raises(VidtwinError, match="start lies after the end"):
        encode_segment(info, tmp_path / "a.part", options, first=3 * SEGMENT, count=None, load=NetworkRunner.load)
    # shorter than it was when it was probed
    data = source.read_bytes()
    source.write_bytes(data[: 2 * len(data) // 3])
    segment = encode_segment(info, tmp_path / "a.part", options, first=SEGMENT, count=None, load=NetworkRunner.load)
    assert any("could be decoded" in text for text in segment.warnings)
    # and a segment that was damaged
    (tmp_path / "a.part").write_bytes(bytes(len((tmp_path / "a.part").read_bytes())))
    with pytest.raises(VidtwinError, match="segment is damaged"):
        encode(make_video("b.mkv"), tmp_path / "b.vtw", options, write=joining([segment]))
