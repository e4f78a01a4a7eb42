"""Videos that come down a pipe: encoded as they come where that can be, to the bytes that the file gives."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from launching import vidtwin
from media_samples import ffmpeg

from vidtwin_codec import EncodeOptions
from vidtwin_codec import encode as encode_video
from vidtwin_codec.container import VtwReader, VtwStream
from vidtwin_codec.encoding import audio
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import live
from vidtwin_codec.media.live import open_piped

FRAGMENTS = ("-movflags", "+frag_keyframe+empty_moov+default_base_moof", "-g", "25")
KINDS = {"mkv": (), "ts": (), "y4m": ("-pix_fmt", "yuv420p"), "mp4": FRAGMENTS}


def video(folder: Path, name: str, *arguments: str, seconds: float = 12, rate: str = "25") -> Path:
    """Noise of 64 x 48 pixels, which takes megabytes, with sound where the format has any."""
    picture = ("-f", "lavfi", "-i", f"nullsrc=s=64x48:r={rate}:d={seconds},geq=random(1)*255:128:128")
    sound = () if name.endswith("y4m") else ("-f", "lavfi", "-i", f"sine=d={seconds}", "-c:a", "aac")
    quality = () if name.endswith("y4m") else ("-c:v", "libx264", "-qp", "10", "-preset", "ultrafast")
    ffmpeg(*picture, *sound, *quality, *arguments, folder / name)
    return folder / name


def from_file_and_pipe(path: Path, weights: Path, folder: Path, audio_mode: str) -> tuple[VtwReader, VtwReader]:
    """Encode a file, and what the command gets and gives through pipes."""
    options = EncodeOptions(weights=str(weights), device="cpu", audio=audio_mode, effort=0, short_side=32)
    encode_video(path, folder / "file.vtw", options)
    choices = ("--weights", str(weights), "--audio", audio_mode, "--effort", "0", "--short-side", "32")
    command = [*vidtwin(), "encode", "-", "-", "-q", *choices]
    with path.open("rb") as source, (folder / "pipe.vtw").open("wb") as target:
        done = subprocess.run(command, stdin=source, stdout=target, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return VtwReader(folder / "file.vtw"), VtwReader(folder / "pipe.vtw")


@pytest.mark.parametrize("extension", KINDS)
def test_a_stream_gives_the_groups_of_the_file(extension: str, tmp_path: Path, micro_weights: Path) -> None:
    path = video(tmp_path, f"in.{extension}", *KINDS[extension])
    assert path.stat().st_size > 1 << 20
    one, other = from_file_and_pipe(path, micro_weights, tmp_path, "none")
    with one, other:
        assert other.header.source == {}  # how long it is was not known
        assert (one.frames, one.header.fps) == (other.frames, other.header.fps)
        assert [entry.crc for entry in one.groups] == [entry.crc for entry in other.groups]


@pytest.mark.parametrize("extension", ["mkv", "ts", "mp4"])
@pytest.mark.parametrize("mode", ["opus", "copy"])
def test_sound_comes_with_the_pictures(extension: str, mode: str, tmp_path: Path, micro_weights: Path) -> None:
    path = video(tmp_path, f"in.{extension}", *KINDS[extension])
    one, other = from_file_and_pipe(path, micro_weights, tmp_path, mode)
    with one, other:
        assert one.header.audio is not None
        sounds = [b"".join(each.audio_chunks()) for each in (one, other)]
        if (extension, mode) == ("ts", "copy"):
            # its first packet ends as the first frame begins: ffmpeg keeps it in a file and drops it in a pipe
            assert 0 < len(sounds[0]) - len(sounds[1]) < 400
        else:
            assert sounds[0] == sounds[1]
        assert other.header.source == {}  # it was not stored first
        assert [entry.crc for entry in one.groups] == [entry.crc for entry in other.groups]


def test_sound_that_cannot_be_had_ends_the_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro_weights: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise VidtwinError("the sound cannot be extracted")

    monkeypatch.setattr(audio, "extract_audio", fail)
    options = EncodeOptions(weights=str(micro_weights), device="cpu")
    with video(tmp_path, "in.mkv").open("rb") as stream:
        monkeypatch.setattr(live, "piped_input", lambda: stream)
        with pytest.raises(VidtwinError, match="sound cannot be extracted"):
            encode_video("-", tmp_path / "out.vtw", options)
    assert not (tmp_path / "out.vtw").exists()


def test_what_comes_is_encoded_before_the_rest_is_there(tmp_path: Path, micro_weights: Path) -> None:
    data = video(tmp_path, "in.y4m", "-pix_fmt", "yuv420p", seconds=36).read_bytes()
    choices = ["--weights", str(micro_weights), "--short-side", "32", "--quality", "100", "--effort", "0"]
    command = [*vidtwin(), "encode", "-", "-", "-q", *choices]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(data[: len(data) * 5 // 6])
        child.stdin.flush()
        stream = VtwStream(child.stdout, "pipe")
        groups = stream.groups
        first = next(groups)  # would wait for ever if nothing were written before the end
        child.stdin.write(data[len(data) * 5 // 6 :])
        child.stdin.close()
        frames = first.frames + sum(group.frames for group in groups)
    assert child.returncode == 0
    assert first.frames < frames == 36 * 25


@pytest.mark.parametrize("mode", ["opus", "none"])
def test_an_interrupt_does_not_wait_for_the_sender(tmp_path: Path, micro_weights: Path, mode: str) -> None:
    data = video(tmp_path, "in.mkv", seconds=24).read_bytes()
    command = [*vidtwin(), "encode", "-", str(tmp_path / "out.vtw"), "--audio", mode, "--progress", "json"]
    with subprocess.Popen(
        [*command, "--weights", str(micro_weights)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stderr is not None
        child.stdin.write(data[: len(data) * 3 // 4])
        child.stdin.flush()
        while json.loads(child.stderr.readline())["event"] != "started":
            pass
        time.sleep(2)  # what was sent is encoded, perhaps too fast for a line of progress
        child.send_signal(signal.SIGTERM)  # and the sender goes on to send nothing
        assert child.wait(60) == 1
        assert "interrupted" in child.stderr.read().decode()
    assert not (tmp_path / "out.vtw").exists()


@pytest.mark.parametrize(
    ("extension", "arguments", "sound", "streamed"),
    [
        ("ts", (), False, True),
        ("ts", (), True, True),
        ("mkv", ("-an",), True, True),
        ("mp4", FRAGMENTS, False, True),
        ("mp4", (), False, False),  # its index comes last
        ("mp4", ("-movflags", "+faststart"), False, False),
        ("avi", (), False, False),
    ],
)
def test_contents_tell_what_is_stored_first(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    extension: str,
    arguments: tuple[str, ...],
    sound: bool,
    streamed: bool,
) -> None:
    path = video(tmp_path, f"in.{extension}", *arguments, seconds=20)
    assert path.stat().st_size > 1 << 20
    with path.open("rb") as stream:
        monkeypatch.setattr(live, "piped_input", lambda: stream)
        with open_piped(tmp_path, sound=sound) as piped:
            assert (piped.info is not None) == streamed
            if streamed:
                assert piped.path.stat().st_size == 1 << 20
            else:
                assert piped.path.read_bytes() == path.read_bytes()


def test_uneven_frames_are_stored_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uneven = ("-vf", "setpts=PTS+mod(N\\,3)*0.03/TB", "-fps_mode", "vfr")
    path = video(tmp_path, "in.mkv", *uneven, seconds=20)
    assert path.stat().st_size > 1 << 20
    with path.open("rb") as stream:
        monkeypatch.setattr(live, "piped_input", lambda: stream)
        with open_piped(tmp_path, sound=False) as piped:
            assert piped.info is None
