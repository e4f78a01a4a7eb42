"""Small .vtw files of random symbols."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from vidtwin_codec.coding import CONTEXT, Group, LatentArrays, LatentLayout, Steps, pack_group
from vidtwin_codec.container import Counts, Header, VtwWriter

LAYOUT = LatentLayout((2, 2, 3, 2), (2, 4, 3), (2, 4, 2))


def some_header(**changes: Any) -> Header:
    values = np.random.default_rng(0)
    steps = Steps(values.uniform(0.1, 1, (2, 2)), values.uniform(0.1, 1, 2), values.uniform(0.1, 1, 2))
    header = Header(
        coder=CONTEXT,
        weights_name="mini",
        weights_sha256="ab" * 32,
        layout=LAYOUT,
        steps=steps,
        width=40,
        height=24,
        coded_width=40,
        coded_height=24,
        fps=Fraction(30000, 1001),
        clip_frames=4,
        tile_height=24,
        tile_width=24,
        overlap=8,
        clips_per_group=2,
        options={"quality": 60.0},
        source={"bytes": 1},
        created_by="vidtwin test",
    )
    return replace(header, **changes)


def some_groups(count: int = 3, *, last_frames: int = 7, seed: int = 0) -> list[Group]:
    values = np.random.default_rng(seed)
    made = []
    for number in range(count):
        frames = 8 if number < count - 1 else last_frames
        arrays = (np.rint(values.laplace(scale=40, size=(4, *shape))).astype(np.int32) for shape in LAYOUT.shapes())
        made.append(Group(8 * number, frames, 2 * number, 2, 2, LatentArrays(*arrays)))
    return made


def write(header: Header, groups: list[Group], audio: bytes = b"") -> tuple[bytes, Counts]:
    stream = io.BytesIO()
    writer = VtwWriter(stream, header)
    if audio:
        writer.write_audio([audio])
    for group in groups:
        writer.write_group(pack_group(group, header.layout, 3), group.span)
    counts = writer.finish()
    return stream.getvalue(), counts


def assert_same(a: Group, b: Group) -> None:
    assert (a.span, a.tiles) == (b.span, b.tiles)
    assert all(np.array_equal(left, right) for left, right in zip(a.symbols, b.symbols, strict=True))
