"""Sound in a .vtw that is damaged, missing or foreign costs the sound, and is told; never the pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from batches import run_batch, statuses
from conftest import MakeVideo
from media_samples import ffmpeg

from vidtwin_codec import DecodeOptions, EncodeOptions, VidtwinError, decode, encode
from vidtwin_codec.container import AudioInfo, VtwReader, VtwWriter, verify
from vidtwin_codec.latents.mixing import MixOptions, mix, mix_to_vtw
from vidtwin_codec.media import probe

FRAMES = 10


@pytest.fixture
def vtw(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> Path:
    """Ten frames with sound."""
    path = tmp_path / "a.vtw"
    encode(make_video("in.mp4", frames=FRAMES, audio=True), path, EncodeOptions(weights=str(micro_weights)))
    return path


def with_sound(path: Path, audio: AudioInfo, blob: bytes, *, piece: int = 1 << 20) -> None:
    """Rewrite a .vtw, sound in every checksum, with other bytes of sound."""
    with VtwReader(path) as reader:
        header, entries = replace(reader.header, audio=audio), reader.groups
    data = path.read_bytes()
    with path.open("wb") as stream:
        writer = VtwWriter(stream, header)
        for at in range(0, len(blob), piece):
            writer._write_audio_frame(blob[at : at + piece])
        for entry in entries:
            writer.write_group(data[entry.offset : entry.offset + entry.size], entry.span)
        writer.finish()


def sound_of(path: Path) -> bytes:
    with VtwReader(path) as reader:
        return b"".join(reader.audio_chunks())


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def decoded(path: Path, weights: Path, *, extension: str = "mp4", recover: bool = False) -> tuple[int, list[str]]:
    """Audio streams of the decoded file, which has every frame and a name for every warning; and the warnings."""
    target = path.with_name(f"out.{extension}")
    result = decode(path, target, DecodeOptions(weights=str(weights), recover=recover, force=True))
    info = probe(target)
    assert info.frames == result.frames == FRAMES
    assert not any("vidtwin-" in warning or "audio.mka" in warning for warning in result.warnings)
    return len(info.audio_streams), result.warnings


def opened(path: Path) -> int:
    """Where the first piece of sound begins."""
    with VtwReader(path) as reader:
        return next(reader._walk_audio()).offset


@pytest.mark.parametrize("at", [0, 20, 300, 2000])
def test_a_flipped_bit_in_the_only_piece_costs_the_sound(vtw: Path, micro_weights: Path, at: int) -> None:
    flip(vtw, opened(vtw) + at)
    with pytest.raises(VidtwinError) as caught:
        decoded(vtw, micro_weights)
    assert "--recover" in (caught.value.hint or "")
    streams, warnings = decoded(vtw, micro_weights, recover=True)
    assert streams == 0
    assert any(str(vtw) in warning and "sound" in warning for warning in warnings)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_of_several_pieces_the_whole_ones_are_kept(vtw: Path, micro_weights: Path, lost: int) -> None:
    blob = sound_of(vtw)
    with_sound(vtw, AudioInfo("opus", len(blob)), blob, piece=-(-len(blob) // 3))
    with VtwReader(vtw) as reader:
        frames = list(reader._walk_audio())
    flip(vtw, frames[lost].offset + frames[lost].size // 2)
    streams, warnings = decoded(vtw, micro_weights, recover=True)
    assert any("sound" in warning for warning in warnings)
    assert streams == (lost != 0)  # the first one says what follows


def test_sound_that_is_announced_and_not_there(vtw: Path, micro_weights: Path) -> None:
    with_sound(vtw, AudioInfo("opus"), b"")
    assert any("announces" in line for line in verify(vtw))
    for recover in (False, True):
        streams, warnings = decoded(vtw, micro_weights, recover=recover)
        assert streams == 0
        assert any(f"{vtw}: the sound cannot be read and is left out" in warning for warning in warnings)


def foreign(folder: Path) -> dict[str, bytes]:
    """What is no Matroska with sound, though ffmpeg would find some sound through it."""
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.4", folder / "private.mp3")
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.4", folder / "private.m4a")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=d=0.2:s=32x32", "-f", "matroska", folder / "silent.mka")
    dash = (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S" minBufferTime="PT1S" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="audio/mp4">'
        '<Representation id="1" bandwidth="1000" codecs="mp4a.40.2"><BaseURL>{}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    )
    return {
        "DASH": dash.format(folder / "private.m4a").encode(),
        "ffconcat": f"ffconcat version 1.0\nfile {folder / 'private.mp3'}\n".encode(),
        "mp4": (folder / "private.m4a").read_bytes(),
        "mp3": (folder / "private.mp3").read_bytes(),
        "no sound": (folder / "silent.mka").read_bytes(),
        "noise": bytes(range(256)) * 40,
        "a head alone": b"\x1a\x45\xdf\xa3",
    }


@pytest.mark.parametrize("kind", ["DASH", "ffconcat", "mp4", "mp3", "no sound", "noise", "a head alone"])
def test_foreign_sound_is_not_followed(vtw: Path, micro_weights: Path, tmp_path: Path, kind: str) -> None:
    with_sound(vtw, AudioInfo("opus"), foreign(tmp_path)[kind])
    streams, warnings = decoded(vtw, micro_weights)
    assert streams == 0
    assert any(f"{vtw}: the sound cannot be read and is left out" in warning for warning in warnings)


def test_another_container_of_sound_is_not_read(vtw: Path, micro_weights: Path) -> None:
    with_sound(vtw, AudioInfo("opus", container="wav"), sound_of(vtw))
    streams, warnings = decoded(vtw, micro_weights)
    assert (streams, [warning for warning in warnings if "stored as wav" in warning]) == (0, warnings)


@pytest.mark.parametrize("extension", ["mp4", "mov"])
def test_sound_damaged_inside_its_container(vtw: Path, micro_weights: Path, extension: str) -> None:
    """Whether it is copied (Opus in MP4) or decoded and encoded again (MOV)."""
    blob = bytearray(sound_of(vtw))
    middle = len(blob) // 2
    blob[middle : middle + 200] = b"\xff" * 200
    with_sound(vtw, AudioInfo("opus"), bytes(blob))
    streams, _ = decoded(vtw, micro_weights, extension=extension)
    assert streams == 1


def test_a_batch_decodes_the_pictures(vtw: Path, micro_weights: Path, tmp_path: Path) -> None:
    with_sound(vtw, AudioInfo("opus"), b"")
    batch = run_batch(vtw.parent, tmp_path / "back", DecodeOptions(weights=str(micro_weights), device="cpu"))
    assert statuses(batch) == {"a.vtw": "done"}
    assert any("left out" in warning for row in batch.rows for warning in row["warnings"])


@pytest.mark.parametrize("damage", [lambda path: flip(path, opened(path) + 30), lambda path: None])
def test_a_mixture_goes_without_it(
    vtw: Path, micro_weights: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    blob = b"no sound at all"
    with_sound(vtw, AudioInfo("opus", len(blob)), blob)
    damage(vtw)
    decoding = DecodeOptions(weights=str(micro_weights), device="cpu")
    result = mix(vtw, vtw, tmp_path / "m.mp4", MixOptions(sound="structure"), decoding)
    info = probe(tmp_path / "m.mp4")
    assert (info.frames, len(info.audio_streams)) == (FRAMES, 0)
    (warning,) = [text for text in result.warnings if "sound" in text]
    assert str(vtw) in warning
    assert "mixture.vtw" not in warning
    told: list[str] = []
    mix_to_vtw(vtw, vtw, tmp_path / "m.vtw", MixOptions(sound="structure"), warned=told.append)
    with VtwReader(tmp_path / "m.vtw") as reader:
        assert (reader.header.audio is None) == bool(told)
