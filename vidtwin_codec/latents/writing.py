"""Symbols to a .vtw: what reading latents gives, written back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import BinaryIO

import numpy as np

from vidtwin_codec.coding import (
    DEFAULT_LEVEL,
    SPARSE,
    Group,
    GroupSpan,
    LatentArrays,
    SparseGroupEncoder,
    pack_body,
    pack_group,
)
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.container import Counts, Header, VtwWriter
from vidtwin_codec.options import Reporter

ReadSymbols = Callable[[int, int], LatentArrays]
"""Symbols of clips ``first`` … ``end`` - 1, integers ``[clips, tiles, …]``. Wide ones are read clip by clip."""
Placements = Callable[[int], Placement | None]
"""The placement of a clip, by its number; the clip's symbols have its grid."""


def write_symbols(
    stream: BinaryIO,
    header: Header,
    group_clips: Sequence[int],
    frames: int,
    read: ReadSymbols,
    *,
    audio: Iterable[bytes] = (),
    level: int = DEFAULT_LEVEL,
    coder: int | None = None,
    reporter: Reporter | None = None,
    placements: Placements = lambda _: None,
) -> Counts:
    """Write a .vtw front to back, a group at a time.

    Args:
        stream: binary, open for writing; stays open. Its OSErrors pass through.
        header: of the new file.
        group_clips: how many clips each group gets; fewer where the number of tiles changes from clip to clip.
        frames: true frames, which fill all clips but the last.
        read: gives the symbols.
        audio: pieces of the audio file that the header announces.
        level: zstd's, 1 to 22.
        coder: a key of `CODERS`; None keeps the smallest of all for each group. Wide latents always go clip by clip
            through the coder that is made for them.
        reporter: receives the number of frames written.
        placements: where clips lie, in a file that follows the camera.
    """
    reporter = reporter or Reporter()
    writer = VtwWriter(stream, header)
    if header.audio is not None:
        writer.write_audio(audio)
    first = 0
    for clips in _even_in_tiles(header, group_clips, placements):
        start = first * header.clip_frames
        span = GroupSpan(start, min(clips * header.clip_frames, frames - start), first, clips)
        if header.layout.patterns is None:
            places = tuple(placements(clip) for clip in range(first, span.end_clip))
            symbols = _rows(read(first, span.end_clip))
            group = Group(*span, header.tiles_on(places[0]), symbols, places if any(places) else ())
            packed = pack_group(group, header.layout, level, coder)
        else:
            encoder = SparseGroupEncoder(header.layout, header.tiles, header.steps)
            for clip in range(first, span.end_clip):
                encoder.add_symbols(_rows(read(clip, clip + 1)), placements(clip))
            packed = pack_body(SPARSE, span, header.tiles, encoder.finish())
        writer.write_group(packed, span)
        reporter.advanced(span.frames)
        first = span.end_clip
    return writer.finish()


def _even_in_tiles(header: Header, group_clips: Sequence[int], placements: Placements) -> Iterator[int]:
    """Clips of groups whose clips all have as many tiles."""
    first = 0
    for clips in group_clips:
        counts = (header.tiles_on(placements(clip) if header.camera else None) for clip in range(first, first + clips))
        yield from (len(list(run)) for _, run in groupby(counts))
        first += clips


def _rows(symbols: LatentArrays) -> LatentArrays:
    """``[clips, tiles, …]`` of any integers → int32 ``[clips · tiles, …]``."""
    return symbols.map(lambda array: array.astype(np.int32).reshape(-1, *array.shape[2:]))


def even_groups(clips: int, most: int) -> list[int]:
    """``clips`` in groups of ``most``, the rest in the last."""
    return [min(most, clips - first) for first in range(0, clips, most)]
