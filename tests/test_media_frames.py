"""Frames in and out: exact counts, sizes and colours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_samples import (
    BARS,
    PICTURE,
    bars,
    ffmpeg,
    lavfi,
    numbered,
    numbers,
    psnr,
    read_all,
    running_ffmpeg,
    stream_line,
    write_all,
)
from numpy.typing import NDArray

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import FrameReader, FrameWriter, OutputOptions, codec_names, probe, spool_stdin


def _bar_means(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The colour in the middle of each of the eight bars."""
    width = frames.shape[2]
    centres = (np.arange(8) * width + width // 2) // 8
    return np.asarray(frames[:, 8:-8, centres].mean(axis=(0, 1)))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", ["bt709", "smpte170m", "bt2020nc"])
@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv420p"])
def test_tagged_colours_are_read_as_they_are(tmp_path: Path, matrix: str, full: bool, pix_fmt: str) -> None:
    path = bars(tmp_path / "bars.mkv", matrix, full=full, size=(128, 64), pix_fmt=pix_fmt)
    # bt2020 without primaries keeps BT.709 primaries, so only the matrix matters here
    assert np.abs(_bar_means(read_all(path)) - BARS).max() <= 2


@pytest.mark.parametrize(
    ("size", "matrix"), [((128, 64), "smpte170m"), ((64, 128), "smpte170m"), ((1280, 720), "bt709")]
)
def test_untagged_colours_follow_the_size(tmp_path: Path, size: tuple[int, int], matrix: str) -> None:
    path = bars(tmp_path / "bars.mkv", matrix, full=False, size=size, tagged=False)
    assert np.abs(_bar_means(read_all(path)) - BARS).max() <= 2


@pytest.mark.parametrize("options", [OutputOptions(), OutputOptions(codec="libx265"), OutputOptions(codec="libsvtav1")])
def test_bars_come_back_without_colour_shift(tmp_path: Path, options: OutputOptions) -> None:
    source = np.repeat(BARS.astype(np.uint8), 32, axis=0)[None, None].repeat(64, axis=1).repeat(4, axis=0)
    path = write_all(tmp_path / "out.mp4", source, options=options)
    assert np.abs(_bar_means(read_all(path)) - BARS).max() <= 2.5
    assert np.abs(read_all(path).mean((0, 1, 2)) - source.mean((0, 1, 2))).max() < 1


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
def test_round_trip_without_a_network(tmp_path: Path, matrix: str) -> None:
    tags = f"format=yuv420p,setparams=range=limited:colorspace={matrix}"
    # Natural pictures have no single-pixel colour edges; blurred noise over a gradient has none either.
    natural = "gradients=s=320x180:r=25:d=0.4:seed=3:speed=0.1,noise=alls=30:allf=t:all_seed=1,gblur=sigma=2"
    path = lavfi(tmp_path / "in.mkv", "-vf", tags, "-c:v", "ffv1", source=natural)
    source = read_all(path)
    again = read_all(write_all(tmp_path / "out.mp4", source))
    assert psnr(source, again) >= 40
    assert np.abs(source.mean((0, 1, 2)) - again.mean((0, 1, 2))).max() < 0.5


def test_default_output_is_plain_h264(tmp_path: Path) -> None:
    path = write_all(tmp_path / "out.mp4", numbered(5), Fraction(24000, 1001))
    info = probe(path)
    assert (info.fps, info.frames, info.codec, info.pix_fmt) == (Fraction(24000, 1001), 5, "h264", "yuv420p")
    color = info.color
    assert (color.range, color.matrix, color.primaries, color.transfer) == ("tv", "bt709", "bt709", "bt709")
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("fps", ["24000/1001", "30000/1001", "25", "123/5", "14520/541", "1", "240"])
@pytest.mark.parametrize("extension", ["mp4", "mkv"])
def test_written_rate_is_exact(tmp_path: Path, fps: str, extension: str) -> None:
    path = write_all(tmp_path / f"out.{extension}", numbered(12, 32, 32), Fraction(fps))
    info = probe(path)
    assert info.frames == 12
    assert not info.variable_rate
    # Matroska counts milliseconds; rates that are no standard come back nearly
    exact = extension == "mp4" or fps not in ("123/5", "14520/541")
    assert info.fps == Fraction(fps) if exact else float(info.fps) == pytest.approx(float(Fraction(fps)), rel=1e-3)


@pytest.mark.parametrize("size", [(33, 21), (1, 1), (2, 2), (65, 48), (64, 47), (3, 200)])
@pytest.mark.parametrize(
    ("extension", "codec"), [("mp4", "auto"), ("mp4", "libx264"), ("mkv", "auto"), ("webm", "auto")]
)
def test_any_size_comes_back(tmp_path: Path, size: tuple[int, int], extension: str, codec: str) -> None:
    width, height = size
    frames = np.full((3, height, width, 3), (200, 120, 40), np.uint8)
    path = write_all(tmp_path / f"out.{extension}", frames, options=OutputOptions(codec=codec))
    info = probe(path)
    assert (info.width, info.height, info.frames) == (width, height, 3)
    assert np.abs(read_all(info).mean((0, 1, 2)) - (200, 120, 40)).max() < 3


def test_odd_size_stays_playable_in_browsers(tmp_path: Path) -> None:
    line = stream_line(write_all(tmp_path / "out.mp4", numbered(3, 65, 33)))
    assert "vp9" in line
    assert "yuv420p" in line
    assert "65x33" in line


@pytest.mark.parametrize("codec", ["auto", "libx264", "libx265", "ffv1", "libvpx-vp9"])
def test_lossless_keeps_every_bit(tmp_path: Path, codec: str) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 39, 65, 3), np.uint8)
    path = write_all(tmp_path / "out.mkv", frames, options=OutputOptions(codec=codec, lossless=True))
    assert np.array_equal(read_all(path), frames)


def test_every_listed_codec_writes(tmp_path: Path) -> None:
    for codec in codec_names():
        path = write_all(tmp_path / f"{codec}.mkv", numbered(3), options=OutputOptions(codec=codec))
        assert numbers(read_all(path)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("out.txt", OutputOptions(), "extension .txt"),
        ("out.mp4", OutputOptions(codec="h264"), "not an encoder"),
        ("out.mp4", OutputOptions(codec="-i"), "not an encoder"),
        ("out.webm", OutputOptions(codec="libx264"), "cannot hold it"),
        ("out.mp4", OutputOptions(codec="libsvtav1", lossless=True), "without loss"),
        ("out.mp4", OutputOptions(crf=18, lossless=True), "no --crf"),
        ("out.mkv", OutputOptions(codec="ffv1", crf=1), "no --crf"),
        ("out.mkv", OutputOptions(codec="libx264", pix_fmt="yuv420p"), "no odd sizes"),
        ("out.mkv", OutputOptions(lossless=True, pix_fmt="yuv444p"), "cannot be yuv444p"),
        ("missing/out.mp4", OutputOptions(), "No such file"),
        ("out.mp4", OutputOptions(preset="sluggish"), "sluggish"),
    ],
)
def test_refused_outputs(tmp_path: Path, name: str, options: OutputOptions, said: str) -> None:
    with pytest.raises(VidtwinError) as caught:
        write_all(tmp_path / name, numbered(60, 65, 48), options=options)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_is_called_that(tmp_path: Path) -> None:
    # by a link, so that no mistake can ever remove the device itself
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(VidtwinError, match="the disk is full"):
        write_all(tmp_path / "full", numbered(20))


def test_writer_without_frames(tmp_path: Path) -> None:
    with pytest.raises(VidtwinError, match="no frames"), FrameWriter(tmp_path / "o.mp4", 8, 8, Fraction(25)):
        pass


def test_writer_names_may_look_like_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-y.mp4", "pipe:1.mp4", "a%03d.mp4", "new\nline.mp4"):
        write_all(Path(name), numbered(2))
        assert probe(name).frames == 2


def test_sample_aspect_is_kept(tmp_path: Path) -> None:
    with FrameWriter(tmp_path / "o.mp4", 64, 48, Fraction(25), sample_aspect=Fraction(32, 27)) as writer:
        writer.write(numbered(2))
    assert probe(tmp_path / "o.mp4").sample_aspect == Fraction(32, 27)


@pytest.fixture(scope="session")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 numbered frames at 30000/1001 with B-frames and a long group."""
    return write_all(tmp_path_factory.mktemp("frames") / "counted.mp4", numbered(120), Fraction(30000, 1001))


@pytest.mark.parametrize(
    ("start", "limit", "expected"), [(0, 5, range(5)), (17, 3, range(17, 20)), (118, 9, range(118, 120))]
)
def test_part_of_a_video_is_exact_to_the_frame(counted: Path, start: int, limit: int, expected: range) -> None:
    info = probe(counted)
    with FrameReader(info, start=start / info.fps, max_frames=limit) as reader:
        assert reader.frames == len(expected)
        assert numbers(reader.read(100)) == list(expected)
        assert len(reader.read(1)) == 0
        assert reader.warnings == []


def test_start_after_the_end(counted: Path) -> None:
    with FrameReader(probe(counted), start=Fraction(100)) as reader, pytest.raises(VidtwinError, match="after the end"):
        reader.read(1)


def test_no_frames_wanted(counted: Path) -> None:
    with FrameReader(probe(counted), max_frames=0) as reader:
        assert reader.read(4).shape == (0, 48, 64, 3)


def test_reading_at_another_size_and_rate(counted: Path) -> None:
    with FrameReader(probe(counted), width=32, height=24, fps=Fraction(15)) as reader:
        frames = reader.read(1000)
        while len(more := reader.read(16)):
            frames = np.concatenate([frames, more])
        assert reader.frames == len(frames) == 60
    assert frames.shape[1:] == (24, 32, 3)
    assert numbers(frames)[:4] in ([0, 2, 4, 6], [0, 1, 3, 5])


def test_downscaling_does_not_alias(tmp_path: Path) -> None:
    checks = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
    frames = np.ascontiguousarray(np.broadcast_to(checks[None, :, :, None], (2, 128, 128, 3)))
    path = write_all(tmp_path / "c.mkv", frames, options=OutputOptions(lossless=True))
    with FrameReader(probe(path), width=48, height=48) as reader:
        assert reader.read(1).std() < 8


def test_leaving_early_ends_the_child(counted: Path) -> None:
    with FrameReader(probe(counted)) as reader:
        reader.read(1)
        child = running_ffmpeg()
    assert not child.is_running()


def test_writer_is_killed_on_an_exception(tmp_path: Path) -> None:
    writer = FrameWriter(tmp_path / "o.mp4", 64, 48, Fraction(25))
    writer.write(numbered(2))
    child = running_ffmpeg()
    writer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not child.is_running()


@pytest.mark.skipif(sys.platform == "win32", reason="process groups of a POSIX terminal")
def test_interrupt_reaches_only_the_parent_and_killing_it_ends_the_child(tmp_path: Path) -> None:
    program = (
        "import psutil, sys, time, signal; from fractions import Fraction; import numpy as np\n"
        "from vidtwin_codec.media import FrameWriter\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "w = FrameWriter(sys.argv[1], 64, 48, Fraction(25)); w.write(np.zeros((5, 48, 64, 3), np.uint8))\n"
        "print(psutil.Process().children()[0].pid, flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "o.mp4")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.killpg(parent.pid, signal.SIGINT)
        time.sleep(0.3)
        assert _alive(child)
        parent.kill()
    for _ in range(100):
        if not _alive(child):
            return
        time.sleep(0.05)
    pytest.fail("ffmpeg outlived its parent")


def _alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_deep_and_unusual_pixel_formats(tmp_path: Path) -> None:
    source = f"{PICTURE},format=gbrp"
    plain = read_all(lavfi(tmp_path / "plain.mkv", "-frames:v", "2", "-c:v", "ffv1", source=source))
    for pix_fmt in ("yuv444p10le", "yuv444p12le", "gbrp10le", "rgb48le"):
        info = probe(
            lavfi(tmp_path / f"{pix_fmt}.mkv", "-frames:v", "2", "-c:v", "ffv1", "-pix_fmt", pix_fmt, source=source)
        )
        assert psnr(read_all(info), plain) > 40, pix_fmt
    for pix_fmt in ("yuv422p10le", "yuv420p10le", "yuv410p", "yuv411p"):
        info = probe(
            lavfi(tmp_path / f"{pix_fmt}.mkv", "-frames:v", "2", "-c:v", "ffv1", "-pix_fmt", pix_fmt, source=source)
        )
        assert psnr(read_all(info), plain) > 16, pix_fmt
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, 48).tobytes()
    ffmpeg(*("-f", "rawvideo", "-pix_fmt", "gray", "-s", "64x48", "-i", "-"), tmp_path / "g.png", data=ramp)
    assert np.array_equal(read_all(tmp_path / "g.png")[0, 0, :, 1], np.arange(64) * 4)


@pytest.mark.parametrize("name", ["a.mkv", "a.png", "a.webm", "a.mov"])
def test_transparency_is_composited_on_black(tmp_path: Path, name: str) -> None:
    encoder = {
        "a.mkv": ("-c:v", "ffv1", "-pix_fmt", "rgba"),
        "a.webm": ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p"),
        "a.mov": ("-c:v", "prores_ks", "-pix_fmt", "yuva444p10le"),
    }.get(name, ())
    half = "color=white:s=64x64:r=25,format=rgba,colorchannelmixer=aa=0.5"
    info = probe(lavfi(tmp_path / name, "-frames:v", "1", *encoder, source=half))
    assert info.alpha
    assert any("composited on black" in warning for warning in info.warnings)
    assert np.abs(read_all(info).astype(int) - 128).max() <= 3


@pytest.mark.parametrize(("transfer", "white"), [("smpte2084", 203), ("arib-std-b67", 203)])
def test_hdr_is_tone_mapped(tmp_path: Path, transfer: str, white: int) -> None:
    # a grey ramp in the HDR curve, tagged as such
    code = "color=gray:s=64x64:r=25,format=yuv420p10le,geq=lum='64+876*X/63':cb=512:cr=512"
    tags = f"setparams=range=limited:color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc"
    path = lavfi(tmp_path / "h.mkv", "-frames:v", "2", "-c:v", "ffv1", source=f"{code},{tags}")
    info = probe(path)
    assert info.hdr
    assert any("tone-mapped" in warning for warning in info.warnings)
    row = read_all(info)[0, 32].astype(int)
    assert np.abs(row - row.mean(1, keepdims=True)).max() <= 2, "grey stays grey"
    assert (np.diff(row[:, 1]) >= 0).all(), "brighter stays brighter"
    assert row[0, 1] <= 2
    assert row[-1, 1] >= 250
    # the code value of diffuse white: 58 % of PQ, 75 % of HLG (BT.2408)
    assert 190 <= row[round(63 * {"smpte2084": 0.58, "arib-std-b67": 0.75}[transfer]), 1] <= 250, white


def test_wide_gamut_is_converted(tmp_path: Path) -> None:
    tags = "setparams=range=full:color_primaries=bt2020:color_trc=bt709:colorspace=gbr"
    path = lavfi(
        tmp_path / "w.mkv", "-frames:v", "1", "-c:v", "ffv1", source=f"color=0xc87850:s=32x32:r=25,format=gbrp,{tags}"
    )
    # BT.2087: BT.2020 to BT.709 primaries, between the curves of a BT.1886 display
    to_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
    expected = 255 * (to_709 @ (np.array([0xC8, 0x78, 0x50]) / 255) ** 2.4) ** (1 / 2.4)
    assert np.abs(read_all(path)[0, 16, 16] - expected).max() <= 2


def test_standard_input_is_spooled(monkeypatch: pytest.MonkeyPatch, counted: Path) -> None:
    with counted.open("rb") as stream:
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": stream}))
        with spool_stdin() as path:
            assert probe(path).frames == 120
    assert not path.exists()


def test_empty_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "rb") as stream:
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": stream}))
        with pytest.raises(VidtwinError, match="standard input is empty"), spool_stdin():
            pass
