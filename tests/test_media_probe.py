"""What probing finds out, and how it refuses what is no video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_samples import PICTURE, X264, ffmpeg, lavfi, read_all

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.media.rate import measure_rate


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of 64x48 at 25 frames a second, H.264, no sound."""
    return lavfi(tmp_path_factory.mktemp("media") / "clip.mp4", *X264)


@pytest.mark.parametrize("extension", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "30", "12.5", "32.4", "24.6"])
def test_rate_and_count_are_exact(tmp_path: Path, rate: str, extension: str) -> None:
    path = lavfi(tmp_path / f"x.{extension}", "-frames:v", "30", *X264, source=f"testsrc2=s=32x32:r={rate}")
    info = probe(path)
    assert (info.fps, info.frames, info.variable_rate) == (Fraction(rate), 30, False)
    assert info.duration == 30 / Fraction(rate)


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(24000, 1001), Fraction(30), Fraction(60000, 1001)])
@pytest.mark.parametrize("count", [40, 4000])
def test_millisecond_times_still_give_the_exact_rate(rate: Fraction, count: int) -> None:
    pts = np.array([round(1000 * index / rate) for index in range(count)])
    found = measure_rate(pts, Fraction(1, 1000), 0, None if count > 1000 else rate)
    assert (found.fps, found.variable, found.frames) == (rate, False, count)


def test_jitter_is_not_a_variable_rate() -> None:
    generator = np.random.default_rng(1)
    pts = np.arange(300) * 3000 + generator.integers(-900, 900, 300)
    found = measure_rate(pts, Fraction(1, 90000), 3000, None)
    assert (found.fps, found.variable, found.frames) == (30, False, 300)


def test_left_out_frames_keep_the_recording_rate() -> None:
    kept = np.delete(np.arange(300), [50, 51, 52, 120, 121, 200])
    found = measure_rate(kept * 3000, Fraction(1, 90000), 3000, None)
    assert (found.fps, found.variable, found.frames) == (30, True, 300)


def test_two_rates_in_one_file_become_their_mean() -> None:
    pts = np.concatenate([np.arange(50) * 20, 1000 + np.arange(50) * 50])
    found = measure_rate(pts, Fraction(1, 1000), 50, None)
    assert found.variable
    assert found.frames == 100
    assert float(found.fps) == pytest.approx(100 / 3.5, rel=0.01)


def test_variable_rate_is_resampled_to_the_length_it_had(tmp_path: Path) -> None:
    varied = ("-vf", "setpts='if(lt(N,30),N/30,1+(N-30)/15)/TB'", "-fps_mode", "vfr", "-enc_time_base", "1/90000")
    info = probe(lavfi(tmp_path / "v.mp4", *varied, *X264, source="testsrc2=s=32x32:r=30:d=2"))
    assert info.variable_rate
    assert "variable frame rate" in info.warnings[0]
    assert info.frames is not None
    assert info.duration is not None
    assert float(info.duration) == pytest.approx(3, abs=0.1)
    assert len(read_all(info)) == info.frames


def test_rotation_and_aspect_turn_together(tmp_path: Path) -> None:
    flat = lavfi(tmp_path / "flat.mp4", "-vf", "setsar=4/3", *X264)
    ffmpeg("-display_rotation", "90", "-i", flat, "-c", "copy", tmp_path / "turned.mp4")
    before, after = probe(flat), probe(tmp_path / "turned.mp4")
    assert (before.width, before.height, before.sample_aspect, before.rotation) == (64, 48, Fraction(4, 3), 0)
    assert (after.width, after.height, after.sample_aspect, after.rotation) == (48, 64, Fraction(3, 4), 270)
    assert np.abs(read_all(after).astype(int) - np.rot90(read_all(before), axes=(1, 2))).mean() < 1.5


@pytest.mark.parametrize("name", ["raw.h264", "raw.m2v", "x.gif", "hidden.webm", "live.mkv"])
def test_inputs_without_a_stated_length_are_counted(tmp_path: Path, name: str) -> None:
    encoder = {
        "raw.h264": X264,
        "hidden.webm": ("-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-pix_fmt", "yuv420p"),
        "live.mkv": (*X264, "-live", "1"),
    }.get(name, ())
    info = probe(lavfi(tmp_path / name, *encoder))
    assert (info.fps, info.frames) == (25, 25)
    assert len(read_all(info)) == 25


def test_edit_list_hides_frames(tmp_path: Path) -> None:
    source = lavfi(tmp_path / "long.mp4", *X264, "-g", "50", source="testsrc2=s=32x32:r=25:d=2")
    ffmpeg("-ss", "0.7", "-i", source, "-c", "copy", tmp_path / "cut.mp4")
    info = probe(tmp_path / "cut.mp4")
    assert info.frames == len(read_all(info)) < 40


def test_interlaced_is_counted_in_frames(tmp_path: Path) -> None:
    path = lavfi(
        tmp_path / "i.ts", "-c:v", "libx264", "-flags", "+ildct+ilme", "-x264-params", "tff=1", "-pix_fmt", "yuv420p"
    )
    info = probe(path)
    assert info.interlaced
    assert "interlaced" in info.warnings[0]
    assert (info.fps, info.frames, len(read_all(info))) == (25, 25, 25)


def test_only_the_first_streams_count(tmp_path: Path) -> None:
    picture, tone = ("-f", "lavfi", "-i", PICTURE), ("-f", "lavfi", "-i", "sine=d=1")
    maps = ("-map", "0", "-map", "1", "-map", "2", "-map", "3")
    ffmpeg(*picture, *picture, *tone, *tone, *maps, *X264, "-ac:a:1", "2", "-c:a", "aac", tmp_path / "many.mp4")
    info = probe(tmp_path / "many.mp4")
    assert [stream.channels for stream in info.audio_streams] == [1, 2]
    assert info.audio_streams[0].codec == "aac"
    assert any("2 video streams" in warning for warning in info.warnings)
    assert any("2 audio streams" in warning for warning in info.warnings)


def test_cover_picture_is_no_video(tmp_path: Path, clip: Path) -> None:
    cover = lavfi(tmp_path / "c.png", "-frames:v", "1", source="color=red:s=100x100")
    ffmpeg(
        "-i",
        cover,
        "-i",
        clip,
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        "-disposition:v:0",
        "attached_pic",
        tmp_path / "v.mp4",
    )
    assert probe(tmp_path / "v.mp4").width == 64
    tone = ("-f", "lavfi", "-i", "sine=d=0.2")
    ffmpeg(
        *tone,
        "-i",
        cover,
        "-map",
        "0",
        "-map",
        "1",
        "-c:v",
        "copy",
        "-disposition:v",
        "attached_pic",
        tmp_path / "a.m4a",
    )
    with pytest.raises(VidtwinError, match="only a cover picture"):
        probe(tmp_path / "a.m4a")


@pytest.mark.parametrize(
    "name",
    [
        "-dash.mp4",
        "con:cat.mp4",
        "concat:clip.mp4",
        "pipe:0",
        "50%03d off.mp4",
        "new\nline.mp4",
        "http:/host/x.mp4",
        "a'b\"c.mp4",
    ],
)
def test_names_are_only_names(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(clip.read_bytes())
    assert probe(name).frames == len(read_all(probe(name))) == 25


def test_literal_image_name_is_not_a_pattern(tmp_path: Path) -> None:
    plain = lavfi(tmp_path / "plain.png", "-frames:v", "1")
    (tmp_path / "f_%02d*.png").write_bytes(plain.read_bytes())
    info = probe(tmp_path / "f_%02d*.png")
    assert (info.frames, len(read_all(info))) == (1, 1)


def test_image_sequence(tmp_path: Path) -> None:
    folder = tmp_path / "50%d off"
    folder.mkdir()
    pattern = f"file:{str(folder).replace('%', '%%')}/f%%_%03d.png"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-frames:v", "6", "-start_number", "7", pattern)
    info = probe(folder / "f%_%03d.png")
    assert (info.fps, info.frames, len(read_all(info)), info.warnings) == (25, 6, 6, ())
    assert info.file_bytes == sum(image.stat().st_size for image in folder.iterdir())
    assert probe(folder / "f%_%03d.png", fps=Fraction(24000, 1001)).fps == Fraction(24000, 1001)
    (folder / "f%_010.png").unlink()
    info = probe(folder / "f%_%03d.png")
    assert (info.frames, info.warnings) == (3, ("image number 10 is missing: the sequence ends before it",))
    with pytest.raises(VidtwinError, match="no numbered images"):
        probe(folder / "g_%03d.png")


def test_playlist_does_not_reach_the_network(tmp_path: Path) -> None:
    listing = tmp_path / "list.m3u8"
    listing.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(VidtwinError):
        probe(listing)


@pytest.mark.parametrize(
    "name", ["words.txt", "noise.mp4", "empty.mp4", "", "missing.mp4", "null\0.mp4", "tone.wav", "cut.mp4"]
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, clip: Path, name: str) -> None:
    (tmp_path / "words.txt").write_text("not a video, but many words\n" * 40)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:3000])
    if name == "tone.wav":
        lavfi(tmp_path / name, source="sine=d=0.1")
    with pytest.raises(VidtwinError) as caught:
        probe(tmp_path / name)
    said = {
        "": "is a directory",
        "missing.mp4": "no such file",
        "tone.wav": "has audio but no video",
        "empty.mp4": "is empty",
    }
    said |= {"cut.mp4": "cut off", "null\0.mp4": "null character"}
    assert said.get(name, "not a video") in caught.value.message
    assert "\n" not in caught.value.message


def test_truncated_file_gives_what_is_there(tmp_path: Path) -> None:
    whole = lavfi(tmp_path / "w.mp4", *X264, "-movflags", "+faststart", source="testsrc2=s=160x120:r=25:d=3")
    part = tmp_path / "part.mp4"
    part.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    info = probe(part)
    assert info.fps == 25
    assert not info.variable_rate
    assert any("truncated" in warning and "of 3.0" in warning for warning in info.warnings)
    count = len(read_all(info))
    assert 20 < count <= (info.frames or 0) < 60
    with FrameReader(info) as reader:
        while len(reader.read(16)):
            pass
    assert any("decoding errors" in warning for warning in reader.warnings)


def test_hdr_without_zimg_is_not_called_tone_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tags = "setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084"
    path = lavfi(tmp_path / "hdr.mkv", "-vf", f"format=yuv420p10le,{tags}", "-frames:v", "2", "-c:v", "ffv1")
    assert any("tone-mapped to" in warning for warning in probe(path).warnings)
    monkeypatch.setattr("vidtwin_codec.media.color.has_filters", lambda *names: False)
    assert any("cannot tone-map" in warning for warning in probe(path).warnings)


def test_a_gap_in_a_steady_recording_is_a_gap_and_not_another_rate() -> None:
    """As cutting without re-encoding leaves it: one frame is missing near the end."""
    times = np.array([*range(26), 27], np.int64) * 512
    rate = measure_rate(times, Fraction(1, 12800), 512, None)
    assert (rate.fps, rate.variable, rate.frames) == (Fraction(25), True, 28)
