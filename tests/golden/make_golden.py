"""Makes the golden files: small .vtw files whose bytes are pinned, and the symbols that they hold.

Run it only to add files for a new format version or coder: `python tests/golden/make_golden.py`. Files that exist are
left alone, because a reader must read what was written once.
"""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidtwin_codec.coding import (
    CONTEXT,
    PLACED,
    PLAIN,
    PLAIN_BY_POSITION,
    SPARSE,
    Group,
    GroupSpan,
    LatentArrays,
    LatentLayout,
    PlacedClip,
    SparseGroupEncoder,
    Steps,
    pack_body,
    pack_group,
)
from vidtwin_codec.coding.patterns import Patterns
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.container import AudioInfo, Header, VtwReader, VtwWriter
from vidtwin_codec.container.format import FIRST_VERSION, closing_crc
from vidtwin_codec.container.index import Index

FOLDER = Path(__file__).parent
LAYOUT = LatentLayout((2, 2, 3, 2), (2, 4, 3), (2, 4, 2))
AUDIO = bytes(range(256)) * 2
FOREIGN_FRAME = struct.pack("<II", 0x184D2A50, 11) + b"not for us!"


def layout_of(coder: int) -> LatentLayout:
    """The sparse coder wants patterns."""
    return replace(LAYOUT, patterns=Patterns(2, (1, 1, 0))) if coder == SPARSE else LAYOUT


def header(coder: int, version: tuple[int, int] = FIRST_VERSION) -> Header:
    """Three clips of four frames, the last with three; two tiles; two clips a group."""
    return Header(
        weights_name="golden",
        weights_sha256="0123456789abcdef" * 4,
        layout=layout_of(coder),
        steps=Steps(np.array([[0.5, 0.25], [1.5, 2.0]]), np.array([0.125, 0.1]), np.array([3.0, 0.75])),
        coder=coder,
        width=41,
        height=23,
        coded_width=40,
        coded_height=24,
        fps=Fraction(24000, 1001),
        sample_aspect=Fraction(4, 3),
        clip_frames=4,
        tile_height=24,
        tile_width=24,
        overlap=8,
        clips_per_group=2,
        audio=AudioInfo("opus", len(AUDIO)),
        options={"quality": 60.0},
        source={"bytes": 12345},
        created_by="vidtwin golden",
        extra={"later": ["kept"]},
        version=version,
    )


def packed_header() -> Header:
    """What format version 1.1 adds: steps and JSON that are packed, tiles that abut, patterns."""
    layout = LatentLayout((4, 1, 2, 27), (2, 4, 2), (2, 4, 1), Patterns(8, (15, 6, 6)))
    steps = Steps(np.full((4, 27), 0.375), np.full(2, 0.25), np.full(2, 0.25))
    sizes = {"coded_width": 41, "coded_height": 23, "tile_width": 24, "tile_height": 12, "overlap": 0}
    return replace(header(CONTEXT, (1, 1)), layout=layout, steps=steps, abutting=True, extra={}, **sizes)


def build_packed() -> bytes:
    """A file of one group of zeros and a few others behind `packed_header`."""
    described, stream = packed_header(), io.BytesIO()
    writer = VtwWriter(stream, described)
    writer.write_audio([AUDIO])
    group = packed_group()
    writer.write_group(pack_group(group, described.layout, coder=CONTEXT), group.span)
    writer.finish()
    return stream.getvalue()


def packed_group() -> Group:
    """Two clips of four tiles; every 11th symbol is not zero."""
    arrays = []
    for shape in packed_header().layout.shapes():
        values = np.zeros(8 * int(np.prod(shape)), np.int32)
        values[::11] = np.arange(len(values[::11])) % 5 - 2
        arrays.append(values.reshape(8, *shape))
    return Group(0, 7, 0, 2, 4, LatentArrays(*arrays))


def camera_header() -> Header:
    """One window a clip, which may lie on a canvas of its own."""
    layout = LatentLayout((4, 2, 3, 10), (2, 4, 3), (2, 4, 2), Patterns(8, (6, 2, 2)))
    steps = Steps(np.full((4, 10), 0.375), np.full(2, 0.25), np.full(2, 0.25))
    sizes = {"coded_width": 21, "coded_height": 14, "tile_width": 24, "tile_height": 16, "overlap": 0}
    choices = {"layout": layout, "steps": steps, "abutting": True, "camera": True, "clips_per_group": 5, "extra": {}}
    return replace(header(SPARSE, (1, 1)), **choices, **sizes)


def camera_clips() -> list[PlacedClip]:
    """Five clips: without a canvas, on three that move, and without again; every 9th symbol is not zero."""
    paths = [
        None,
        Placement(2, 4, 0, 0, np.array([(0, 0), (1, 3), (1, 7), (2, 11)], np.int16)),
        Placement(3, 3, -1, 1, np.array([(9, 0), (6, 1), (3, 2), (0, 3)], np.int16)),
        Placement(3, 3, -2, 2, np.array([(10, 3)] * 4, np.int16)),
        None,
    ]
    layout, clips = camera_header().layout, []
    for number, placement in enumerate(paths):
        arrays = []
        for shape in (layout if placement is None else placement.grid(layout)).shapes():
            values = np.zeros(int(np.prod(shape)), np.int32)
            values[number % 2 :: 9] = np.arange(len(values[number % 2 :: 9])) % 7 - 3
            arrays.append(values.reshape(1, *shape))
        clips.append(PlacedClip(LatentArrays(*arrays), placement))
    return clips


def build_camera() -> bytes:
    """A file of one group of these clips, the last one with three frames."""
    described, stream = camera_header(), io.BytesIO()
    writer = VtwWriter(stream, described)
    writer.write_audio([AUDIO])
    encoder = SparseGroupEncoder(described.layout, 1, described.steps)
    for symbols, placement in camera_clips():
        encoder.add_symbols(symbols, placement)
    span = GroupSpan(0, 19, 0, 5)
    writer.write_group(pack_body(SPARSE, span, 1, encoder.finish()), span)
    writer.finish()
    return stream.getvalue()


def placed_header() -> Header:
    """Two tiles of fixed size to a frame, more to some canvases."""
    choices = {"tile_height": 32, "tile_width": 32, "camera": True, "clips_per_group": 5, "extra": {}}
    return replace(header(PLACED, (1, 1)), **choices)


def placed_groups() -> list[Group]:
    """Three groups: of two tiles a clip, first without a canvas, then on two; of six tiles; and without any canvas."""
    paths = [
        None,
        Placement(2, 3, 0, 0, np.array([(0, 0), (1, 3), (4, 5), (8, 8)], np.int16)),
        Placement(2, 3, 0, 0, np.array([(8, 8), (7, 0), (0, 1), (3, 3)], np.int16)),
        Placement(3, 4, 0, 0, np.array([(24, 0), (20, 10), (9, 20), (0, 24)], np.int16)),
        None,
    ]
    made = []
    for first, clips, tiles, frames in ((0, 3, 2, 12), (3, 1, 6, 4), (4, 1, 2, 3)):
        arrays = []
        for shape in LAYOUT.shapes():
            values = np.zeros(clips * tiles * int(np.prod(shape)), np.int32)
            values[first % 2 :: 3] = np.arange(len(values[first % 2 :: 3])) % 9 - 4
            arrays.append(values.reshape(clips * tiles, *shape))
        placements = tuple(paths[first : first + clips])
        made.append(Group(4 * first, frames, first, clips, tiles, LatentArrays(*arrays), placements))
    return made


def build_placed() -> bytes:
    """A file of these groups, by another inner coder each; the last has no use for coder 5."""
    described, stream = placed_header(), io.BytesIO()
    writer = VtwWriter(stream, described)
    writer.write_audio([AUDIO])
    for group, coder in zip(placed_groups(), (CONTEXT, PLAIN, PLAIN_BY_POSITION), strict=True):
        writer.write_group(pack_group(group, described.layout, coder=coder), group.span)
    writer.finish()
    return stream.getvalue()


def groups() -> list[Group]:
    """Symbols by rule: mostly small, every 7th an escape or the edge of one."""
    large = np.array([127, -127, 128, -128, 129, -129, 300, -70000, (1 << 23) - 1, 1 - (1 << 23)])
    made = []
    for number, (frames, clips) in enumerate([(8, 2), (3, 1)]):
        arrays = []
        for place, shape in enumerate((LAYOUT.structure, LAYOUT.dynamics_x, LAYOUT.dynamics_y)):
            count = 2 * clips * int(np.prod(shape))
            values = (np.arange(count) * (3 + place) + number) % 11 - 5
            sevenths = np.arange(0, count, 7)
            values[sevenths] = large[(sevenths // 7) % large.size]
            arrays.append(values.astype(np.int32).reshape(2 * clips, *shape))
        made.append(Group(8 * number, frames, 2 * number, clips, 2, LatentArrays(*arrays)))
    return made


def build(coder: int) -> bytes:
    """A whole file."""
    stream = io.BytesIO()
    writer = VtwWriter(stream, header(coder))
    writer.write_audio([AUDIO[:100], AUDIO[100:]])
    for group in groups():
        writer.write_group(pack_group(group, layout_of(coder), coder=coder), group.span)
    writer.finish()
    return stream.getvalue()


def with_foreign_frames(data: bytes) -> bytes:
    """The same file with a frame of somebody else after the header and before each group, known to the index."""
    with VtwReader(io.BytesIO(data)) as reader:
        groups = reader.groups
        audio = reader.counts.audio_bytes
    start = groups[0].offset - audio
    parts = [data[:start], FOREIGN_FRAME, data[start : groups[0].offset]]
    moved = []
    for entry in groups:
        parts.append(FOREIGN_FRAME)
        moved.append(entry._replace(offset=sum(map(len, parts))))
        parts.append(data[entry.offset : entry.offset + entry.size])
    index = Index(tuple(moved), sum(map(len, parts)), 1, len(AUDIO), closing_crc(data[:start]))
    return b"".join([*parts, index.to_bytes()])


def main() -> None:
    """Write the files that are missing."""
    for coder in (PLAIN, PLAIN_BY_POSITION, CONTEXT, SPARSE):
        _write(f"v1_coder{coder}.vtw", build(coder))
    _write("v1_foreign_frames.vtw", with_foreign_frames(build(PLAIN)))
    _write("v1_1_packed.vtw", build_packed())
    _write("v1_1_camera.vtw", build_camera())
    _write("v1_1_placed.vtw", build_placed())


def _write(name: str, data: bytes) -> None:
    if not (FOLDER / name).exists():
        (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    main()
