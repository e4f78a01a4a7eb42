"""Truncated, flipped and forged files: what is whole comes back, the rest is told."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from containers import assert_same, some_groups, some_header, write
from hypothesis import given, settings
from hypothesis import strategies as st

from vidtwin_codec.coding import CorruptGroupError, pack_group, zstd_frame
from vidtwin_codec.container import AudioInfo, FrameRange, GroupEntry, VtwReader, verify
from vidtwin_codec.container.format import INDEX_TAG, DamagedError, build_frame, closing_crc
from vidtwin_codec.container.index import Index, length_from_tail
from vidtwin_codec.container.packed_json import deflate
from vidtwin_codec.errors import VidtwinError

GROUPS = some_groups(4)
AUDIO = np.random.default_rng(1).bytes(3000)
HEADER = some_header(audio=AudioInfo("opus", 3000))
DATA, COUNTS = write(HEADER, GROUPS, AUDIO)
with VtwReader(io.BytesIO(DATA)) as _reader:
    ENTRIES = list(_reader.groups)
HEADER_END = len(HEADER.to_bytes())
INDEX_AT = ENTRIES[-1].offset + ENTRIES[-1].size


def recovered(data: bytes) -> VtwReader:
    """Open for recovery and check what must always hold: every group given is one of the originals, unchanged."""
    reader = VtwReader(io.BytesIO(data), recover=True)
    originals = {group.first_frame: group for group in GROUPS}
    for number in range(len(reader.groups)):
        group = reader.read_group(number)
        assert_same(group, originals.pop(group.first_frame))
    return reader


def touched(entry: GroupEntry, first: int, end: int) -> bool:
    return first < entry.offset + entry.size and end > entry.offset


@given(cut=st.integers(0, len(DATA) - 1))
@settings(max_examples=200)
def test_truncation_anywhere(cut: int) -> None:
    data = DATA[:cut]
    with pytest.raises(VidtwinError):
        VtwReader(io.BytesIO(data))
    assert verify(io.BytesIO(data))
    if cut < HEADER_END:
        with pytest.raises(VidtwinError):
            recovered(data)
        return
    reader = recovered(data)
    whole = [entry for entry in ENTRIES if entry.offset + entry.size <= cut]
    assert [entry.span for entry in reader.groups] == [entry.span for entry in whole]
    assert not reader.complete
    assert any("truncated" in line for line in reader.damage)
    assert reader.frames == sum(entry.frames for entry in whole)


@given(bit=st.integers(0, 8 * len(DATA) - 1), without_index=st.booleans())
@settings(max_examples=400)
def test_a_flipped_bit_anywhere(bit: int, without_index: bool) -> None:
    data = bytearray(DATA[:INDEX_AT] if without_index else DATA)
    at = bit // 8
    if at >= len(data):
        return
    data[at] ^= 1 << bit % 8
    assert verify(io.BytesIO(bytes(data)))
    if at < HEADER_END:
        with pytest.raises(VidtwinError):
            recovered(bytes(data))
        return
    reader = recovered(bytes(data))
    assert reader.damage
    found = {entry.offset for entry in reader.groups}
    assert found >= {entry.offset for entry in ENTRIES if not touched(entry, at, at + 1)}
    lost = [entry for entry in ENTRIES if entry.offset not in found]
    if at < INDEX_AT and not (without_index and lost == ENTRIES[-1:]):
        assert reader.lost == [FrameRange(entry.first_frame, entry.span.end_frame) for entry in lost]
    audio = b"".join(reader.audio_chunks())
    assert audio == (b"" if HEADER_END <= at < ENTRIES[0].offset else AUDIO)
    try:
        strict = VtwReader(io.BytesIO(bytes(data)))
    except VidtwinError:
        return
    for number, group in enumerate(GROUPS):
        try:
            assert_same(strict.read_group(number), group)
        except CorruptGroupError:
            assert number == next(n for n, entry in enumerate(ENTRIES) if touched(entry, at, at + 1))


@given(data=st.data())
@settings(max_examples=200)
def test_a_damaged_stretch_loses_only_the_groups_in_it(data: st.DataObject) -> None:
    first = data.draw(st.integers(HEADER_END, INDEX_AT - 1))
    length = data.draw(st.integers(1, 400))
    noise = data.draw(st.binary(min_size=length, max_size=length))
    with_index = data.draw(st.booleans())
    kept = DATA if with_index else DATA[:INDEX_AT]
    damaged = kept[:first] + noise + kept[first + length :]
    reader = recovered(damaged[: len(kept)])
    found = {entry.offset for entry in reader.groups}
    assert found >= {entry.offset for entry in ENTRIES if not touched(entry, first, first + length)}


@given(at=st.integers(HEADER_END, INDEX_AT), length=st.integers(1, 300))
@settings(max_examples=100)
def test_missing_bytes_lose_only_the_groups_they_are_from(at: int, length: int) -> None:
    end = min(at + length, INDEX_AT)
    reader = recovered(DATA[:at] + DATA[end:])
    spans = {entry.span for entry in reader.groups}
    assert spans >= {entry.span for entry in ENTRIES if not touched(entry, at, end)}
    assert at == end or not reader.complete


def test_the_message_says_what_can_be_had() -> None:
    with pytest.raises(VidtwinError, match=r"truncated.*2 groups are whole \(16 frames\)") as error:
        VtwReader(io.BytesIO(DATA[: ENTRIES[2].offset + 5]))
    assert "--recover" in str(error.value.hint)
    with pytest.raises(VidtwinError, match="nothing can be recovered"):
        VtwReader(io.BytesIO(DATA[: HEADER_END + 5]))


def test_damage_in_one_group_names_its_frames() -> None:
    data = bytearray(DATA)
    data[ENTRIES[1].offset + ENTRIES[1].size // 2] ^= 0x10
    with VtwReader(io.BytesIO(bytes(data))) as reader:
        assert_same(reader.read_group(2), GROUPS[2])
        with pytest.raises(CorruptGroupError, match=r"group 1 \(frames 8 to 15\)") as error:
            reader.read_group(1)
        assert "--recover" in str(error.value.hint)
    (line,) = verify(io.BytesIO(bytes(data)))
    assert line.startswith("frames 8 to 15 are lost")


def test_damaged_audio_is_told_and_skipped() -> None:
    data = bytearray(DATA)
    data[HEADER_END + 100] ^= 1
    with VtwReader(io.BytesIO(bytes(data))) as reader, pytest.raises(VidtwinError, match="audio is damaged"):
        list(reader.audio_chunks())
    reader = recovered(bytes(data))
    assert len(reader.groups) == 4
    assert list(reader.audio_chunks()) == []
    assert any("audio: 1 of 1 pieces are lost" in line for line in reader.damage)


def test_bytes_after_the_end_are_told() -> None:
    for extra in (b"x", b"\0" * 100, DATA):
        with pytest.raises(VidtwinError, match=f"{len(extra)} bytes follow the index"):
            VtwReader(io.BytesIO(DATA + extra))
        assert len(recovered(DATA + extra).groups) == 4


def test_a_foreign_frame_with_a_false_length_hides_no_group() -> None:
    foreign = b"\x50\x2a\x4d\x18" + (len(DATA) // 2).to_bytes(4, "little") + b"12345678"
    for kept in (DATA, DATA[:INDEX_AT]):
        at = ENTRIES[0].offset
        reader = recovered(kept[:at] + foreign + kept[at:])
        assert len(reader.groups) == 4


def forged(groups: tuple[GroupEntry, ...] = tuple(ENTRIES), **changes: int) -> bytes:
    values = {"offset": INDEX_AT, "audio_frames": 1, "audio_bytes": 3000, "header_crc": closing_crc(HEADER.to_bytes())}
    return DATA[:INDEX_AT] + Index(groups, **(values | changes)).to_bytes(packed=True)


def test_an_index_comes_back_packed_or_not() -> None:
    groups = tuple(GroupEntry(100 + 50 * n, 40, 7 * n, 8 * n, 8, 2 * n, 2) for n in range(3))
    index = Index(groups, 400, 1, 3000, 0xABCDEF01)
    for packed in (False, True):
        data = index.to_bytes(packed=packed)
        assert Index.from_bytes(data, 400) == index
        assert length_from_tail(data[-12:]) == len(data)
    assert len(data) < len(index.to_bytes())
    body = data[12:-12]
    for damaged in (body[:-1], body + b"x", deflate(b""), deflate(bytes(30))):
        with pytest.raises(DamagedError):
            Index.from_bytes(build_frame(INDEX_TAG, damaged + struct.pack("<I4s", len(damaged) + 24, b"VTWP")), 400)


def test_an_index_that_does_not_fit_is_not_believed() -> None:
    assert forged() == DATA
    for changes in ({"offset": INDEX_AT + 1}, {"header_crc": 5}):
        with pytest.raises(VidtwinError, match="does not belong"):
            VtwReader(io.BytesIO(forged(**changes)))
        assert len(recovered(forged(**changes)).groups) == 4
    other_header = some_header(audio=AudioInfo("opus", 3000), weights_sha256="cd" * 32).to_bytes()
    assert len(other_header) == HEADER_END
    with pytest.raises(VidtwinError, match="does not belong"):
        VtwReader(io.BytesIO(other_header + DATA[HEADER_END:]))
    overlapping = (ENTRIES[0], ENTRIES[1]._replace(offset=ENTRIES[0].offset), *ENTRIES[2:])
    gap = (ENTRIES[0], *ENTRIES[2:])
    beyond = (*ENTRIES[:3], ENTRIES[3]._replace(size=1 << 31))
    too_many = (ENTRIES[0]._replace(clips=9, frames=36),)
    for groups in (overlapping, gap, beyond, too_many):
        with pytest.raises(VidtwinError):
            VtwReader(io.BytesIO(forged(groups)))
        assert len(recovered(forged(groups)).groups) == 4


def test_an_index_at_odds_with_the_file_is_told() -> None:
    assert "size is not what the index says" in verify(io.BytesIO(forged(audio_bytes=2999)))[0]
    assert "1 of 2 pieces" in verify(io.BytesIO(forged(audio_frames=2)))[0]
    assert "pieces" in verify(io.BytesIO(forged(audio_frames=0xFFFFFFFF)))[0]
    assert "not the bytes indexed" in verify(io.BytesIO(forged((ENTRIES[0]._replace(crc=1), *ENTRIES[1:]))))[0]
    assert "not in the index" in verify(io.BytesIO(forged(tuple(ENTRIES[:3]))))[0]
    moved = (ENTRIES[0]._replace(offset=ENTRIES[0].offset + 1, size=ENTRIES[0].size - 1), *ENTRIES[1:])
    data = forged(moved)
    with VtwReader(io.BytesIO(data)) as reader, pytest.raises(CorruptGroupError):
        reader.read_group(0)
    assert len(recovered(data).groups) == 3


def test_a_group_that_the_header_rules_out_is_damage() -> None:
    other = pack_group(GROUPS[1], HEADER.layout, 3)
    swapped = DATA[: ENTRIES[0].offset] + other + other
    reader = recovered(swapped)
    assert [entry.first_frame for entry in reader.groups] == [8]
    assert any("repeats frames" in line for line in reader.damage)


def test_bombs_in_a_file_are_refused_before_anything_is_allocated() -> None:
    bomb = zstd_frame.compress(bytes(50_000_000), 1)
    entry = GroupEntry(HEADER_END, len(bomb), zlib.crc32(bomb), 0, 8, 0, 2)
    index = Index((entry,), HEADER_END + len(bomb), 0, 0, closing_crc(HEADER.to_bytes()))
    audio = build_frame(b"VTWA", bytes(4) + bytes((1 << 20) + 1))
    data = HEADER.to_bytes() + bomb + index.to_bytes()
    with_audio = HEADER.to_bytes() + audio
    tracemalloc.start()
    with VtwReader(io.BytesIO(data)) as reader, pytest.raises(CorruptGroupError, match="at most"):
        reader.read_group(0)
    assert "at most" in " ".join(verify(io.BytesIO(data)))
    assert "too much" in " ".join(verify(io.BytesIO(with_audio)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 << 20  # copies of the 1 MiB audio frame among them
