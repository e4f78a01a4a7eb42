"""A .vtw that comes down a pipe is decoded as it comes, to the same frames, and what is wrong with it is said."""

from __future__ import annotations

import io
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeVideo
from hypothesis import given
from hypothesis import strategies as st
from launching import vidtwin

from vidtwin_codec.container import VtwReader, VtwStream
from vidtwin_codec.decoding.decode import decode, decode_frames
from vidtwin_codec.decoding.decoder import Decoder
from vidtwin_codec.encoding.encode import encode
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import probe
from vidtwin_codec.options import DecodeOptions, EncodeOptions

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.vtw"))


@pytest.fixture
def packed(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> Path:
    """Thirty frames in several groups, with sound."""
    video = make_video("in.mp4", rate="2", frames=30, audio=True)
    encode(video, tmp_path / "a.vtw", EncodeOptions(weights=str(micro_weights), quality=100))
    return tmp_path / "a.vtw"


class Dripping(io.RawIOBase):
    """Bytes that come a few at a time, and not by position."""

    def __init__(self, data: bytes, step: int = 1000) -> None:
        self._data, self._step, self.taken = data, step, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self._data[self.taken : self.taken + min(len(buffer), self._step)]
        buffer[: len(piece)] = piece
        self.taken += len(piece)
        return len(piece)


def piped(packed: Path, weights: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [*vidtwin(), "decode", "-", "-", "--format", "rgb", "--weights", str(weights), *arguments]
    return subprocess.run(command, input=packed.read_bytes(), capture_output=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "start", "duration"),
    [([], 0, None), (["--start", "6.5"], 6.5, None), (["--start", "3", "--duration", "4"], 3, 4)],
)
def test_a_pipe_gives_the_frames_of_the_file(
    packed: Path, micro_weights: Path, arguments: list[str], start: float, duration: float | None
) -> None:
    options = DecodeOptions(weights=str(micro_weights), device="cpu", start=start, duration=duration)
    wanted = np.concatenate(list(decode_frames(packed, options)))
    done = piped(packed, micro_weights, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == wanted.tobytes()
    assert f"{len(wanted)} frames".encode() in done.stderr


def test_a_start_behind_the_end_is_said(packed: Path, micro_weights: Path) -> None:
    done = piped(packed, micro_weights, "--start", "16", "-q")
    assert done.returncode == 1
    assert done.stderr.startswith(b"vidtwin: error: standard input: is only 15.00 seconds long\n")


def test_sound_comes_down_the_pipe(packed: Path, micro_weights: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.vtw")
    feeder = threading.Thread(target=lambda: (tmp_path / "p.vtw").write_bytes(packed.read_bytes()))
    feeder.start()
    result = decode(tmp_path / "p.vtw", tmp_path / "a.mkv", DecodeOptions(weights=str(micro_weights), device="cpu"))
    feeder.join()
    info = probe(tmp_path / "a.mkv")
    assert (result.frames, info.frames, len(info.audio_streams)) == (30, 30, 1)
    assert result.vtw_bytes == packed.stat().st_size


def test_frames_leave_before_the_next_group_has_come(packed: Path, micro_weights: Path) -> None:
    with VtwReader(packed) as reader:
        first, *others = reader.groups
    assert others
    stream = Dripping(packed.read_bytes(), 1)
    options = DecodeOptions(weights=str(micro_weights), device="cpu", duration=1)
    with Decoder("pipe", options, stream=io.BufferedReader(stream, 1)) as decoder:
        assert decoder.reader.frames is None
        assert sum(len(frames) for frames in decoder.frames()) == 2
    assert stream.taken == first.offset + first.size


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_a_stream_holds_what_the_file_holds(golden: Path) -> None:
    stream = VtwStream(io.BufferedReader(Dripping(golden.read_bytes())), "pipe")
    with VtwReader(golden) as reader:
        assert stream.header == reader.header
        assert list(stream.audio_chunks()) == list(reader.audio_chunks())
        for number, entry in enumerate(stream.groups):
            assert entry == reader.groups[number]
            for one, other in zip(stream.placed(number), reader.placed(number), strict=True):
                assert all(np.array_equal(*pair) for pair in zip(one.symbols, other.symbols, strict=True))
        assert (stream.frames, stream.counts) == (reader.frames, reader.counts)


def everything(data: bytes) -> list[bytes]:
    """Sound and symbols of a stream."""
    stream = VtwStream(io.BytesIO(data), "pipe")
    found = list(stream.audio_chunks())
    for number, _ in enumerate(stream.groups):
        found += [part.tobytes() for clip in stream.placed(number) for part in clip.symbols]
    return found


@given(data=st.data())
def test_a_damaged_stream_is_said_and_never_taken_for_sound(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(GOLDEN)).read_bytes()
    cut = data.draw(st.booleans())
    damaged = bytearray(whole)
    if cut:
        del damaged[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        damaged[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = everything(damaged)
    except VidtwinError as error:
        said = error.message
    else:  # only strangers' frames have no checksum
        assert not cut
        assert found == everything(whole)
        said = "pipe: intact"
    assert said.startswith("pipe: ")


def test_recovering_looks_at_all_of_a_damaged_pipe(packed: Path, micro_weights: Path, tmp_path: Path) -> None:
    with VtwReader(packed) as reader:
        last = reader.groups[-1]
    (tmp_path / "cut.vtw").write_bytes(packed.read_bytes()[: last.offset])
    done = piped(tmp_path / "cut.vtw", micro_weights, "-q")
    assert done.returncode == 1
    assert b"truncated" in done.stderr
    found = piped(tmp_path / "cut.vtw", micro_weights, "-q", "--recover").stdout
    assert len(found) == last.first_frame * 36 * 40 * 3
    assert found.startswith(done.stdout)
