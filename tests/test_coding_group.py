"""Groups of symbols to bytes and back."""

from __future__ import annotations

import gc
import struct
import tracemalloc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from vidtwin_codec.coding import (
    CODERS,
    MAX_GROUP_SYMBOLS,
    MAX_SYMBOL,
    CorruptGroupError,
    Group,
    LatentArrays,
    LatentLayout,
    OpenGroup,
    max_content,
    pack_group,
    unpack_group,
    zstd_frame,
)
from vidtwin_codec.coding.group import PREFIX
from vidtwin_codec.coding.plain import CHANNEL_MAJOR, POSITION_MAJOR, Order, to_sequence

LAYOUT = LatentLayout((3, 2, 4, 2), (2, 5, 3), (2, 5, 4))
DENSE = [number for number in CODERS if CODERS[number].fits(LAYOUT, 1)]


def some_group(
    layout: LatentLayout = LAYOUT, *, clips: int = 2, tiles: int = 3, seed: int = 0, spread: int = 3
) -> Group:
    values = np.random.default_rng(seed)
    arrays = (
        np.rint(values.laplace(scale=spread, size=(clips * tiles, *shape))).astype(np.int32)
        for shape in layout.shapes()
    )
    symbols = LatentArrays(*(np.clip(array, -MAX_SYMBOL, MAX_SYMBOL) for array in arrays))
    return Group(32, 2 * clips, 2, clips, tiles, symbols)


def assert_same(a: Group, b: Group) -> None:
    assert (a.span, a.tiles) == (b.span, b.tiles)
    for left, right in zip(a.symbols, b.symbols, strict=True):
        assert left.dtype == right.dtype == np.int32
        assert np.array_equal(left, right)


def unpack(data: bytes, layout: LatentLayout = LAYOUT, max_clips: int = 4, max_tiles: int = 4) -> Group:
    return unpack_group(data, layout, max_clips=max_clips, max_tiles=max_tiles)


sizes = st.integers(1, 4)
layouts = st.builds(
    lambda slots, h, w, channels, dynamics, frames, x, y: LatentLayout(
        (slots, h, w, channels), (dynamics, frames, x), (dynamics, frames, y)
    ),
    *([sizes] * 8),
)


@given(
    layout=layouts,
    counts=st.tuples(sizes, sizes),
    seed=st.integers(0, 9999),
    spread=st.sampled_from([0, 1, 20, 127, 5000, 1 << 24]),
    coder=st.sampled_from([None, *DENSE]),
)
def test_any_group_comes_back(
    layout: LatentLayout, counts: tuple[int, int], seed: int, spread: int, coder: int | None
) -> None:
    group = some_group(layout, clips=counts[0], tiles=counts[1], seed=seed, spread=spread)
    assert_same(unpack(pack_group(group, layout, 3, coder), layout), group)


@pytest.mark.parametrize("coder", DENSE)
def test_symbols_at_the_edges_of_every_range_come_back(coder: int) -> None:
    group = some_group()
    edges = [0, 1, -1, 126, -126, 127, -127, 128, -128, 129, -129, 255, 256, 1 << 15, MAX_SYMBOL, -MAX_SYMBOL]
    group.symbols.structure.flat[: len(edges)] = edges
    group.symbols.dynamics_y.flat[-len(edges) :] = edges
    assert_same(unpack(pack_group(group, LAYOUT, coder=coder)), group)


def test_a_group_is_one_frame_with_size_and_checksum() -> None:
    packed = pack_group(some_group(), LAYOUT)
    parameters = zstandard.get_frame_parameters(packed)
    assert parameters.has_checksum
    assert parameters.content_size == PREFIX.size + 6 * LAYOUT.elements
    assert zstd_frame.measure(lambda at, size: packed[at : at + size], 0, max_content=1 << 20) == len(packed)


@given(data=st.binary(max_size=400_000), level=st.sampled_from([1, 19]))
def test_a_frame_is_measured_without_decompressing(data: bytes, level: int) -> None:
    packed = zstd_frame.compress(data, level)
    trailing = packed + b"\x28\xb5\x2f\xfd"
    assert zstd_frame.measure(lambda at, size: trailing[at : at + size], 0, max_content=1 << 20) == len(packed)
    assert len(packed) <= zstd_frame.bound(len(data))


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65791, 65792, 131072, 131073, 300_000])
def test_frames_of_all_size_fields_are_measured(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    packed = zstd_frame.compress(data, 1)
    assert zstd_frame.decompress(packed, max_content=size) == data


def test_a_frame_header_is_read_with_or_without_a_size() -> None:
    plain = zstandard.ZstdCompressor(write_checksum=False, write_content_size=False).compress(bytes(300))
    found = zstd_frame.parse_header(plain[: zstd_frame.MAX_HEADER])
    assert (found.content_size, found.has_checksum, found.has_dictionary, found.length) == (None, False, False, 6)
    named = zstd_frame.MAGIC + bytes([0x61, 0, 44, 0])  # one segment, a dictionary's id of 0, 300 - 256 in two bytes
    assert zstd_frame.parse_header(named) == (300, False, True, 8)
    for length in range(len(named)):
        with pytest.raises(zstd_frame.TruncatedFrameError):
            zstd_frame.parse_header(named[:length])


@pytest.mark.parametrize("start", ["502a4d1804000000", "28b52ffd6800", "28b52ffd01f8000000000000", "28b52f00"])
def test_other_frames_and_reserved_headers_are_refused(start: str) -> None:
    with pytest.raises(zstd_frame.FrameError) as caught:
        zstd_frame.parse_header(bytes.fromhex(start).ljust(zstd_frame.MAX_HEADER, b"\0"))
    assert not isinstance(caught.value, zstd_frame.TruncatedFrameError)


@pytest.mark.parametrize(
    ("coder", "order", "first_two"),
    [(1, CHANNEL_MAJOR, (0, 1, 0, 0)), (2, POSITION_MAJOR, (0, 0, 0, 1))],
)
def test_the_orders_are_those_of_the_format(coder: int, order: Order, first_two: tuple[int, int, int, int]) -> None:
    """The documented neighbour of the very first symbol: next row within a channel, or next channel of a place."""
    group = some_group()
    sequence = to_sequence(group.symbols, order, 2, 3)
    assert sequence[0] == group.symbols.structure[0, 0, 0, 0, 0]
    assert sequence[1] == group.symbols.structure[0][first_two]
    content = zstandard.decompress(pack_group(group, LAYOUT, coder=coder))
    assert np.array_equal(np.frombuffer(content, np.int8, offset=PREFIX.size), sequence)


def test_channel_major_keeps_channels_together() -> None:
    shape = LAYOUT.structure
    slots, _, _, channels = np.indices(shape)
    numbers = np.broadcast_to(slots * shape[3] + channels, (6, *shape)).astype(np.int32)
    empty = some_group().symbols
    sequence = to_sequence(LatentArrays(numbers, empty.dynamics_x, empty.dynamics_y), CHANNEL_MAJOR, 2, 3)
    assert np.all(np.diff(sequence[: numbers.size]) >= 0)


def test_the_smallest_coder_is_kept() -> None:
    group = some_group()
    sizes = [len(pack_group(group, LAYOUT, coder=coder)) for coder in DENSE]
    assert len(pack_group(group, LAYOUT)) == min(sizes)


def test_packing_refuses_what_it_could_not_give_back() -> None:
    good = some_group()
    wrong_type = LatentArrays(*(array.astype(np.int64) for array in good.symbols))
    too_large = LatentArrays(*(np.full_like(array, MAX_SYMBOL + 1) for array in good.symbols))
    for bad in (
        replace(good, symbols=wrong_type),
        replace(good, symbols=too_large),
        replace(good, tiles=2),
        replace(good, frames=0),
        replace(good, first_clip=-1),
        replace(good, first_frame=1 << 32),
    ):
        with pytest.raises(ValueError, match=r".+"):
            pack_group(bad, LAYOUT)


@given(data=st.data())
def test_a_damaged_group_is_never_taken_for_another(data: st.DataObject) -> None:
    group = some_group(spread=200)
    packed = bytearray(pack_group(group, LAYOUT, 3))
    bit = data.draw(st.integers(0, 8 * len(packed) - 1))
    packed[bit // 8] ^= 1 << bit % 8
    try:
        found = unpack(bytes(packed))
    except CorruptGroupError:
        return
    assert_same(found, group)  # a few bits of a frame header mean nothing


@given(cut=st.integers(0, 300), extra=st.binary(max_size=8))
def test_a_cut_or_extended_group_is_refused(cut: int, extra: bytes) -> None:
    packed = pack_group(some_group(), LAYOUT, 3)
    kept = packed[: max(0, len(packed) - cut)] + extra
    if kept == packed:
        return
    with pytest.raises(CorruptGroupError):
        unpack(kept)


@given(data=st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    for candidate in (data, zstd_frame.MAGIC + data, zstd_frame.compress(data, 1)):
        with pytest.raises(CorruptGroupError):
            unpack(candidate)


def sound_frame_with(prefix: tuple[int, ...], body: bytes) -> bytes:
    return zstd_frame.compress(PREFIX.pack(*prefix) + body, 1)


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ((99, 0, 2, 0, 1, 1), "coder 99"),
        ((1, 0, 2, 0, 0, 1), "claims 0 clips"),
        ((1, 0, 2, 0, 5, 1), "claims 5 clips"),
        ((1, 0, 2, 0, 1, 0), "claims 0 tiles"),
        ((1, 0, 2, 0, 1, 0xFFFFFFFF), "tiles"),
        ((1, 0, 0, 0, 1, 1), "no frames"),
        ((1, 0, 2, 0, 2, 1), "bytes for"),
    ],
)
def test_well_packed_nonsense_is_refused(prefix: tuple[int, ...], message: str) -> None:
    with pytest.raises(CorruptGroupError, match=message):
        unpack(sound_frame_with(prefix, bytes(LAYOUT.elements)))


def test_escapes_are_checked() -> None:
    body = bytearray(LAYOUT.elements)
    body[0] = 0x80
    prefix = (1, 0, 2, 0, 1, 1)
    for tail in (b"", b"\0" * 2, b"\0" * 4, b"\xff" * 3):
        with pytest.raises(CorruptGroupError, match=r"expected|out of range"):
            unpack(sound_frame_with(prefix, bytes(body) + tail))
    assert unpack(sound_frame_with(prefix, bytes(body) + b"\3\0\0")).symbols.structure.flat[0] == -129


def test_bombs_are_refused_before_anything_is_allocated() -> None:
    claims_much = zstd_frame.MAGIC + struct.pack("<BQ", 0xE4, 1 << 50) + b"\1\0\0" + b"\0" * 4
    content = bytes(50_000_000)
    bomb = zstd_frame.compress(content, 1)
    del content
    without_size = zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compress(bytes(1000))
    without_checksum = zstd_frame.compress(bytes(1000), 1, checksum=False)
    tracemalloc.start()
    for data in (claims_much, bomb, without_size, without_checksum):
        with pytest.raises(CorruptGroupError):
            unpack(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_limits_are_bounded_whatever_a_header_says() -> None:
    assert max_content(LAYOUT, max_clips=0xFFFF, max_tiles=1 << 40) == PREFIX.size + 6 * MAX_GROUP_SYMBOLS + 64


def test_nothing_is_left_of_a_group_that_is_read_in_part() -> None:
    group = OpenGroup(pack_group(some_group(clips=3), LAYOUT), LAYOUT, max_clips=4, max_tiles=4)
    clips, left = group.placed(), weakref.ref(group)
    next(clips)
    gc.disable()  # its collector comes too late: a group may hold ten megabytes
    try:
        del group, clips
        assert left() is None
    finally:
        gc.enable()
