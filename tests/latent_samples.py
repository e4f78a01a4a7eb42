"""Small .vtw files of random symbols, without a network; groups of unequal length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidtwin_codec.coding import CONTEXT, Group, LatentArrays, LatentLayout, Steps, pack_group
from vidtwin_codec.container import Header, VtwWriter

CLIP_FRAMES = 4
LAYOUT = LatentLayout((3, 2, 2, 2), (3, CLIP_FRAMES, 4), (3, CLIP_FRAMES, 4))


def sample_header(seed: int = 0, **changes: object) -> Header:
    """One tile of 32 × 32 pixels."""
    rng = np.random.default_rng(seed)
    steps = Steps(*(rng.uniform(0.01, 2, shape) for shape in ((3, 2), (3,), (3,))))
    header = Header(
        weights_name="sample",
        weights_sha256="ab" * 32,
        layout=LAYOUT,
        steps=steps,
        width=32,
        height=32,
        coded_width=32,
        coded_height=32,
        fps=Fraction(25),
        clip_frames=CLIP_FRAMES,
        tile_height=32,
        tile_width=32,
        overlap=8,
        clips_per_group=8,
        coder=CONTEXT,
        created_by="test",
    )
    return replace(header, **changes)  # type: ignore[arg-type]


def random_symbols(header: Header, clips: int, seed: int = 0, largest: int = 50) -> LatentArrays:
    """``[clips, tiles, ...]`` int32."""
    rng = np.random.default_rng(seed)
    shapes = header.layout.shapes()
    return LatentArrays(
        *(rng.integers(-largest, largest + 1, (clips, header.tiles, *shape), dtype=np.int32) for shape in shapes)
    )


def write_sample(
    path: Path,
    groups: Sequence[int] = (3, 1, 2),
    *,
    missing_frames: int = 0,
    header: Header | None = None,
    seed: int = 0,
    largest: int = 50,
) -> LatentArrays:
    """Write a file of so many clips a group; the last clip lacks some frames. Returns its symbols."""
    header = header or sample_header()
    symbols = random_symbols(header, sum(groups), seed, largest)
    frames, first = sum(groups) * header.clip_frames - missing_frames, 0
    with path.open("wb") as stream:
        writer = VtwWriter(stream, header)
        for clips in groups:
            part = LatentArrays(*(array[first : first + clips].reshape(-1, *array.shape[2:]) for array in symbols))
            start = first * header.clip_frames
            group = Group(start, min(clips * header.clip_frames, frames - start), first, clips, header.tiles, part)
            writer.write_group(pack_group(group, header.layout, 1), group.span)
            first += clips
        writer.finish()
    return symbols
