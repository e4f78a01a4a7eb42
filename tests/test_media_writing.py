"""What ffmpeg wrote is what it was given: frames are counted, complaints are heard, bytes are the same twice."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from media_samples import ffmpeg, numbered, stand_in, write_all

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import FrameWriter, OutputOptions
from vidtwin_codec.media.ffmpeg import executable, video_encoders


@pytest.fixture
def in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that is run in place of ffmpeg, which it calls ``$ffmpeg``; to be written."""
    script = tmp_path / "ffmpeg.sh"
    real = executable()
    video_encoders()
    monkeypatch.setenv("ffmpeg", real)
    monkeypatch.setattr("vidtwin_codec.media.ffmpeg.executable", lambda: str(script))
    return script


def test_frames_that_ffmpeg_lost_without_a_word_are_missed(tmp_path: Path, in_between: Path) -> None:
    stand_in(in_between, 'exec "$ffmpeg" "${@:1:$#-1}" -frames:v 3 "${@: -1}"')
    with pytest.raises(VidtwinError, match=r"o\.mp4: the video cannot be written \(ffmpeg wrote 3 of 5 frames\)"):
        write_all(tmp_path / "o.mp4", numbered(5))


def test_a_failure_that_ffmpeg_only_mentions_is_one(tmp_path: Path, in_between: Path) -> None:
    said = "[Parsed_scale_0 @ 0x55] [error] Failed initializing scaling graph (Resource temporarily unavailable)"
    stand_in(in_between, f'echo \'{said}\' >&2\nexec "$ffmpeg" "$@"')
    with pytest.raises(VidtwinError, match=r"cannot be written.*Failed initializing scaling graph"):
        write_all(tmp_path / "o.mp4", numbered(5))


def test_an_ffmpeg_that_says_nothing_is_not_believed(tmp_path: Path, in_between: Path) -> None:
    stand_in(in_between, "cat > /dev/null")
    with pytest.raises(VidtwinError, match="cannot be written"):
        write_all(tmp_path / "o.mp4", numbered(5))


@pytest.mark.parametrize("extension", ["mp4", "mkv", "webm"])
def test_the_same_frames_and_sound_give_the_same_bytes(tmp_path: Path, extension: str) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.4", "-c:a", "libopus", tmp_path / "a.mka")
    made = []
    for number in range(2):
        path = tmp_path / f"{number}.{extension}"
        with FrameWriter(path, 64, 48, Fraction(25), audio=tmp_path / "a.mka", options=OutputOptions()) as writer:
            writer.write(numbered(10))
        made.append(path.read_bytes())
    assert made[0] == made[1]
