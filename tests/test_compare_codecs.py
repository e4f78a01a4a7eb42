"""Each conventional codec as ffmpeg really runs it: key frames, bytes, frames back."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from media_samples import ffmpeg, lavfi, numbered, numbers, psnr, write_all

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.compare import codecs as codecs_module
from vidtwin_codec.evaluation.compare.codecs import CODECS, PRESETS, ConventionalCodec, Gop, coarsest
from vidtwin_codec.evaluation.compare.reference import Reference, frame_indices, prepare
from vidtwin_codec.evaluation.compare.streams import decode_stream, encode_stream
from vidtwin_codec.media import OutputOptions

FRAMES = 36


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Numbered frames of an odd size."""
    folder = tmp_path_factory.mktemp("reference")
    source = write_all(folder / "in.mkv", numbered(FRAMES, 81, 65), options=OutputOptions("ffv1", lossless=True))
    return prepare(source, folder, frames=None, seconds=10)


@pytest.fixture(scope="module")
def smooth(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Twenty frames that move without anything an encoder would take for a cut."""
    folder = tmp_path_factory.mktemp("smooth")
    source = lavfi(folder / "in.mkv", "-c:v", "ffv1", source="testsrc2=s=64x64:r=25:d=0.8")
    return prepare(source, folder, frames=None, seconds=10)


def installed(name: str) -> ConventionalCodec:
    codec = CODECS[name]
    if codec.missing():
        pytest.skip(f"{codec.missing()}")
    return codec


def key_frames(codec: ConventionalCodec, stream: Path) -> list[int]:
    """Packets that ffmpeg's parser takes for key frames, by their number."""
    listed = ffmpeg("-f", codec.muxer, "-i", stream, "-c", "copy", "-f", "framecrc", "-").decode()
    packets = [line for line in listed.splitlines() if not line.startswith("#")]
    return [number for number, line in enumerate(packets) if "F=0x0" not in line]


def test_the_reference_holds_the_source_exactly_and_an_even_copy(reference: Reference) -> None:
    assert (reference.width, reference.height, reference.frames, reference.fps) == (81, 65, FRAMES, 25)
    assert (reference.coded_width, reference.coded_height) == (82, 66)
    assert np.array_equal(np.concatenate(list(reference.read())), numbered(FRAMES, 81, 65))
    head = reference.yuv.read_bytes()[:60]
    assert b"W82 H66" in head
    assert reference.yuv.stat().st_size > FRAMES * 82 * 66 * 3 // 2


@pytest.mark.parametrize("name", CODECS)
def test_key_frames_lie_where_the_gop_says(name: str, smooth: Reference, tmp_path: Path) -> None:
    codec = installed(name)
    found = {}
    for gop in Gop:
        stream = encode_stream(
            codec, smooth, tmp_path / f"{gop}.bin", preset="medium", gop=gop, clip_frames=16, crf=coarsest(codec) - 15
        )
        found[gop] = key_frames(codec, stream.path)
        assert 0 < stream.bytes <= stream.path.stat().st_size
        assert stream.seconds > 0
    assert found[Gop.CLIP] == [0, 16]
    assert found[Gop.SEQUENCE] == [0]


@pytest.mark.parametrize("name", ["x264", "x265", "svt-av1"])
def test_frames_come_back_in_order_cropped_and_like_their_source(
    name: str, reference: Reference, tmp_path: Path
) -> None:
    codec = installed(name)
    stream = encode_stream(
        codec, reference, tmp_path / "a.bin", preset="medium", gop=Gop.SEQUENCE, clip_frames=16, crf=20
    )
    decoded = np.concatenate(list(decode_stream(codec, stream.path, reference)))
    assert decoded.shape == (FRAMES, 65, 81, 3)
    assert numbers(decoded) == list(range(FRAMES))
    assert psnr(decoded, numbered(FRAMES, 81, 65)) > 28


def test_streams_hold_nothing_that_decoding_does_not_need(reference: Reference, tmp_path: Path) -> None:
    for name, telltale in (("x264", b"x264 - core"), ("x265", b"x265 (build")):
        codec = installed(name)
        stream = encode_stream(codec, reference, tmp_path / name, preset="medium", gop=Gop.CLIP, clip_frames=16, crf=45)
        assert telltale not in stream.path.read_bytes()
    av1 = installed("svt-av1")
    stream = encode_stream(av1, reference, tmp_path / "av1", preset="medium", gop=Gop.CLIP, clip_frames=16, crf=60)
    delimiters = ffmpeg("-f", "obu", "-i", stream.path, "-c", "copy", "-f", "ivf", "-")
    assert stream.bytes == stream.path.stat().st_size - 2 * FRAMES
    assert len(delimiters) > stream.bytes


@pytest.mark.parametrize("name", CODECS)
def test_every_preset_and_rate_gives_options_ffmpeg_would_not_see_twice(name: str) -> None:
    codec = CODECS[name]
    for preset in PRESETS:
        for gop in Gop:
            for crf in (1.0, 31.25, float(codec.coarsest)):
                options = codec.arguments(preset, gop, 16, crf)
                names = options[::2]
                assert len(set(names)) == len(names)
                assert re.search(rf"\b{crf:g}\b", " ".join(options))


def test_a_missing_encoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs_module, "video_encoders", lambda: frozenset({"libx264"}))
    assert CODECS["x264"].missing() is None
    assert CODECS["vvenc"].missing() == "this ffmpeg was built without libvvenc"


def test_an_encoder_that_fails_says_why(reference: Reference, tmp_path: Path) -> None:
    with pytest.raises(VidtwinError, match="x264 cannot encode this"):
        encode_stream(
            installed("x264"), reference, tmp_path / "no" / "a", preset="medium", gop=Gop.CLIP, clip_frames=16, crf=20
        )


def test_frames_to_look_at_are_spread_and_distinct() -> None:
    assert frame_indices(96, 3) == [16, 48, 80]
    assert frame_indices(2, 3) == [0, 1]
    assert frame_indices(1, 3) == [0]
