"""What a .vtw is decoded to: streams whose first bytes come early, numbered images, GIF and raw frames."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeVideo
from launching import vidtwin
from media_samples import read_all

from vidtwin_codec.decoding.decode import decode, decode_frames
from vidtwin_codec.encoding.encode import encode
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import FrameWriter, probe
from vidtwin_codec.media.formats import container_for
from vidtwin_codec.options import DecodeOptions, EncodeOptions


@pytest.fixture
def packed(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> Path:
    """Ten frames of 40 x 36 with sound."""
    encode(make_video("in.mp4", audio=True), tmp_path / "a.vtw", EncodeOptions(weights=str(micro_weights)))
    return tmp_path / "a.vtw"


@pytest.fixture
def options(micro_weights: Path) -> DecodeOptions:
    return DecodeOptions(weights=str(micro_weights), device="cpu")


@pytest.mark.parametrize("extension", ["png", "bmp", "ppm", "tif"])
def test_numbered_images_hold_every_bit(packed: Path, options: DecodeOptions, tmp_path: Path, extension: str) -> None:
    result = decode(packed, tmp_path / f"100%%_%03d.{extension}", options)
    made = sorted(tmp_path.glob(f"100%_*.{extension}"))
    assert [path.name for path in made] == [f"100%_{number:03d}.{extension}" for number in range(1, 11)]
    assert result.output_bytes == sum(path.stat().st_size for path in made)
    assert any("has no sound" in text for text in result.warnings)
    frames = read_all(probe(tmp_path / f"100%%_%03d.{extension}"))
    np.testing.assert_array_equal(frames, np.concatenate(list(decode_frames(packed, options))))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["f_%d.jpg", "a.y4m", "a.gif", "a.nut"])
@pytest.mark.parametrize("size", [(40, 36), (41, 35), (1040, 32)])
def test_other_outputs_show_the_same_colours(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    colours = np.array([[200, 30, 40], [30, 190, 50], [20, 40, 180], [128, 128, 128]], np.uint8)
    frames = np.broadcast_to(colours[:, None, None], (4, size[1], size[0], 3))
    with FrameWriter(tmp_path / name, *size, Fraction(25)) as writer:
        writer.write(frames)
    info = probe(tmp_path / name)
    assert (info.width, info.height, info.frames, info.fps) == (*size, 4, Fraction(25))
    assert np.abs(read_all(info).astype(int) - frames).max() <= 3


def test_sound_goes_into_what_can_hold_it(packed: Path, options: DecodeOptions, tmp_path: Path) -> None:
    for name in ("a.nut", "a.y4m"):
        told = [text for text in decode(packed, tmp_path / name, options).warnings if "has no sound" in text]
        assert bool(probe(tmp_path / name).audio_streams) == (name == "a.nut") == (not told)


def test_raw_frames_are_the_frames(packed: Path, options: DecodeOptions, tmp_path: Path) -> None:
    decode(packed, tmp_path / "a.rgb", options)
    assert (tmp_path / "a.rgb").read_bytes() == np.concatenate(list(decode_frames(packed, options))).tobytes()


def test_images_that_are_there_are_kept_unless_told(packed: Path, options: DecodeOptions, tmp_path: Path) -> None:
    (tmp_path / "f_7.png").write_bytes(b"mine")
    with pytest.raises(VidtwinError, match=r"f_7\.png: already exists"):
        decode(packed, tmp_path / "f_%d.png", options)
    assert (tmp_path / "f_7.png").read_bytes() == b"mine"
    assert not (tmp_path / "f_1.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["out.xyz"], "no video format has the extension .xyz"),
        (["out.png"], "out_%04d.png"),
        (["out.gif", "--crf", "20"], "gif output has no --crf"),
        (["out.y4m", "--lossless"], "does not keep every bit"),
    ],
)
def test_what_cannot_be_written_is_said_before_torch(arguments: list[str], said: str, tmp_path: Path) -> None:
    script = "import sys; sys.argv[0] = 'vidtwin'; from vidtwin_codec.cli.main import main\n"
    script += "try: main()\nfinally: assert 'torch' not in sys.modules, 'torch was imported'"
    command = [sys.executable, "-c", script, "decode", "missing.vtw", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("format", ["mp4", "mkv", "mov", "webm", "nut"])
def test_streams_hold_frames_and_sound(
    packed: Path, options: DecodeOptions, tmp_path: Path, format: str, micro_weights: Path
) -> None:
    command = [*vidtwin(), "decode", str(packed), "-", "--format", format, "--weights", str(micro_weights)]
    done = subprocess.run(command, capture_output=True, check=True)
    path = tmp_path / f"out.{format}"
    path.write_bytes(done.stdout)
    info = probe(path)
    assert (info.frames, info.fps, len(info.audio_streams)) == (10, Fraction(25), 1)
    assert f"{len(done.stdout) / 1000:.1f} kB" in done.stderr.decode()


@pytest.mark.parametrize("format", ["y4m", "mp4", "mkv"])
def test_the_first_bytes_leave_before_the_last_frame_is_there(format: str) -> None:
    read_end, write_end = os.pipe()
    with (
        os.fdopen(read_end, "rb", buffering=0) as reader,
        os.fdopen(write_end, "wb", buffering=0) as stream,
        FrameWriter(
            *(Path("standard output"), 32, 32, Fraction(25)),
            **{"container": container_for(Path("-"), format), "stream": stream},
        ) as writer,
    ):
        writer.write(np.zeros((100, 32, 32, 3), np.uint8))
        first = reader.read(64)  # would wait for ever if nothing left before the end
        assert writer.frames == 100
        assert first
        reader_rest = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.buffer.read()"], stdin=reader)
    assert reader_rest.wait() == 0


def test_a_named_pipe_is_written_to_as_frames_come(packed: Path, options: DecodeOptions, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.y4m")
    with subprocess.Popen(["cat", tmp_path / "p.y4m"], stdout=subprocess.PIPE) as reader:
        result = decode(packed, tmp_path / "p.y4m", options)
        assert reader.stdout is not None
        data = reader.stdout.read()
    assert data.startswith(b"YUV4MPEG2 W40 H36 F25:1")
    assert data.count(b"FRAME\n") == 10
    assert result.output_bytes == len(data)


def test_a_reader_that_leaves_ends_it_in_one_line(packed: Path, micro_weights: Path) -> None:
    command = [*vidtwin(), "decode", str(packed), "-", "--format", "rgb", "--weights", str(micro_weights), "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        said = child.stderr.read().decode()
    assert child.returncode == 1
    assert said == "vidtwin: error: standard output was closed before everything was written\n"


def test_a_stream_that_takes_little_at_a_time_gets_all() -> None:
    class Slow(io.BytesIO):
        def write(self, data: object) -> int:
            return super().write(memoryview(data)[:1000])  # type: ignore[arg-type]

    slow = Slow()
    with FrameWriter(Path("slow"), 32, 32, Fraction(25), container=container_for(Path("a.rgb")), stream=slow) as writer:
        writer.write(np.full((3, 32, 32, 3), 7, np.uint8))
    assert slow.getvalue() == bytes([7]) * 3 * 32 * 32 * 3
    assert writer.streamed == len(slow.getvalue())


def test_gif_frames_that_follow_too_fast_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VidtwinError, match="at most 100 frames a second"):
        FrameWriter(tmp_path / "a.gif", 32, 32, Fraction(120))
