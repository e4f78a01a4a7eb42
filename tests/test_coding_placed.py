"""Coder 5: clips on canvases that are cut into tiles come back, and what no file may hold is refused."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import coder5_reader
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidtwin_codec import VidtwinError
from vidtwin_codec.coding import (
    CONTEXT,
    PLACED,
    PLAIN,
    CorruptGroupError,
    Group,
    GroupSpan,
    LatentArrays,
    LatentLayout,
    OpenGroup,
    Placement,
    Steps,
    max_content,
    pack_body,
    pack_group,
    zstd_frame,
)
from vidtwin_codec.coding.group import PREFIX
from vidtwin_codec.coding.placement import rest_grid
from vidtwin_codec.container import Header
from vidtwin_codec.network.geometry import Geometry, aligned_side

LAYOUT = LatentLayout((2, 2, 2, 2), (2, 4, 2), (2, 4, 2))
FRAME = (40, 50)


def header(frame: tuple[int, int] = FRAME, tile: int = 32, overlap: int = 8) -> Header:
    return Header(
        weights_name="tiles",
        weights_sha256="0" * 64,
        layout=LAYOUT,
        steps=Steps(np.ones((2, 2)), np.ones(2), np.ones(2)),
        coder=PLACED,
        width=frame[1],
        height=frame[0],
        coded_width=frame[1],
        coded_height=frame[0],
        fps=Fraction(25),
        clip_frames=4,
        tile_height=tile,
        tile_width=tile,
        overlap=overlap,
        camera=True,
        clips_per_group=6,
        created_by="tests",
    )


@st.composite
def canvases(draw: st.DrawFn) -> Placement:
    rows, columns = draw(st.sampled_from([(3, 4), (3, 5), (4, 4), (4, 6), (6, 4), (3, 8)]))
    high, wide = 16 * rows - FRAME[0], 16 * columns - FRAME[1]
    pairs = st.tuples(st.integers(0, high), st.integers(0, wide))
    corners = draw(st.lists(pairs, min_size=4, max_size=4))
    return Placement(rows, columns, 0, 0, np.array(corners, np.int16))


def group_of(placements: tuple[Placement | None, ...], tiles: int, seed: int = 0) -> Group:
    rng = np.random.default_rng(seed)
    count = len(placements) * tiles
    arrays = (rng.integers(-3, 4, (count, *shape)).astype(np.int32) for shape in LAYOUT.shapes())
    return Group(0, 4 * len(placements), 0, len(placements), tiles, LatentArrays(*arrays), placements)


@given(
    paths=st.lists(canvases(), min_size=1, max_size=6),
    holes=st.sets(st.integers(0, 5)),
    coder=st.sampled_from([None, 1, 2, 3]),
)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_groups_come_back(paths: list[Placement], holes: set[int], coder: int | None) -> None:
    described = header()
    tiles = described.tiles_on(paths[0])
    given: list[Placement | None] = [path for path in paths if described.tiles_on(path) == tiles]
    if tiles == described.tiles:  # only then can clips without a canvas be among them
        given = [None if place in holes else path for place, path in enumerate(given)]
    group = group_of(tuple(given), tiles)
    data = pack_group(group, LAYOUT, coder=coder)
    opened = described.open_group(data)
    assert (opened.span, opened.tiles) == (group.span, tiles)
    assert opened.on_canvases == any(given)
    found = list(opened.placed())
    assert [clip.placement for clip in found] == given
    whole = described.open_group(data).whole()
    assert all(np.array_equal(*pair) for pair in zip(whole.symbols, group.symbols, strict=True))
    if any(given):
        content = zstd_frame.decompress(data, max_content=1 << 20)
        inner, read, _ = coder5_reader.read(content[PREFIX.size :], len(given), 4)
        assert inner == (coder or inner)
        wanted = [one and (one.rows, one.columns, list(map(tuple, one.corners.tolist()))) for one in given]
        assert read == wanted


STILL = np.zeros((4, 2), np.int16)
GOOD = Placement(3, 5, 0, 0, STILL)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rows": 0}, "a canvas of"),
        ({"columns": 9}, "for a grid of 3 by 4"),
        ({"rows": 2}, "beyond its canvas"),
        ({"corners": STILL + np.array([0, 31], np.int16)}, "beyond its canvas"),
        ({"corners": STILL - np.array([1, 0], np.int16)}, "outside its canvas"),
        ({"corners": STILL + np.array([0, 200], np.int16)}, "outside its canvas"),
    ],
)
def test_a_canvas_that_cannot_be_is_refused(changes: dict[str, object], text: str) -> None:
    bad = replace(GOOD, **changes)  # type: ignore[arg-type]
    with pytest.raises(CorruptGroupError, match=text):
        header().open_group(pack_group(group_of((bad,), 6), LAYOUT))
    with pytest.raises(ValueError, match="canvas"):
        bad.check(LAYOUT, FRAME)


def test_what_is_no_place_has_no_world() -> None:
    with pytest.raises(ValueError, match="a canvas at"):
        replace(GOOD, left=1).check(LAYOUT, FRAME)
    with pytest.raises(ValueError, match="unknown size"):
        GOOD.check(LAYOUT)


def forged(body: bytes, clips: int = 1, tiles: int = 6) -> bytes:
    return pack_body(PLACED, GroupSpan(0, 4 * clips, 0, clips), tiles, body)


def test_damaged_bodies_are_refused() -> None:
    described = header()
    data = pack_group(group_of((GOOD, GOOD), described.tiles_on(GOOD)), LAYOUT, coder=PLAIN)
    body = zstd_frame.decompress(data, max_content=1 << 20)[PREFIX.size :]
    assert described.open_group(forged(body, 2)).whole().placements == (GOOD, GOOD)
    start = 1 + 2 * (5 + 16)
    for bad in (b"", b"\4" + body[1:], b"\5" + body[1:], b"\0" + body[1:], body[:1] + b"\2" + body[2:], body + b"\0"):
        with pytest.raises(CorruptGroupError):
            described.open_group(forged(bad, 2)).whole()
    for end in (1, 2, 5, 21, start - 1, len(body) - 1):
        with pytest.raises(CorruptGroupError):
            described.open_group(forged(body[:end], 2)).whole()
    for tiles in (4, 5, 7, described.most_tiles + 1):
        with pytest.raises(CorruptGroupError, match="tiles"):
            described.open_group(forged(body, 2, tiles))


@given(data=st.binary(max_size=80), clips=st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_anything_is_read_or_refused(data: bytes, clips: int) -> None:
    try:
        found = header().open_group(forged(data, clips)).whole()
    except CorruptGroupError:
        return
    assert len(found.placements) == clips


def test_other_files_have_none() -> None:
    data, described = pack_group(group_of((GOOD,), 6), LAYOUT), header()
    with pytest.raises(CorruptGroupError, match=r"in a file that has none|claims 6 tiles"):
        replace(described, camera=False, coder=CONTEXT).open_group(data)
    with pytest.raises(CorruptGroupError, match="in a file that has none"):
        OpenGroup(data, LAYOUT, max_clips=6, max_tiles=9, frame=FRAME)
    with pytest.raises(CorruptGroupError, match="tiles a clip"):
        described.open_group(pack_group(group_of((None,), 6), LAYOUT))
    with pytest.raises(ValueError, match="one for each clip"):
        pack_group(replace(group_of((GOOD,), 6), placements=(GOOD, GOOD)), LAYOUT)


def test_a_header_says_what_reads_it() -> None:
    described = header()
    assert Header.from_bytes(described.to_bytes()) == described
    for changes in ({"coder": CONTEXT}, {"clip_frames": 8}, {"abutting": True, "overlap": 0}):
        with pytest.raises(VidtwinError, match="header"):
            replace(described, **changes)  # type: ignore[arg-type]


@given(
    frame=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    tile=st.integers(17, 60),
    overlap=st.integers(0, 16),
)
@settings(deadline=None, max_examples=40)
def test_most_tiles_are_those_of_the_worst_canvas(frame: tuple[int, int], tile: int, overlap: int) -> None:
    described = header(frame, tile, overlap)
    height, width = rest_grid(LAYOUT, frame)
    counts = [
        described.tiles_of(16 * rows, 16 * columns)
        for rows in range(height, 2 * height + 1)
        for columns in range(width, 2 * width + 1)
        if rows * columns <= 2 * height * width
    ]
    assert described.most_tiles == max(counts)
    assert described.max_group_content > max_content(LAYOUT, max_clips=6, max_tiles=described.tiles)


@given(side=st.integers(1, 900), pitch=st.sampled_from([8, 16, 32]), overlap=st.integers(0, 40))
def test_aligned_tiles_are_as_few_and_lie_at_multiples(side: int, pitch: int, overlap: int) -> None:
    tile = 96
    grown = aligned_side(side, tile, overlap, pitch)
    before, after = (Geometry(each, tile, 4, tile, tile, overlap).tiles for each in (side, grown))
    assert len(before) == len(after)
    assert grown >= side
    if grown > side:
        assert all(x % pitch == 0 for _, x in after)
        assert any(x % pitch for _, x in before)
        for less in range(side + 1, grown):
            assert any(x % pitch for _, x in Geometry(less, tile, 4, tile, tile, overlap).tiles)
