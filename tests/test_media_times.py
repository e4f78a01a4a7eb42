"""Frames stay at their times, whatever packets give no picture and however times are stored."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_samples import ffmpeg, lavfi, numbered, numbers, read_all, write_all

from vidtwin_codec.media import ColorInfo, FrameReader, MediaInfo, probe
from vidtwin_codec.media.rate import measure_rate
from vidtwin_codec.media.source import Source
from vidtwin_codec.media.timeline import Placer, Timeline

COUNT = 60
SOME = MediaInfo(
    *(Path("x"), 64, 48, 0, Fraction(1), Fraction(25), False, None, None, Fraction(0), "rgb24", "ffv1"),
    *(ColorInfo(), False, False, (), 0, (), 0, Source(Path("x"), (), 0)),
)


@pytest.fixture(scope="session")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbered frames, without loss."""
    return write_all(tmp_path_factory.mktemp("times") / "n.mkv", numbered(COUNT))


def tail(info: MediaInfo, first: int, count: int) -> list[int]:
    """The numbers of frames read from the middle."""
    with FrameReader(info, start=first / info.fps, max_frames=count) as reader:
        return numbers(reader.read(count))


def held(kept: list[int], count: int = COUNT) -> list[int]:
    """What is shown where only the frames ``kept`` are there."""
    return [max(number for number in kept if number <= place) for place in range(count)]


@pytest.mark.parametrize("container", ["avi", "mkv", "mov", "ts", "flv"])
def test_a_gap_repeats_the_frame_before(tmp_path: Path, counted: Path, container: str) -> None:
    codec = {"avi": ("huffyuv",), "ts": ("libx264", "-bf", "0"), "flv": ("libx264",)}.get(container, ("ffv1",))
    path = tmp_path / f"gap.{container}"
    chosen = ("-vf", "select='not(between(n,20,39))'", "-fps_mode", "passthrough", "-c:v", *codec)
    ffmpeg("-i", counted, *chosen, *(("-strict", "-2") if container == "mov" else ()), path)
    info = probe(path)
    expected = held([*range(20), *range(40, COUNT)])
    assert (info.fps, info.frames) == (25, COUNT)
    with FrameReader(info) as reader:
        assert numbers(np.concatenate([reader.read(7) for _ in range(9)])) == expected
    assert reader.warnings == list(info.warnings)
    for first, count in ((0, 5), (18, 8), (30, 4), (30, 15), (41, 19), (57, 3)):
        assert tail(info, first, count) == expected[first : first + count]
    runs = [(10, 3), (25, 4), (38, 4), (55, 5)]
    with FrameReader(info, runs=runs) as reader:
        assert numbers(reader.read(100)) == [expected[first + index] for first, count in runs for index in range(count)]


def test_duplicates_that_packets_only_hint_at(tmp_path: Path) -> None:
    """Theora stores no picture where nothing changes, up to the very end."""
    slow = np.repeat(numbered(4), 25, axis=0)
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x48", "-r", "25", "-i", "-")
    ffmpeg(*raw, "-c:v", "libtheora", "-q:v", "10", tmp_path / "still.ogv", data=slow.tobytes())
    info = probe(tmp_path / "still.ogv")
    assert (info.fps, info.frames, info.timeline.pictures < 20) == (25, 100, True)
    with FrameReader(info) as reader:
        assert numbers(np.concatenate([reader.read(32) for _ in range(4)])) == numbers(slow)
    assert reader.warnings == []
    for first, count in ((20, 10), (60, 20), (90, 10)):
        assert tail(info, first, count) == numbers(slow)[first : first + count]


def test_changes_of_size_and_gaps_between(tmp_path: Path) -> None:
    listing = []
    for number, size in enumerate(("64:48", "96:72", "32:24")):
        part = tmp_path / f"{number}.webm"
        frames = numbered(30)[number * 10 : number * 10 + 10]
        raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x48", "-r", "25", "-i", "-", "-vf", f"scale={size}")
        ffmpeg(*raw, "-c:v", "libvpx", "-b:v", "1M", "-auto-alt-ref", "0", part, data=frames.tobytes())
        listing.append(f"file '{part}'\nduration 0.8\n")
    (tmp_path / "list.txt").write_text("".join(listing))
    ffmpeg("-f", "concat", "-safe", "0", "-i", tmp_path / "list.txt", "-c", "copy", tmp_path / "rtc.webm")
    info = probe(tmp_path / "rtc.webm")
    expected = [*range(10), *[9] * 10, *range(10, 20), *[19] * 10, *range(20, 30)]
    assert (info.fps, info.frames) == (25, 50)
    assert numbers(read_all(info)) == expected
    for first, count in ((5, 10), (15, 20), (33, 12), (42, 8)):
        assert tail(info, first, count) == expected[first : first + count]


@pytest.mark.parametrize("container", ["mov", "mkv", "avi"])
def test_damage_in_the_middle_moves_nothing(tmp_path: Path, counted: Path, container: str) -> None:
    ffmpeg("-i", counted, "-c:v", "png", tmp_path / f"d.{container}")
    data = bytearray((tmp_path / f"d.{container}").read_bytes())
    packets = [found.start() for found in re.finditer(b"\x89PNG", data)]
    assert len(packets) == COUNT
    for packet in packets[20:26]:
        data[packet : packet + 60] = bytes(60)
    (tmp_path / f"d.{container}").write_bytes(data)
    info = probe(tmp_path / f"d.{container}")
    with FrameReader(info) as reader:
        shown = numbers(np.concatenate([reader.read(16) for _ in range(4)]))
        assert not len(reader.read(1))
    # Elsewhere ffmpeg takes the damaged ones and the next for one packet.
    expected = held([*range(20), *range(26 if container == "mov" else 27, COUNT)])
    assert shown == expected
    assert any("decoding errors" in warning for warning in reader.warnings)
    if container == "mov":
        assert reader.warnings[-1] == "6 frames could not be decoded: the one before is shown in their place"
    assert tail(info, 24, 5) == expected[24:29]


def test_the_last_frame_is_held(tmp_path: Path) -> None:
    path = lavfi(tmp_path / "x.gif", "-final_delay", "150", source="testsrc2=s=64x48:r=10:d=1")
    info = probe(path)
    assert (info.fps, info.frames, info.duration) == (10, 24, Fraction(24, 10))
    frames = read_all(info)
    assert len(frames) == 24
    assert (frames[9:] == frames[9]).all()
    assert not np.array_equal(frames[8], frames[9])
    with FrameReader(info, start=Fraction(2), max_frames=9) as reader:
        assert np.array_equal(reader.read(9), frames[20:])


def test_a_guessed_last_duration_is_not_held() -> None:
    pts = np.cumsum([0, *[33, 34, 33, 50, 17] * 9])
    assert measure_rate(pts, Fraction(1, 1000), 200, None).frames <= 47
    assert measure_rate(pts, Fraction(1, 1000), 200, None, certain=True).frames >= 50


def test_ticks_as_long_as_frames_do_not_hide_a_gap(tmp_path: Path, counted: Path) -> None:
    chosen = ("-vf", "select='not(eq(n,30))'", "-fps_mode", "passthrough", "-c:v", "mjpeg", "-q:v", "2")
    ffmpeg("-i", counted, *chosen, tmp_path / "drop.avi")
    info = probe(tmp_path / "drop.avi")
    assert (info.fps, info.frames) == (25, COUNT)
    assert numbers(read_all(info)) == held([number for number in range(COUNT) if number != 30])


@given(st.lists(st.integers(1, 400), min_size=2, max_size=20), st.integers(1, 400))
@settings(max_examples=100, deadline=None)
def test_slides_are_shown_at_their_times(intervals: list[int], last: int) -> None:
    times = np.cumsum([0, *(interval * 25 for interval in intervals)]) + 100 * np.arange(len(intervals) + 1)
    rate = measure_rate(times, Fraction(1, 1000), last * 25 + 100, None, certain=True)
    spread = np.diff(times)
    if rate.variable and spread.min() >= 90 and len(times) / (times[-1] / 1000 + last / 40 + 0.1) < 12:
        shown = np.floor(times / 1000 * float(rate.fps) + 0.5) / float(rate.fps)
        assert np.abs(shown - times / 1000).max() <= 0.05
        assert abs(float(rate.frames / rate.fps) - (times[-1] + last * 25 + 100) / 1000) <= 0.09


def test_slides_at_uneven_times() -> None:
    rate = measure_rate(np.array([0, 2, 4, 10]), Fraction(1), 1, Fraction(3, 10), certain=True)
    assert (rate.fps, rate.frames) == (1, 11)


@given(
    st.sets(st.integers(0, 199), max_size=60),
    st.lists(st.floats(-0.45, 0.45), min_size=200, max_size=200),
    st.integers(0, 10),
)
@settings(max_examples=50, deadline=None)
def test_pictures_keep_their_places(lost: set[int], jitter: list[float], start: int) -> None:
    """Whatever is missing, and however times tremble."""
    fps = Fraction(30000, 1001)
    pts = np.sort(np.round((np.arange(200) + jitter) / float(fps) * 90000).astype(np.int64))
    rate = measure_rate(pts, Fraction(1, 90000), 0, fps)
    assert (rate.fps, rate.variable) == (fps, False)
    begin = Fraction(int(pts[0]) + start, 90000)
    place = Placer(replace(SOME, fps=fps, start_time=begin, timeline=Timeline(rate.shift)), fps).place
    kept = [number for number in range(200) if number not in lost]
    assert [place(Fraction(int(pts[number]) + start, 90000)) for number in kept] == kept


@pytest.mark.parametrize("extension", ["mp4", "mkv", "mov", "webm"])
@pytest.mark.parametrize("fps", ["120000/1001", "240000/1001", "120"])
def test_fast_rates_are_written_exactly(tmp_path: Path, fps: str, extension: str) -> None:
    info = probe(write_all(tmp_path / f"out.{extension}", numbered(250, 32, 32), Fraction(fps)))
    assert (info.fps, info.frames, info.variable_rate) == (Fraction(fps), 250, False)
