"""Writing and reading whole .vtw files."""

from __future__ import annotations

import io
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zstandard
from containers import LAYOUT, assert_same, some_groups, some_header, write

from vidtwin_codec.coding import GroupSpan, LatentLayout, Steps, pack_group
from vidtwin_codec.container import AudioInfo, VtwReader, VtwWriter, verify
from vidtwin_codec.container.format import AUDIO_OVERHEAD, MAX_AUDIO_CHUNK
from vidtwin_codec.errors import VidtwinError

AUDIO = random.Random(0).randbytes(3 * MAX_AUDIO_CHUNK // 2)
SOUND = some_header(audio=AudioInfo("opus", len(AUDIO)))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    groups = some_groups()
    data, counts = write(SOUND, groups, AUDIO)
    path = tmp_path / "a.vtw"
    path.write_bytes(data)
    with VtwReader(path) as reader:
        assert reader.header == SOUND
        assert reader.complete
        assert reader.frames == 23
        assert [entry.span for entry in reader.groups] == [group.span for group in groups]
        for number, group in enumerate(groups):
            assert_same(reader.read_group(number), group)
        assert [len(chunk) for chunk in reader.audio_chunks()] == [MAX_AUDIO_CHUNK, MAX_AUDIO_CHUNK // 2]
        assert b"".join(reader.audio_chunks()) == AUDIO
        assert reader.counts == counts
        assert reader.verify() == []
    assert counts.vtw_bytes == len(data) == counts.video_bytes + counts.audio_bytes
    assert counts.audio_bytes == len(AUDIO) + 2 * AUDIO_OVERHEAD
    assert verify(path) == []


def test_recovering_a_sound_file_changes_nothing() -> None:
    data, counts = write(SOUND, some_groups(), AUDIO)
    with VtwReader(io.BytesIO(data), recover=True) as reader:
        assert reader.complete
        assert reader.damage == reader.lost == []
        assert reader.counts == counts
        assert len(reader.groups) == 3
        assert b"".join(reader.audio_chunks()) == AUDIO


def test_a_file_without_groups_or_audio() -> None:
    data, _ = write(some_header(), [])
    with VtwReader(io.BytesIO(data)) as reader:
        assert (reader.frames, reader.groups, list(reader.audio_chunks())) == (0, [], [])
        assert reader.verify() == []


def test_the_file_is_one_legal_zstd_stream() -> None:
    groups = some_groups()
    data, _ = write(SOUND, groups, AUDIO)
    stream = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True)
    contents = b"".join(zstandard.decompress(pack_group(group, LAYOUT, 3)) for group in groups)
    assert stream.read() == contents


def test_a_pipe_will_do() -> None:
    expected, _ = write(SOUND, some_groups(), AUDIO)
    reading, writing = os.pipe()
    received: list[bytes] = []

    def drain() -> None:
        with os.fdopen(reading, "rb") as stream:
            received.append(stream.read())

    thread = threading.Thread(target=drain)
    thread.start()
    with os.fdopen(writing, "wb", buffering=0) as stream:
        writer = VtwWriter(stream, SOUND)
        writer.write_audio(AUDIO[at : at + 5000] for at in range(0, len(AUDIO), 5000))
        for group in some_groups():
            writer.write_group(pack_group(group, LAYOUT, 3), group.span)
        writer.finish()
    thread.join()
    assert received == [expected]


def test_the_writer_refuses_what_no_reader_would_take() -> None:
    groups = some_groups()
    packed = pack_group(groups[0], LAYOUT, 3)
    writer = VtwWriter(io.BytesIO(), some_header())
    with pytest.raises(ValueError, match="announces no audio"):
        writer.write_audio([b"x"])
    with pytest.raises(ValueError, match="does not follow"):
        writer.write_group(packed, groups[1].span)
    with pytest.raises(ValueError, match="claims 9 frames"):
        writer.write_group(packed, GroupSpan(0, 9, 0, 2))
    with pytest.raises(ValueError, match="claims 3 clips"):
        writer.write_group(packed, GroupSpan(0, 9, 0, 3))
    with pytest.raises(ValueError, match="exactly one"):
        writer.write_group(packed + packed, groups[0].span)
    with pytest.raises(ValueError, match="no Zstandard frame"):
        writer.write_group(b"nonsense", groups[0].span)
    writer.write_group(pack_group(groups[2], LAYOUT, 3), GroupSpan(0, 7, 0, 2))
    with pytest.raises(ValueError, match="not the start of clip"):
        writer.write_group(packed, GroupSpan(7, 8, 2, 2))
    with pytest.raises(ValueError, match="before the first group"):
        writer.write_audio([b"x"])
    writer.finish()
    for again in (writer.finish, lambda: writer.write_group(packed, GroupSpan(7, 1, 2, 1))):
        with pytest.raises(ValueError, match="index has been written"):
            again()


def test_groups_are_read_by_many_threads_at_once(tmp_path: Path) -> None:
    groups = some_groups(12)
    path = tmp_path / "a.vtw"
    path.write_bytes(write(some_header(), groups)[0])
    order = list(range(12)) * 10
    random.Random(0).shuffle(order)
    with VtwReader(path) as reader, ThreadPoolExecutor(8) as pool:
        for number, group in zip(order, pool.map(reader.read_group, order), strict=True):
            assert_same(group, groups[number])


def test_overhead_of_a_ten_second_file_is_small() -> None:
    """A header and an index of a plausible file: about 1 % of 50 kB."""
    layout = LatentLayout((16, 7, 7, 8), (8, 16, 7), (8, 16, 7))
    values = np.random.default_rng(0)
    steps = Steps(values.uniform(0.1, 1, (16, 8)), values.uniform(0.1, 1, 8), values.uniform(0.1, 1, 8))
    digest = values.bytes(32).hex()
    header = some_header(layout=layout, steps=steps, weights_sha256=digest, audio=AudioInfo("opus"), clip_frames=16)
    _, counts = write(header, [])
    assert counts.video_bytes + 32 + AUDIO_OVERHEAD < 0.012 * 50_000


@pytest.mark.parametrize("name", ["missing.vtw", "folder"])
def test_files_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(VidtwinError, match=name):
        VtwReader(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(VidtwinError, match="is a pipe"):
        VtwReader(tmp_path / "pipe")
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as stream, pytest.raises(VidtwinError, match="cannot be read by position"):
        VtwReader(stream)
