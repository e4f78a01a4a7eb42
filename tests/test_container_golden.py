"""Files written by earlier versions keep their meaning, and what is written keeps its form."""

from __future__ import annotations

import io
import runpy
import zlib
from pathlib import Path

import coder3_reader
import coder4_reader
import coder5_reader
import numpy as np
import pytest
import zstandard

from vidtwin_codec.coding import CODERS, zstd_frame
from vidtwin_codec.coding.sparse import prior
from vidtwin_codec.container import VtwReader
from vidtwin_codec.container.packed_json import DICTIONARY, WIDE_DICTIONARY
from vidtwin_codec.network.following import cut_out

GOLDEN = Path(__file__).parent / "golden"
RECIPE = runpy.run_path(str(GOLDEN / "make_golden.py"))
# name: (coder, CRC-32 of the file)
FILES = {
    "v1_coder1": (1, 0x8B85AA05),
    "v1_coder2": (2, 0x907C86F5),
    "v1_coder3": (3, 0xD6B794F0),
    "v1_coder4": (4, 0x09B0D34B),
    "v1_foreign_frames": (1, 0x971B3FB2),
}


PACKED_CRC = 0xC3082506
CAMERA_CRC = 0x0C32EAB0
PLACED_CRC = 0xBC76ED17


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.vtw").read_bytes()


def test_every_coder_has_a_golden_file() -> None:
    assert {coder for coder, _ in FILES.values()} == set(CODERS)


@pytest.mark.parametrize("name", FILES)
def test_golden_bytes_are_untouched(name: str) -> None:
    assert f"{zlib.crc32(golden(name)):08X}" == f"{FILES[name][1]:08X}"


@pytest.mark.parametrize("name", FILES)
def test_golden_files_give_exactly_the_known_symbols(name: str) -> None:
    with VtwReader(GOLDEN / f"{name}.vtw") as reader:
        assert reader.header == RECIPE["header"](FILES[name][0])
        assert reader.header.extra == {"later": ["kept"]}
        assert reader.frames == 11
        assert b"".join(reader.audio_chunks()) == RECIPE["AUDIO"]
        found = [reader.read_group(number) for number in range(len(reader.groups))]
        assert reader.verify() == []
    for group, expected in zip(found, RECIPE["groups"](), strict=True):
        assert (group.span, group.tiles) == (expected.span, expected.tiles)
        for array, known in zip(group.symbols, expected.symbols, strict=True):
            assert np.array_equal(array, known)


def test_a_packed_header_is_read_as_it_was_written() -> None:
    data, expected = golden("v1_1_packed"), RECIPE["packed_group"]()
    assert f"{zlib.crc32(data):08X}" == f"{PACKED_CRC:08X}"
    with VtwReader(io.BytesIO(data)) as reader:
        assert reader.header == RECIPE["packed_header"]()
        assert (reader.header.abutting, reader.header.tiles) == (True, 4)
        group = reader.read_group(0)
        assert reader.verify() == []
        start = reader.groups[0].offset - reader.counts.audio_bytes
    assert data[12:16] == bytes([1, 1, 2, 1])
    assert start < 190
    assert group.span == expected.span
    for array, known in zip(group.symbols, expected.symbols, strict=True):
        assert np.array_equal(array, known)
    assert _contents(data) == _contents(RECIPE["build_packed"]())


def test_clips_on_canvases_are_read_as_the_specification_has_it() -> None:
    data, expected = golden("v1_1_camera"), RECIPE["camera_clips"]()
    assert f"{zlib.crc32(data):08X}" == f"{CAMERA_CRC:08X}"
    with VtwReader(io.BytesIO(data)) as reader:
        header = reader.header
        assert header == RECIPE["camera_header"]()
        found = list(reader.placed(0))
        assert reader.verify() == []
        (entry,) = reader.groups
    for clip, known in zip(found, expected, strict=True):
        assert clip.placement == known.placement
        assert all(np.array_equal(*pair) for pair in zip(clip.symbols, known.symbols, strict=True))
    # and by nothing but docs/FORMAT.md
    content = zstandard.decompress(data[entry.offset : entry.offset + entry.size])
    assert header.layout.patterns is not None
    clips = coder4_reader.read_clips(
        content[21:], prior.FILE, *header.layout.shapes(), header.layout.patterns.to_json(), clips=5, tiles=1
    )
    for (arrays, canvas), known in zip(clips, expected, strict=True):
        assert canvas.moved == (known.placement is not None)
        assert all(np.array_equal(flat, array.ravel()) for flat, array in zip(arrays, known.symbols, strict=True))
        rows, columns, _, _ = canvas.canvas
        shown = np.arange(rows * 8 * columns * 8).reshape(1, rows * 8, columns * 8, 1)
        frames = cut_out(np.repeat(shown, 4, axis=0), known.placement, 14, 21)[:, :14, :21]
        for frame, (y, x) in zip(frames, canvas.corners(8), strict=True):
            assert np.array_equal(frame, shown[0, y : y + 14, x : x + 21])


def test_tiles_of_canvases_are_read_as_the_specification_has_it() -> None:
    data, expected = golden("v1_1_placed"), RECIPE["placed_groups"]()
    assert f"{zlib.crc32(data):08X}" == f"{PLACED_CRC:08X}"
    with VtwReader(io.BytesIO(data)) as reader:
        header = reader.header
        assert header == RECIPE["placed_header"]()
        found = [reader.read_group(number) for number in range(len(reader.groups))]
        assert reader.verify() == []
        entries = reader.groups
    for group, known in zip(found, expected, strict=True):
        assert (group.span, group.tiles) == (known.span, known.tiles)
        assert group.placements == (known.placements if any(known.placements) else ())
        assert all(np.array_equal(*pair) for pair in zip(group.symbols, known.symbols, strict=True))
    # and by nothing but docs/FORMAT.md
    for entry, known in zip(entries, expected, strict=True):
        content = zstandard.decompress(data[entry.offset : entry.offset + entry.size])
        assert content[0] == (5 if any(known.placements) else 2)
        if content[0] != 5:
            continue
        inner, canvases, body = coder5_reader.read(content[21:], known.clips, frames=4)
        for canvas, placement in zip(canvases, known.placements, strict=True):
            assert (canvas is None) == (placement is None)
            rows, columns = (24, 40) if canvas is None else (16 * canvas[0], 16 * canvas[1])
            assert coder5_reader.tiles(rows, 32, 8) * coder5_reader.tiles(columns, 32, 8) == known.tiles
            if canvas is not None:
                assert canvas == (placement.rows, placement.columns, list(map(tuple, placement.corners.tolist())))
        if inner == 3:
            shapes = header.layout.shapes()
            assert coder3_reader.read(body, *shapes, known.clips, known.tiles) == coder3_reader.read(
                CODERS[3].encode(known.symbols, header.layout, known.clips, known.tiles),
                *(*shapes, known.clips, known.tiles),
            )
        else:
            assert len(body) == known.tiles * header.layout.elements
    assert _contents(data) == _contents(RECIPE["build_placed"]())


@pytest.mark.parametrize("coder", CODERS)
def test_written_bytes_are_the_golden_ones_but_for_zstd(coder: int) -> None:
    """Another libzstd may pack the same content into other bytes, so frames are compared by what they hold."""
    old, new = (_contents(data) for data in (golden(f"v1_coder{coder}"), RECIPE["build"](coder)))
    assert old == new


def test_without_its_index_a_file_with_foreign_frames_is_still_read() -> None:
    data = golden("v1_foreign_frames")
    assert RECIPE["FOREIGN_FRAME"] in data
    with VtwReader(io.BytesIO(data[:-1]), recover=True) as reader:
        assert [entry.frames for entry in reader.groups] == [8, 3]
        assert b"".join(reader.audio_chunks()) == RECIPE["AUDIO"]


def test_the_specification_has_the_dictionary() -> None:
    """Nobody could read a header without these very bytes."""
    text = (GOLDEN.parent.parent / "docs" / "FORMAT.md").read_text(encoding="utf-8")
    for dictionary in (DICTIONARY, WIDE_DICTIONARY):
        assert f"\n{dictionary.decode()}\n" in text
        assert f"{len(dictionary)} bytes below" in text
        assert f"0x{zlib.crc32(dictionary):08X}" in text


def _contents(data: bytes) -> list[bytes]:
    """Our frames as they are (without the parts that depend on packed sizes), groups unpacked."""
    parts, at = [], 0
    while at < len(data):
        if data[at : at + 4] == zstd_frame.MAGIC:
            size = zstd_frame.measure(lambda p, n: data[p : p + n], at, max_content=1 << 20)
            parts.append(zstandard.decompress(data[at : at + size]))
        else:
            size = 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            frame = data[at : at + size]
            parts.append(frame if frame[8:12] == b"VTWA" else frame[:4] + frame[8:14])
        at += size
    return parts
