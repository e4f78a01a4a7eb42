"""Inputs that are not what they seem: lying names, odd rotations, nested streams, endless metadata."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_samples import PICTURE, X264, ffmpeg, lavfi, read_all
from PIL import Image

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import probe
from vidtwin_codec.media.ffmpeg import Message
from vidtwin_codec.media.header import parse_header


@pytest.fixture(scope="session")
def sounding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of 64x48 at 25 frames a second with sound."""
    path = tmp_path_factory.mktemp("odd") / "clip.mp4"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-f", "lavfi", "-i", "sine=d=1", *X264, "-c:a", "aac", path)
    return path


def test_streams_in_a_group_are_found(sounding: Path, tmp_path: Path) -> None:
    path = tmp_path / "timecode.mov"
    ffmpeg("-i", sounding, "-c", "copy", "-timecode", "01:00:00:00", path)
    info = probe(path)
    assert (info.frames, len(info.audio_streams), info.audio_streams[0].codec) == (25, 1, "aac")


def test_words_of_a_file_are_not_taken_for_grouped_streams() -> None:
    lines = ["Input #0, mov, from 'a':", "  Metadata:", "    Stream #0:7: Video: h264, yuv420p : x"]
    lines += ["  Stream group #0:0[0x3]: Track Reference:", "    Stream #0:1: Video: h264, yuv420p, 64x48"]
    lines += ["  Stream #0:0: Audio: aac, 44100 Hz, mono", "    Stream #0:8: Audio: aac, 44100 Hz, mono"]
    header = parse_header([Message("info", "", line) for line in lines])
    assert ([one.index for one in header.video], [one.index for one in header.audio]) == ([1], [0])


@pytest.mark.parametrize(("angle", "size"), [("45", (64, 48)), ("100", (48, 64)), ("-170", (64, 48)), ("7", (64, 48))])
def test_odd_rotations_become_quarter_turns(sounding: Path, tmp_path: Path, angle: str, size: tuple[int, int]) -> None:
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", angle, "-i", sounding, "-c", "copy", path)
    info = probe(path)
    assert (info.width, info.height) == size
    assert info.rotation == -90 * round(int(angle) / 90) % 360
    assert any("no multiple of 90" in text for text in info.warnings)
    upright = read_all(probe(sounding))
    # chroma is halved, and doubled from another corner
    right = np.rot90(upright, round(int(angle) / 90), axes=(1, 2))
    assert np.abs(read_all(info).astype(int) - right).mean() < 3


def test_frames_that_say_they_are_interlaced_are_believed(tmp_path: Path) -> None:
    arguments = ("-vf", "interlace=scan=bff", "-c:v", "dvvideo", "-pix_fmt", "yuv420p")
    info = probe(lavfi(tmp_path / "dv.avi", *arguments, source="testsrc2=s=720x576:r=50:d=0.1"))
    assert info.interlaced
    assert "interlaced: deinterlaced to whole frames" in info.warnings


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "c.tif", "100%d.png"])
def test_videos_under_an_image_s_name_are_videos(sounding: Path, tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (64, 48), (40 * index, 0, 0)) for index in range(5)]
    for kind in ("gif", "png", "webp"):
        frames[0].save(tmp_path / name, kind, save_all=True, append_images=frames[1:], duration=100)
        assert (probe(tmp_path / name).frames, probe(tmp_path / name).fps) == (5, 10), kind
    shutil.copy(sounding, tmp_path / name)
    info = probe(tmp_path / name, fps=Fraction(7))
    assert (info.frames, info.fps, len(info.audio_streams)) == (25, 25, 1)


@pytest.mark.parametrize("name", ["a.jpg", "10%d.jpg", "a.tif"])
def test_images_under_another_image_s_name(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (64, 48), (200, 0, 0)).save(tmp_path / name, "png")
    info = probe(tmp_path / name, fps=Fraction(7))
    assert (info.frames, info.fps, info.codec) == (1, 7, "png")


@pytest.mark.parametrize("number", [1, 3, 5])
def test_an_empty_image_of_a_sequence_is_named(tmp_path: Path, number: int) -> None:
    for index in range(1, 6):
        Image.new("RGB", (16, 16)).save(tmp_path / f"f_{index:04d}.png")
    (tmp_path / f"f_{number:04d}.png").write_bytes(b"")
    with pytest.raises(VidtwinError, match=rf"f_000{number}\.png: the file is empty"):
        probe(tmp_path / "f_%04d.png")


def test_endless_metadata(sounding: Path, tmp_path: Path) -> None:
    chapters = "".join(f"[CHAPTER]\nSTART={n}\nEND={n + 1}\ntitle=c{n}\n" for n in range(3000))
    text = tmp_path / "words.txt"
    text.write_text(";FFMETADATA1\ncomment=" + "x\\\n" * 6000 + "y\n" + chapters)
    path = tmp_path / "words.mkv"
    ffmpeg("-i", sounding, "-f", "ffmetadata", "-i", text, "-map_metadata", "1", "-c", "copy", path)
    info = probe(path)
    assert (info.frames, len(info.audio_streams)) == (25, 1)


@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_are_transparent_only_where_they_are(tmp_path: Path, transparent: bool) -> None:
    image = Image.new("P", (16, 16))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(tmp_path / "p.png", **({"transparency": 0} if transparent else {}))
    info = probe(tmp_path / "p.png")
    assert info.pix_fmt == "pal8"
    assert any("transparency" in text for text in info.warnings) == transparent
