"""The context coder: rANS coder, tables, tokens, bits, prediction, and bytes that it did not write."""

from __future__ import annotations

import tracemalloc

import coder3_reader
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidtwin_codec.coding import (
    CODERS,
    CONTEXT,
    MAX_SYMBOL,
    PLAIN,
    PLAIN_BY_POSITION,
    CorruptGroupError,
    Group,
    LatentArrays,
    LatentLayout,
    pack_group,
    unpack_group,
    zstd_frame,
)
from vidtwin_codec.coding.context import planes, rans, scales
from vidtwin_codec.coding.context.coder import MAX_ROWS, MAX_WIDTH, BitReader, BitWriter
from vidtwin_codec.coding.context.model import LEVELS
from vidtwin_codec.coding.context.tables import PRIOR, TOTAL, Tables, starting_counts
from vidtwin_codec.coding.context.tokens import EXTRA_BITS, FIRST, MAX_RESIDUAL, TOKENS, detokenize, tokenize
from vidtwin_codec.coding.group import PREFIX

LAYOUT = LatentLayout((4, 3, 3, 4), (4, 8, 3), (4, 8, 3))
SMALL = LatentLayout((2, 2, 2, 2), (2, 3, 2), (2, 3, 2))
CODER = CODERS[CONTEXT]


def moving(clips: int, tiles: int = 2, spread: float = 4, layout: LatentLayout = LAYOUT) -> LatentArrays:
    values = np.random.default_rng(0)
    return LatentArrays(
        *(np.rint(values.laplace(scale=spread, size=(clips * tiles, *s))).astype(np.int32) for s in layout.shapes())
    )


def held(clips: int, tiles: int = 2) -> LatentArrays:
    return LatentArrays(*(np.concatenate([part] * clips) for part in moving(1, tiles)))


def body(symbols: LatentArrays, clips: int, tiles: int = 2, layout: LatentLayout = LAYOUT) -> bytes:
    return CODER.encode(symbols, layout, clips, tiles)


def assert_same(a: LatentArrays, b: LatentArrays) -> None:
    for left, right in zip(a, b, strict=True):
        assert left.dtype == right.dtype == np.int32
        assert np.array_equal(left, right)


@given(st.lists(st.integers(-MAX_RESIDUAL, MAX_RESIDUAL), min_size=1, max_size=50))
def test_every_residual_has_a_token(residuals: list[int]) -> None:
    values = np.array([*residuals, 0, MAX_RESIDUAL, -MAX_RESIDUAL], dtype=np.int64)
    tokens, extra = tokenize(values)
    assert tokens.max() < TOKENS
    assert np.all((extra >= 0) & (extra < 1 << EXTRA_BITS[tokens]))
    assert np.array_equal(detokenize(tokens, extra), values)


def test_tokens_follow_each_other_without_a_gap() -> None:
    assert np.array_equal(FIRST[1:], (FIRST + (1 << EXTRA_BITS))[:-1])
    assert FIRST[-1] + (1 << EXTRA_BITS[-1]) > 2 * MAX_RESIDUAL
    assert EXTRA_BITS.max() <= MAX_WIDTH


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, MAX_WIDTH), st.integers(0, (1 << MAX_WIDTH) - 1)), min_size=1, max_size=9),
        max_size=9,
    )
)
def test_plain_bits_come_back(pieces: list[list[tuple[int, int]]]) -> None:
    writer = BitWriter()
    arrays = [np.array(piece, dtype=np.int64).T for piece in pieces]
    for widths, values in arrays:
        writer.put(values & (1 << widths) - 1, widths)
    data = writer.finish()
    reader = BitReader(data)
    for widths, values in arrays:
        assert np.array_equal(reader.take(widths), values & (1 << widths) - 1)
    reader.finish()
    with pytest.raises(ValueError, match="too early"):
        BitReader(data).take(np.array([8 * len(data) + 1]))
    with pytest.raises(ValueError, match="left over"):
        BitReader(data + b"\0").take(np.array([0])), BitReader(data + b"\0").finish()


def test_starting_tables_grow_wider_with_the_level() -> None:
    counts = starting_counts(LEVELS)
    assert np.all(counts >= 0)
    assert np.all((counts.sum(axis=1) > PRIOR - 2 * TOKENS) & (counts.sum(axis=1) <= PRIOR))
    assert np.all(np.diff(counts[:, 0]) <= 0)


def test_a_table_gives_every_token_its_own_interval_whatever_it_has_seen() -> None:
    tables = Tables(starting_counts((16, 4096)))
    slots = np.arange(TOTAL)
    for _ in range(3):
        tables.learn(np.ones(60_000, np.int64), np.full(60_000, 3))
        tables.rebuild()
        for context in (0, 1):
            contexts = np.full(TOTAL, context)
            tokens, places, frequencies = tables.find(contexts, slots)
            assert np.array_equal(np.unique(tokens), np.arange(TOKENS))
            starts, known = tables.intervals(contexts, tokens)
            assert np.array_equal(starts + places, slots)
            assert np.array_equal(known, frequencies)
            assert np.all((places >= 0) & (places < frequencies))
    assert tables.intervals(np.array([1]), np.array([3]))[1][0] > 0.99 * TOTAL


def test_a_priced_table_knows_what_tokens_cost() -> None:
    tables = Tables(starting_counts((16, 4096)), priced=True)
    contexts, tokens = (grid.ravel() for grid in np.mgrid[:2, :TOKENS])
    for _ in range(3):
        tables.learn_at(np.full(500, TOKENS + 7))
        tables.rebuild()
        _, frequencies = tables.intervals(contexts, tokens)
        assert np.allclose(tables.bits, np.log2(TOTAL / frequencies) + EXTRA_BITS[tokens])
    assert tables.bits[TOKENS + 7] < 1


@given(seed=st.integers(0, 99), lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_the_rans_coder_gives_tokens_back(seed: int, lengths: list[int]) -> None:
    values = np.random.default_rng(seed)
    tables = Tables(starting_counts((16, 1000, 60_000)))
    steps = [(values.integers(0, 3, n), values.integers(0, TOKENS, n)) for n in lengths]
    coder = rans.RansEncoder()
    for contexts, tokens in steps:
        coder.put(*tables.intervals(contexts, tokens))
    states, words = coder.finish()
    decoder = rans.RansDecoder(states, words)
    for contexts, tokens in steps:
        assert np.array_equal(decoder.take(tables, contexts), tokens)
    decoder.finish()


@settings(deadline=None)
@given(seed=st.integers(0, 99), lengths=st.lists(st.integers(1, 90), min_size=1, max_size=12), rare=st.booleans())
def test_few_states_and_many_are_coded_alike(seed: int, lengths: list[int], rare: bool) -> None:
    values = np.random.default_rng(seed)
    tables = Tables(starting_counts((16, 1000, 60_000)))
    coder = rans.RansEncoder()
    for length in lengths:
        contexts = values.integers(0, 3, (3, length))
        coder.put(*tables.intervals(contexts, values.integers(0, TOKENS if rare else 2, (3, length))))
    for count in (1, 8, 64):
        one, other = coder._finish_few(count), coder._finish_many(count)
        assert np.array_equal(one[0], other[0])
        assert np.array_equal(one[1].astype(np.uint16), other[1].astype(np.uint16))


def test_the_rans_coder_wastes_little() -> None:
    """Bits written against bits that the frequencies ask for."""
    tables = Tables(starting_counts((2048,)))
    values = np.random.default_rng(1)
    contexts = np.zeros(1000, np.int64)
    coder, asked = rans.RansEncoder(), 0.0
    for _ in range(60):
        tokens = tables.find(contexts, values.integers(0, TOTAL, 1000))[0]
        starts, frequencies = tables.intervals(contexts, tokens)
        coder.put(starts, frequencies)
        asked += float(np.log2(TOTAL / frequencies).sum()) / 8
    states, words = coder.finish()
    assert 4 * len(states) + 2 * len(words) < 1.01 * asked


def test_planes_join_to_what_was_split() -> None:
    layout = LatentLayout((2, 3, 4, 5), (3, 6, 4), (3, 6, 2))
    values = np.random.default_rng(0)
    symbols = LatentArrays(*(values.integers(-9, 9, (6, *s)).astype(np.int32) for s in layout.shapes()))
    parts = planes.split(symbols, layout, 3, 2)
    assert [part.values.shape for part in parts] == [(3, 10, 24), (18, 3, 12)]
    assert parts[0].values[2, 7, 17] == symbols.structure[5, 1, 1, 1, 2]  # clip 2, slot 1, channel 2, tile 1, (1, 1)
    assert parts[1].values[13, 2, 9] == symbols.dynamics_y[4, 2, 1, 1]  # clip 2, frame 1, tile 0, second in y
    assert parts[1].classes[2, 9] == 10 + 3 + 2
    assert_same(planes.join(parts, layout, 3, 2), symbols)


@pytest.mark.parametrize("spread", [0.3, 4, 3000])
def test_a_reader_written_from_the_specification_finds_the_same_symbols(spread: float) -> None:
    layout, clips, tiles = LatentLayout((3, 3, 2, 2), (2, 4, 2), (2, 4, 3)), 9, 11
    symbols = moving(clips, tiles, spread, layout)
    for part in symbols:
        part[tiles * 2 : tiles * 5] = np.concatenate([part[tiles : tiles * 2]] * 3)  # three clips stand still
    known = np.concatenate([plane.values.ravel() for plane in planes.split(symbols, layout, clips, tiles)])
    found = coder3_reader.read(body(symbols, clips, tiles, layout), *layout.shapes(), clips, tiles)
    assert np.array_equal(found, known)


def test_scales_are_stored_in_half_a_byte() -> None:
    symbols = moving(2)
    symbols.structure[:, 1, :, :, 2] *= 1000
    symbols.dynamics_y[:] = 0
    indices = scales.measure(planes.split(symbols, LAYOUT, 2, 2), LAYOUT.channels)
    data = scales.to_bytes(indices)
    assert len(data) == scales.byte_count(LAYOUT.channels)
    assert np.array_equal(scales.from_bytes(data, LAYOUT.channels), scales.SCALES[indices])
    assert indices.argmax() == 1 * 4 + 2
    assert indices.max() - indices.min() == scales.SPAN - 1
    with pytest.raises(ValueError, match="scale"):
        scales.from_bytes(b"\xff" + data[1:], LAYOUT.channels)


@pytest.mark.parametrize("edge", [MAX_SYMBOL, -MAX_SYMBOL])
def test_the_largest_jumps_come_back_within_the_limit(edge: int) -> None:
    symbols = LatentArrays(*(np.zeros((6, *s), np.int32) for s in LAYOUT.shapes()))
    for number, part in enumerate(symbols):
        part[number::2] = edge
        part.reshape(-1)[::5] = -edge
    data = body(symbols, 3)
    assert len(data) <= CODER.max_body(6 * LAYOUT.elements)
    assert_same(CODER.decode(memoryview(data), LAYOUT, 3, 2), symbols)


def test_what_stands_still_costs_next_to_nothing() -> None:
    first, later = len(body(held(1), 1)), len(body(held(40), 40))
    assert later - first < 0.5 * first
    assert later < 0.05 * len(body(moving(40), 40))


def test_a_channel_that_repeats_itself_in_time_is_predicted() -> None:
    symbols = moving(4)
    for side in (symbols.dynamics_x, symbols.dynamics_y):
        side[:] = side[:, :, :1]
    assert len(body(symbols, 4)) < 0.8 * len(body(moving(4), 4))


def test_prediction_costs_little_where_nothing_repeats() -> None:
    """Independent Laplace symbols: within some percent of their entropy."""
    clips, spread = 24, 4.0
    symbols = moving(clips, spread=spread)
    everything = np.concatenate([part.ravel() for part in symbols])
    counts = np.unique(everything, return_counts=True)[1]
    entropy = float(-(counts * np.log2(counts / everything.size)).sum()) / 8
    assert len(body(symbols, clips)) < 1.04 * entropy


def test_the_smallest_coder_is_kept_without_trying_what_cannot_win() -> None:
    symbols = moving(8)
    # much goes on in one row, little in another; which is which changes from tile to tile
    symbols.structure[0::2, :, 0] *= 20
    symbols.structure[1::2, :, 2] *= 20
    symbols.structure[:, :, 1] //= 4
    # the same at every place and new in every clip, which only zstd looks for
    pattern = LatentArrays(*(np.zeros_like(part) for part in symbols))
    pattern.structure[:] = moving(8, spread=40).structure[:, :, :1, :1]
    for wanted, each in (({CONTEXT}, symbols), ({PLAIN, PLAIN_BY_POSITION}, pattern)):
        group = Group(0, 128, 0, 8, 2, each)
        sizes = {coder: len(pack_group(group, LAYOUT, coder=coder)) for coder in (CONTEXT, PLAIN, PLAIN_BY_POSITION)}
        assert min(sizes, key=sizes.__getitem__) in wanted
        assert len(pack_group(group, LAYOUT)) == min(sizes.values())


def test_more_rows_than_any_video_has_go_to_the_plain_coders() -> None:
    layout = LatentLayout((64, 1, 1, 64), (1, 1, 1), (1, 1, 1))
    clips = MAX_ROWS // 4097 + 1
    symbols = LatentArrays(*(np.zeros((clips, *s), np.int32) for s in layout.shapes()))
    group = Group(0, clips, 0, clips, 1, symbols)
    packed = pack_group(group, layout)
    assert unpack_group(packed, layout, max_clips=clips, max_tiles=1).clips == clips
    with pytest.raises(ValueError, match="cannot code"):
        pack_group(group, layout, coder=CONTEXT)
    claim = zstd_frame.compress(PREFIX.pack(CONTEXT, 0, clips, 0, clips, 1) + bytes(5000), 1)
    with pytest.raises(CorruptGroupError, match="rows"):
        unpack_group(claim, layout, max_clips=clips, max_tiles=1)


@given(data=st.binary(max_size=300), prefix=st.integers(0, 60))
def test_made_up_bodies_are_refused(data: bytes, prefix: int) -> None:
    sound = body(moving(1, layout=SMALL), 1, layout=SMALL)
    for candidate in (data, sound[:prefix] + data):
        if candidate != sound:
            with pytest.raises(ValueError, match=r".+"):
                CODER.decode(memoryview(candidate), SMALL, 1, 2)


@given(data=st.data())
def test_a_changed_body_is_refused_or_gives_symbols_in_range(data: st.DataObject) -> None:
    changed = bytearray(body(moving(1, layout=SMALL), 1, layout=SMALL))
    bit = data.draw(st.integers(0, 8 * len(changed) - 1))
    changed[bit // 8] ^= 1 << bit % 8
    try:
        found = CODER.decode(memoryview(bytes(changed)), SMALL, 1, 2)
    except ValueError:
        return
    assert max(int(np.abs(part).max()) for part in found) <= MAX_SYMBOL


def test_a_body_without_words_claims_no_memory() -> None:
    """Sizes are checked before anything of a group's size is made."""
    layout = LatentLayout((16, 7, 7, 8), (8, 16, 7), (8, 16, 7))
    clips, tiles = 16, 1000
    head = bytes(scales.byte_count(layout.channels))
    few_states = head + b"\0" + bytes(4) + b"\0\0\1\0"
    many_words = head + b"\0" + b"\xff" * 4
    tracemalloc.start()
    for candidate in (b"", head, few_states, many_words):
        with pytest.raises(ValueError, match=r"holds|states"):
            CODER.decode(memoryview(candidate), layout, clips, tiles)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
