"""Small files that claim much work: they are refused before it is done."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from containers import some_groups, some_header, write

from vidtwin_codec.cli.main import cli
from vidtwin_codec.coding import (
    CODERS,
    PLACED,
    SPARSE,
    Allowance,
    CorruptGroupError,
    Group,
    GroupSpan,
    LatentArrays,
    LatentLayout,
    OpenGroup,
    Steps,
    TooMuchWorkError,
    pack_body,
    pack_group,
    unpack_group,
    zstd_frame,
)
from vidtwin_codec.coding.patterns import Patterns
from vidtwin_codec.container import Header, VtwReader, VtwWriter, verify
from vidtwin_codec.container.format import AUDIO_TAG, INDEX_TAG, DamagedError, build_frame
from vidtwin_codec.container.index import Index
from vidtwin_codec.container.inspection import UNFINISHED
from vidtwin_codec.container.packed_json import deflate
from vidtwin_codec.errors import VidtwinError

PLAIN = LatentLayout((1, 100, 100, 100), (1, 1, 1), (1, 1, 1))
WIDE = LatentLayout((16, 20, 20, 512), (1, 4, 20), (1, 4, 20), Patterns(32, (440, 44, 28)))
ROWS = LatentLayout((4, 1, 1, 1), (1, 1, 1), (1, 1, 1))


class Counting(io.BytesIO):
    """Counts the looks that are taken into it, and the bytes seen."""

    looks = seen = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.looks, self.seen = self.looks + 1, self.seen + len(data)
        return data


def header_for(layout: LatentLayout) -> Header:
    slots, channels, lines = layout.structure[0], layout.structure[3], layout.dynamics_x[0]
    steps = Steps(np.ones((slots, channels), np.float32), *np.ones((2, lines), np.float32))
    return some_header(
        layout=layout, steps=steps, coder=4, clips_per_group=0xFFFF, clip_frames=4, coded_width=32, coded_height=32,
        tile_width=32, tile_height=32, overlap=0,
    )  # fmt: skip


def claiming(layout: LatentLayout, coder: int, clips: int, body: bytes) -> bytes:
    """A file of one group with this body."""
    out = io.BytesIO()
    span = GroupSpan(0, 4 * clips, 0, clips)
    writer = VtwWriter(out, header_for(layout))
    writer.write_group(pack_body(coder, span, 1, body, 1), span)
    writer.finish()
    return out.getvalue()


@pytest.mark.parametrize(
    ("layout", "coder", "clips", "body"),
    [(PLAIN, 1, 133, bytes(133 * PLAIN.elements)), (ROWS, 3, 40_000, bytes(99)), (WIDE, 4, 60_000, bytes(2))],
    ids=["plain", "context", "sparse"],
)
def test_what_a_small_file_claims_is_not_begun(layout: LatentLayout, coder: int, clips: int, body: bytes) -> None:
    data = claiming(layout, coder, clips, body)
    assert len(data) < 20_000
    tracemalloc.start()
    (problem,) = verify(io.BytesIO(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert problem.startswith(UNFINISHED)
    assert "more work" in problem
    assert peak < len(body) + (50 << 20)
    with VtwReader(io.BytesIO(data)) as reader:  # the index says nothing wrong
        assert reader.frames == 4 * clips


def test_bits_of_a_sparse_group_are_counted_as_they_come() -> None:
    values = np.random.default_rng(0)
    layout = LatentLayout((2, 3, 3, 20), (1, 4, 3), (1, 4, 3), Patterns(8, (10, 5, 5)))
    symbols = LatentArrays(*(values.integers(-9, 9, (2, *shape)).astype(np.int32) for shape in layout.shapes()))
    data = pack_group(Group(0, 8, 0, 2, 1, symbols), layout)
    expected = CODERS[SPARSE].cost(layout, 2, 1, len(data)).work + 2 * len(data)
    for bits, enough in ((100, False), (10_000, True)):
        group = OpenGroup(data, layout, max_clips=2, max_tiles=1, allowance=Allowance(expected + 200 * bits))
        with nullcontext() if enough else pytest.raises(TooMuchWorkError):
            assert len(list(group.clips())) == 2


def test_places_on_canvases_are_counted_before_they_are_read() -> None:
    clips = 60_000
    canvas = b"\1" + struct.pack("<2H", 1, 1) + bytes(4 * 4)
    body = bytes([1]) + canvas * clips + bytes(clips * ROWS.elements)
    header = replace(
        header_for(LatentLayout((1, 1, 1, 1), (1, 4, 1), (1, 4, 1))),
        coder=PLACED, camera=True, width=16, height=16, coded_width=16, coded_height=16, tile_width=16, tile_height=16,
    )  # fmt: skip
    out = io.BytesIO()
    span = GroupSpan(0, 4 * clips, 0, clips)
    writer = VtwWriter(out, header)
    writer.write_group(pack_body(PLACED, span, 1, body, 1), span)
    writer.finish()
    for symbols in (True, False):  # a search for groups reads places, too
        with VtwReader(io.BytesIO(out.getvalue()), recover=True, symbols=symbols) as reader:
            (problem,) = reader.damage
            assert problem.startswith(UNFINISHED)


def test_the_same_group_again_is_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    group = some_groups(1)[0]
    header = some_header(clips_per_group=group.clips)
    frames, started = group.clips * header.clip_frames, list[GroupSpan]()
    groups = [replace(group, first_frame=n * frames, frames=frames, first_clip=n * group.clips) for n in range(5)]
    data, _ = write(header, groups)
    decode = OpenGroup.clips

    def counted(self: OpenGroup) -> Iterator[LatentArrays]:
        started.append(self.span)
        return decode(self)

    monkeypatch.setattr(OpenGroup, "clips", counted)
    assert not verify(io.BytesIO(data))
    assert started == [groups[0].span]


def test_plain_bits_that_no_symbols_can_use_are_damage() -> None:
    group = some_groups(1)[0]
    layout = some_header().layout
    content = zstd_frame.decompress(pack_group(group, layout, coder=3), max_content=1 << 20)
    bomb = zstd_frame.compress(content + bytes(4 * group.clips * group.tiles * layout.elements), 1)
    with pytest.raises(CorruptGroupError, match="damaged group"):
        unpack_group(bomb, layout, max_clips=9, max_tiles=9)


def test_frames_of_nothing_but_empty_blocks_are_not_walked_to_their_end() -> None:
    start = some_header().to_bytes()
    hop = zstd_frame.MAGIC + b"\x24\x05"
    chain = b"".join(hop + (10 * (199 - n) << 3).to_bytes(3, "little") + b"\0" for n in range(200))
    stream = Counting(start + chain + bytes(3) * 20_000 + b"\7\0\0")
    assert verify(stream)
    assert stream.looks < 200 * 100


def test_a_search_through_damage_ends() -> None:
    start = some_header().to_bytes()
    landmark = struct.pack("<I", 0x184D2A56) + struct.pack("<I", 1 << 20) + b"VTWA"
    stream = Counting(start + b"garbage!" + landmark * 4000 + bytes(1 << 20))
    problems = verify(stream)
    assert problems[-1].startswith(UNFINISHED)
    assert stream.seen < 3 << 30


def test_an_index_of_more_groups_than_there_is_room_for_is_not_unpacked() -> None:
    record = struct.Struct("<Q6I")
    records = b"".join(record.pack(100 + n, 1, 0, 4 * n, 4, n, 1) for n in range(20_000))
    body = deflate(struct.pack("<IQIQI", 20_000, 30_000, 0, 0, 0) + records)
    frame = build_frame(INDEX_TAG, body + struct.pack("<I4s", len(body) + 24, b"VTWP"))
    tracemalloc.start()
    with pytest.raises(DamagedError):
        Index.from_bytes(frame, 30_000)
    assert tracemalloc.get_traced_memory()[1] < 500_000
    tracemalloc.stop()


def test_groups_are_looked_for_only_where_there_is_no_index() -> None:
    data, _ = write(some_header(), some_groups(4))
    stream = Counting(data)
    with VtwReader(stream, recover=True, fallback=True) as reader:
        assert reader.complete
        assert len(reader.groups) == 4
    assert stream.looks <= 4  # header and index
    with VtwReader(io.BytesIO(data[:-1]), recover=True, fallback=True) as reader:
        assert not reader.complete
        assert len(reader.groups) == 4


def test_what_was_checked_in_part_only_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.vtw"
    path.write_bytes(claiming(ROWS, 3, 40_000, bytes(99)))
    ended = CliRunner().invoke(cli, ["verify", str(path), "--json"])
    assert json.loads(ended.stdout)["checked"] == "part"
    assert isinstance(ended.exception, VidtwinError)
    assert ended.exception.message == f"{path}: was checked in part only, and nothing is wrong so far"
    assert "--thorough" in (ended.exception.hint or "")


def test_info_shows_few_of_many_problems(tmp_path: Path) -> None:
    path = tmp_path / "a.vtw"
    pieces = (b"g" + build_frame(AUDIO_TAG, struct.pack("<I", number) + b"x") for number in range(500))
    path.write_bytes(some_header().to_bytes() + b"".join(pieces))
    ended = CliRunner().invoke(cli, ["info", str(path)])
    assert len(ended.stdout.splitlines()) < 60
    assert "more, which --json lists" in ended.stdout
    listed = CliRunner().invoke(cli, ["info", "--json", str(path)])
    assert len(json.loads(listed.stdout)["damage"]) > 500
