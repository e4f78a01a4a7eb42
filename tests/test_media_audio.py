"""Sound: on the clock of the first video frame, before and after a round trip."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_samples import X264, ffmpeg, first_picture, lavfi, numbered, onsets, sound, stream_line

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import AudioTrack, FrameWriter, OutputOptions, extract_audio, open_audio_track, probe

SECONDS = 3
BEEPS = (0.5, 2.5)
NEAR = 0.005


def beeping(
    target: Path, *, audio_at: float = 0.0, video_at: float = 0.0, codec: str = "aac", channels: int = 2
) -> Path:
    """Three seconds of video with beeps at 0.5 s and 2.5 s of its audio, each stream starting at its own time."""
    tone = "+".join(f"between(t,{beep},{beep + 0.1})" for beep in BEEPS)
    audio = f"aevalsrc='0.5*sin(2*PI*1000*t)*({tone})':s=48000:d={SECONDS}"
    layout = ("-ac", str(channels), "-c:a", codec)
    inputs = ("-itsoffset", str(video_at), "-f", "lavfi", "-i", f"testsrc2=s=64x48:r=25:d={SECONDS}")
    inputs += ("-itsoffset", str(audio_at), "-f", "lavfi", "-i", audio)
    ffmpeg(*inputs, "-map", "0", "-map", "1", *X264, *layout, target)
    return target


def remux(audio: Path, target: Path, track: AudioTrack | None = None) -> Path:
    with FrameWriter(target, 64, 48, Fraction(25), audio=track or audio) as writer:
        writer.write(numbered(SECONDS * 25))
    return target


@pytest.mark.parametrize("mode", ["opus", "copy"])
@pytest.mark.parametrize("extension", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(("audio_at", "video_at"), [(0.0, 0.0), (0.4, 0.0), (0.0, 0.3)])
def test_beeps_stay_where_they_were(
    tmp_path: Path, mode: str, extension: str, audio_at: float, video_at: float
) -> None:
    info = probe(beeping(tmp_path / f"in.{extension}", audio_at=audio_at, video_at=video_at))
    assert (info.fps, info.frames) == (25, SECONDS * 25)
    kept = extract_audio(info, tmp_path / "a.mka", mode=mode)  # type: ignore[arg-type]
    assert kept is not None
    assert kept.codec == ("opus" if mode == "opus" else "aac")
    assert kept.bytes == (tmp_path / "a.mka").stat().st_size
    expected = [moment - first_picture(info.path) for moment in onsets(sound(info.path))]
    assert expected == pytest.approx([beep + audio_at - video_at for beep in BEEPS], abs=0.03)  # the frame grid
    assert onsets(sound(tmp_path / "a.mka")) == pytest.approx(expected, abs=NEAR)
    out = remux(tmp_path / "a.mka", tmp_path / "out.mp4")
    assert first_picture(out) == 0
    assert onsets(sound(out)) == pytest.approx(expected, abs=NEAR)
    assert f"Audio: {kept.codec}" in stream_line(out, "Audio")


@pytest.mark.parametrize("mode", ["opus", "copy"])
def test_part_of_the_sound(tmp_path: Path, mode: str) -> None:
    info = probe(beeping(tmp_path / "in.mp4"))
    extract_audio(info, tmp_path / "a.mka", mode=mode, start=Fraction(2), duration=Fraction(3, 4))  # type: ignore[arg-type]
    samples = sound(tmp_path / "a.mka")
    assert onsets(samples) == pytest.approx([0.5], abs=2 * NEAR)
    assert len(samples) / 48000 == pytest.approx(0.75, abs=0.06)


@pytest.mark.parametrize("mode", ["opus", "copy"])
@pytest.mark.parametrize("audio_at", [0.0, 0.3])
def test_part_of_the_sound_beside_part_of_the_pictures(tmp_path: Path, mode: str, audio_at: float) -> None:
    info = probe(beeping(tmp_path / "in.mp4", audio_at=audio_at))
    extract_audio(info, tmp_path / "a.mka", mode=mode)  # type: ignore[arg-type]
    track = open_audio_track(tmp_path / "a.mka", start=Fraction(2), duration=Fraction(1))
    out = remux(tmp_path / "a.mka", tmp_path / "out.mp4", track)
    samples = sound(out)
    assert onsets(samples) == pytest.approx([0.5 + audio_at], abs=2 * NEAR)
    assert len(samples) / 48000 == pytest.approx(1, abs=0.1)


def test_rates_and_channels(tmp_path: Path) -> None:
    sizes = {}
    for channels in (1, 2, 6):
        info = probe(beeping(tmp_path / f"{channels}.mkv", codec="flac", channels=channels))
        kept = extract_audio(info, tmp_path / f"{channels}.mka")
        assert kept is not None
        sizes[channels] = kept.bytes
        assert ("mono" if channels == 1 else "stereo") in stream_line(tmp_path / f"{channels}.mka", "Audio")
    assert sizes[1] < sizes[2]
    noise = ("-f", "lavfi", "-i", "anoisesrc=d=4:a=0.3")
    ffmpeg(
        *noise, "-f", "lavfi", "-i", "testsrc2=s=32x32:r=5:d=4", *X264, "-ac", "2", "-c:a", "flac", tmp_path / "n.mkv"
    )
    low = extract_audio(probe(tmp_path / "n.mkv"), tmp_path / "l.mka")
    high = extract_audio(probe(tmp_path / "n.mkv"), tmp_path / "h.mka", bitrate_kbps=128)
    assert low is not None
    assert high is not None
    assert low.bytes * 8 / 4000 == pytest.approx(48, rel=0.3)
    assert high.bytes * 8 / 4000 == pytest.approx(128, rel=0.3)


def test_the_same_sound_gives_the_same_bytes(tmp_path: Path) -> None:
    info = probe(beeping(tmp_path / "in.mp4"))
    for name in ("a.mka", "b.mka"):
        extract_audio(info, tmp_path / name)
    assert (tmp_path / "a.mka").read_bytes() == (tmp_path / "b.mka").read_bytes()


def test_no_sound(tmp_path: Path) -> None:
    info = probe(lavfi(tmp_path / "v.mp4", *X264))
    assert info.audio_streams == ()
    assert extract_audio(info, tmp_path / "a.mka") is None
    assert not (tmp_path / "a.mka").exists()


def test_sound_that_ends_before_the_first_frame(tmp_path: Path) -> None:
    info = probe(beeping(tmp_path / "in.mkv", video_at=5))
    for mode in ("opus", "copy"):
        assert extract_audio(info, tmp_path / "a.mka", mode=mode) is None  # type: ignore[arg-type]
        assert not (tmp_path / "a.mka").exists()


@pytest.mark.parametrize(
    ("codec", "extension", "becomes"),
    [
        ("flac", "mp4", "flac"),
        ("libmp3lame", "mp4", "mp3"),
        ("pcm_s16le", "mp4", "aac"),
        ("libvorbis", "mp4", "aac"),
        ("aac", "webm", "opus"),
        ("pcm_s16le", "mkv", "pcm_s16le"),
        ("libopus", "mov", "aac"),
    ],
)
def test_sound_a_container_cannot_hold_is_encoded_again(
    tmp_path: Path, codec: str, extension: str, becomes: str
) -> None:
    info = probe(beeping(tmp_path / "in.mkv", codec=codec))
    extract_audio(info, tmp_path / "a.mka", mode="copy")
    out = remux(tmp_path / "a.mka", tmp_path / f"out.{extension}")
    assert f"Audio: {becomes}" in stream_line(out, "Audio")
    assert onsets(sound(out)) == pytest.approx(BEEPS, abs=NEAR)


def test_sound_beside_an_odd_size(tmp_path: Path) -> None:
    extract_audio(probe(beeping(tmp_path / "in.mp4")), tmp_path / "a.mka")
    with FrameWriter(
        tmp_path / "o.mp4", 33, 21, Fraction(25), audio=tmp_path / "a.mka", options=OutputOptions()
    ) as writer:
        writer.write(np.zeros((75, 21, 33, 3), np.uint8))
    assert onsets(sound(tmp_path / "o.mp4")) == pytest.approx(BEEPS, abs=NEAR)
    assert (probe(tmp_path / "o.mp4").width, probe(tmp_path / "o.mp4").height) == (33, 21)


def test_sound_does_not_drift_at_ntsc_rates(tmp_path: Path) -> None:
    source = ("-f", "lavfi", "-i", "testsrc2=s=32x32:r=24000/1001:d=20")
    tone = "aevalsrc='0.5*sin(2*PI*1000*t)*(between(t,0.5,0.6)+between(t,19,19.1))':d=20"
    ffmpeg(*source, "-f", "lavfi", "-i", tone, *X264, "-c:a", "aac", tmp_path / "in.mp4")
    info = probe(tmp_path / "in.mp4")
    extract_audio(info, tmp_path / "a.mka")
    with FrameWriter(tmp_path / "o.mp4", 32, 32, info.fps, audio=tmp_path / "a.mka") as writer:
        for _ in range(info.frames or 0):
            writer.write(np.zeros((1, 32, 32, 3), np.uint8))
    again = probe(tmp_path / "o.mp4")
    assert (again.fps, again.frames) == (info.fps, info.frames)
    assert onsets(sound(tmp_path / "o.mp4")) == pytest.approx([0.5, 19], abs=NEAR)


def test_extracting_to_a_bad_place(tmp_path: Path) -> None:
    info = probe(beeping(tmp_path / "in.mp4"))
    with pytest.raises(VidtwinError, match="No such file"):
        extract_audio(info, tmp_path / "missing" / "a.mka")
    if Path("/dev/full").exists():
        # by a link, so that no mistake can ever remove the device itself
        (tmp_path / "full").symlink_to("/dev/full")
        with pytest.raises(VidtwinError, match="the disk is full"):
            extract_audio(info, tmp_path / "full")
        assert (tmp_path / "full").exists()


@pytest.mark.parametrize(
    ("forms", "rates"),
    [
        ((2, 6, 2), (48000, 48000, 48000)),
        ((6, 1, 2), (44100, 48000, 32000)),
        ((1, 2, 1), (48000, 32000, 48000)),
    ],
)
def test_sound_that_changes_its_form_stays_in_step(
    tmp_path: Path, forms: tuple[int, ...], rates: tuple[int, ...]
) -> None:
    """As television recordings do: a beep begins half a second into each of the three parts."""
    parts = []
    for number, (channels, rate) in enumerate(zip(forms, rates, strict=True)):
        tone = "aevalsrc='0.5*sin(2*PI*1000*t)*between(t,0.5,0.6)':s=48000:d=1"
        inputs = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1", "-f", "lavfi", "-i", tone)
        sound_form = ("-c:a", "ac3", "-ac", str(channels), "-ar", str(rate), "-output_ts_offset", str(number))
        ffmpeg(*inputs, *X264, "-bf", "0", *sound_form, tmp_path / "p.ts")
        parts.append((tmp_path / "p.ts").read_bytes())
    (tmp_path / "all.ts").write_bytes(b"".join(parts))
    info = probe(tmp_path / "all.ts")
    assert info.duration == 3
    kept = extract_audio(info, tmp_path / "a.mka")
    assert kept is not None
    samples = sound(tmp_path / "a.mka")
    assert len(samples) / 48000 == pytest.approx(3, abs=0.1)
    assert onsets(samples) == pytest.approx([0.5, 1.5, 2.5], abs=0.046)
