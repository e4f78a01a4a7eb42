"""Parts of a video in place of the whole: the same frames, sound in step, the same in every verb."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batches import encoding, run_batch, statuses
from click.testing import CliRunner
from conftest import MakeVideo
from hypothesis import given, settings
from hypothesis import strategies as st
from media_samples import ffmpeg, numbered, numbers, write_all

from vidtwin_codec import DecodeOptions, EncodeOptions, decode_frames, encode, measure
from vidtwin_codec.batch.rows import DONE, FAILED
from vidtwin_codec.cli.main import cli
from vidtwin_codec.container import VtwReader
from vidtwin_codec.encoding.rate.sample import count_frames
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.compare.reference import prepare
from vidtwin_codec.evaluation.measure.options import MeasureOptions
from vidtwin_codec.media import FrameReader, MediaInfo, extract_audio, probe
from vidtwin_codec.media.excerpt import write_lossless

COUNT = 60


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbered frames, 25 a second."""
    return write_all(tmp_path_factory.mktemp("parts") / "n.mkv", numbered(COUNT))


@pytest.fixture(scope="module")
def slides(counted: Path) -> Path:
    """The same at uneven times: every frame from the 20th on is shown for twice as long."""
    path = counted.with_name("slides.mkv")
    ffmpeg("-i", counted, "-vf", "setpts='(N+max(0,N-20))/25/TB'", "-fps_mode", "vfr", "-c:v", "ffv1", path)
    return path


@pytest.fixture
def options(micro_weights: Path) -> dict[str, Any]:
    return {"weights": str(micro_weights), "device": "cpu"}


def shown(info: MediaInfo, **choices: Any) -> list[int]:
    with FrameReader(info, **choices) as reader:
        parts = []
        while len(frames := reader.read(7)):
            parts.append(frames)
        assert reader.frames == sum(map(len, parts))
        return numbers(np.concatenate(parts))


@settings(max_examples=10)
@given(
    first=st.integers(0, COUNT - 1),
    count=st.none() | st.integers(1, COUNT + 5),
    rate=st.sampled_from([None, Fraction(25, 2), Fraction(50)]),
)
def test_a_part_is_a_stretch_of_the_whole(
    counted: Path, slides: Path, first: int, count: int | None, rate: Fraction | None
) -> None:
    for path in (counted, slides):
        whole = shown(probe(path, fps=rate), fps=rate)
        fps = rate or probe(path).fps
        first %= len(whole)
        duration = None if count is None else float(count / fps)
        info = probe(path, fps=rate, start=float(first / fps), duration=duration)
        expected = whole[first:] if count is None else whole[first : first + count]
        assert shown(info, fps=rate) == expected
        assert count_frames(info, fps) == len(expected)
        if info.part is not None:  # of a whole video it is the source's own, whatever rate it is read at
            assert info.duration == len(expected) / fps
        # runs count from the part's first frame
        runs = [(0, 1), (len(expected) - 1, 1)][: len(expected)]
        assert shown(info, fps=rate, runs=runs) == [expected[place] for place, _ in runs]


def test_a_start_beyond_the_end_is_refused(counted: Path) -> None:
    with pytest.raises(VidtwinError, match=r"n\.mkv: is only 2\.40 seconds long"):
        probe(counted, start=2.4)


@pytest.mark.parametrize("mode", ["opus", "copy"])
def test_sound_begins_and_ends_with_the_part(tmp_path: Path, mode: Any) -> None:
    """A beep between 2 and 2.5 s is heard from 0.5 s on in the part that begins at 1.5 s, and nothing after 1 s."""
    picture, beep = "testsrc2=s=64x48:r=25:d=4", "aevalsrc='0.5*sin(2765*t)*between(t,2,2.5)':d=4:s=48000"
    path = tmp_path / "in.mkv"
    ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", beep, "-c:v", "libx264", "-c:a", "flac", path)
    extract_audio(probe(path, start=1.5, duration=1.5), tmp_path / "a.mka", mode=mode)
    data = ffmpeg("-i", tmp_path / "a.mka", "-ac", "1", "-ar", "48000", "-f", "f32le", "-")
    loud = np.abs(np.frombuffer(data, np.float32)).reshape(-1) > 0.1
    places = np.flatnonzero(loud) / 48000
    slack = 0.11 if mode == "copy" else 0.03  # whole packets of FLAC
    assert abs(places.min() - 0.5) < slack
    assert abs(places.max() - 1.0) < slack
    assert abs(len(loud) / 48000 - 1.5) < slack


def test_encoding_a_part_is_encoding_a_video_of_its_frames(
    make_video: MakeVideo, options: dict[str, Any], tmp_path: Path
) -> None:
    source = make_video("in.mp4", size="48x36", frames=30, audio=True)
    chosen = EncodeOptions(start=0.4, duration=0.36, **options)
    result = encode(source, tmp_path / "part.vtw", chosen)
    assert (result.frames, result.source_bytes, result.ratio_to_source) == (9, None, None)
    with FrameReader(probe(source), start=Fraction(2, 5), max_frames=9) as reader:
        write_lossless([reader.read(9)], tmp_path / "alone.mkv", width=48, height=36, fps=Fraction(25))
    encode(tmp_path / "alone.mkv", tmp_path / "alone.vtw", EncodeOptions(**options))
    network = DecodeOptions(**options)
    found, wanted = (
        np.concatenate(list(decode_frames(tmp_path / name, network))) for name in ("part.vtw", "alone.vtw")
    )
    assert np.array_equal(found, wanted)
    with VtwReader(tmp_path / "part.vtw") as reader:
        assert (reader.header.options["start"], reader.header.options["duration"]) == (0.4, 0.36)


def test_a_part_meets_a_target_of_its_own(make_video: MakeVideo, options: dict[str, Any], tmp_path: Path) -> None:
    source = make_video("in.mp4", size="48x36", frames=60)
    part = {"start": 0.8, "duration": 1.2, "short_side": 36, **options}
    plain = encode(source, tmp_path / "plain.vtw", EncodeOptions(quality=45, **part))
    result = encode(source, tmp_path / "out.vtw", EncodeOptions(target_size=plain.vtw_bytes, **part))
    assert result.frames == 30
    assert 0.95 * plain.vtw_bytes < result.vtw_bytes <= plain.vtw_bytes


def test_measuring_compares_a_part_with_the_same_part(
    make_video: MakeVideo, options: dict[str, Any], tmp_path: Path
) -> None:
    source = make_video("in.mp4", size="48x36", frames=40)
    part = {"start": 0.52, "duration": 0.4, **options}
    encode(source, tmp_path / "part.vtw", EncodeOptions(**part))
    given, made = (
        measure(source, packed, MeasureOptions(metrics=("psnr",), **choices))
        for packed, choices in ((tmp_path / "part.vtw", options), (None, part))
    )
    assert given.frames == made.frames == 10
    assert given.scores.means == made.scores.means
    decoded = np.concatenate(list(decode_frames(tmp_path / "part.vtw", DecodeOptions(**options))))
    with FrameReader(probe(source), start=Fraction(13, 25), max_frames=10) as reader:
        error = (reader.read(10).astype(float) - decoded) ** 2
    assert np.mean(10 * np.log10(255**2 / error.mean((1, 2, 3)))) == pytest.approx(given.scores.means["psnr"])
    paper = measure(source, None, MeasureOptions(protocol="vidtwin", metrics=("psnr",), **part))
    assert paper.frames == 10


def test_the_command_line(make_video: MakeVideo, options: dict[str, Any], tmp_path: Path) -> None:
    source, packed = make_video("in.mp4", frames=30), tmp_path / "out.vtw"
    network = ["--weights", options["weights"], "--device", "cpu"]
    part = ["--start", "0:00.4", "--duration", "0.4"]
    done = CliRunner().invoke(cli, ["encode", str(source), str(packed), *part, *network])
    assert done.exit_code == 0, done.stderr
    assert "10 frames" in done.stderr
    refused = CliRunner().invoke(cli, ["measure", str(source), str(packed), *part, *network])
    assert refused.exit_code == 2
    assert "already encoded" in refused.stderr
    done = CliRunner().invoke(cli, ["encode", str(source), str(packed), "--start", "1:00", "--force", *network])
    assert done.exit_code == 1
    assert "only 1.20 seconds" in str(done.exception)


def test_comparing_begins_at_the_start(counted: Path, tmp_path: Path) -> None:
    reference = prepare(counted, tmp_path, frames=None, seconds=0.2, start=1.0)
    assert numbers(np.concatenate(list(reference.read()))) == [25, 26, 27, 28, 29]


def test_a_batch_takes_the_part_of_every_file(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name, frames in (("long.mp4", 30), ("short.mp4", 9)):
        make_video(name, frames=frames).rename(folder / name)
    batch = run_batch(folder, tmp_path / "packed", encoding(micro_weights, start=0.4, duration=0.4))
    assert statuses(batch) == {"long.mp4": DONE, "short.mp4": FAILED}
    encode(folder / "long.mp4", tmp_path / "alone.vtw", encoding(micro_weights, start=0.4, duration=0.4))
    assert (tmp_path / "packed" / "long.vtw").read_bytes() == (tmp_path / "alone.vtw").read_bytes()
