"""A group of clips as one Zstandard frame, whole or clip by clip."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from vidtwin_codec.coding import zstd_frame
from vidtwin_codec.coding.allowance import PER_BYTE, UNLIMITED, Allowance
from vidtwin_codec.coding.coders import CODERS, CONTEXT, PLACED, PLAIN, PLAIN_BY_POSITION, SPARSE, Coder
from vidtwin_codec.coding.layout import LatentArrays, LatentLayout
from vidtwin_codec.coding.placed import decode_placements, encode_placements
from vidtwin_codec.coding.placement import CELL, MAX_AREA, Placement
from vidtwin_codec.coding.quantizer import MAX_SYMBOL
from vidtwin_codec.coding.sparse import SparseGroupDecoder
from vidtwin_codec.errors import VidtwinError

DEFAULT_LEVEL = 19
MAX_GROUP_SYMBOLS = 1 << 27  # 0.5 GiB as int32: 16 clips of 8K video in 224-pixel tiles
# Groups of layouts with patterns are coded clip by clip: what is bounded is a clip, and the bytes of a group.
MAX_CLIP_SYMBOLS = 1 << 28  # 8K video in 16 windows
MAX_SPARSE_BYTES = 1 << 28

# Most promising first. A plain body is first packed at the fastest level, which takes no time; the slow level has never
# made that smaller by more than a sixth, so it is not tried where even a fifth would not be enough.
_CANDIDATES = (CONTEXT, PLAIN_BY_POSITION, PLAIN)
_DRAFT_LEVEL = 1
_HOPE = 0.8

PREFIX = struct.Struct("<B5I")  # coder id, first frame, frames, first clip, clips, tiles
_MAX_U32 = 0xFFFFFFFF
_PER_CLIP = 6_000  # nanoseconds, whatever is in it


class CorruptGroupError(VidtwinError):
    """The bytes of one group are damaged; the other groups of the file may be intact."""


class GroupSpan(NamedTuple):
    """The part of the video that a group holds. Padding of the last clip does not count as frames."""

    first_frame: int
    frames: int
    first_clip: int
    clips: int

    @property
    def end_frame(self) -> int:
        """The number of the frame after the last one."""
        return self.first_frame + self.frames

    @property
    def end_clip(self) -> int:
        """The number of the clip after the last one."""
        return self.first_clip + self.clips


@dataclass(frozen=True, eq=False)
class Group:
    """Consecutive clips that are packed together and decode alone.

    Attributes:
        first_frame: number of the first frame in the video, from 0.
        frames: number of frames, without padding.
        first_clip: number of the first clip, from 0.
        clips: clips in the group.
        tiles: tiles of each clip.
        symbols: int32, N = clips * tiles, clip-major.
        placements: the placement of each clip, if any has a canvas of its own; all have the same number of tiles.
    """

    first_frame: int
    frames: int
    first_clip: int
    clips: int
    tiles: int
    symbols: LatentArrays
    placements: tuple[Placement | None, ...] = ()

    @property
    def span(self) -> GroupSpan:
        """The part of the video, without the symbols, for the writer's index."""
        return GroupSpan(self.first_frame, self.frames, self.first_clip, self.clips)


TilesOf = Callable[[int, int], int]


class PlacedClip(NamedTuple):
    """The symbols of one clip and its canvas; None stands for the frame itself."""

    symbols: LatentArrays
    placement: Placement | None


class OpenGroup:
    """A packed group, as bytes that need not be trusted; its symbols are decoded as they are asked for.

    In layouts with patterns, no more than a clip or two are in memory at any time; in others, the placements are known
    before the symbols.

    Args:
        data: exactly one Zstandard frame.
        layout: shapes of one network input's latents.
        max_clips: most clips that a group of this file may hold.
        max_tiles: most tiles that a clip of this file may have.
        frame: height and width in pixels of the video's frames, which canvases must hold; None forbids canvases.
        tiles_of: returns the number of tiles that cover a height and width in pixels; for layouts without patterns.
        allowance: the work and memory that may be spent on this group.

    Attributes:
        span: the part of the video that the group holds.
        tiles: number of tiles in each clip.
        placements: the placement of each clip, for layouts without patterns; None where a clip has no canvas.
        on_canvases: whether the group, and not the file, states how many tiles cover each clip's canvas.

    Raises:
        CorruptGroupError: the bytes are damaged, or hold more than the limits allow. Nothing is allocated beyond the
            limits, whatever the bytes claim.
        TooMuchWorkError: the allowance does not suffice; raised here or when symbols are decoded.
    """

    def __init__(
        self,
        data: bytes,
        layout: LatentLayout,
        *,
        max_clips: int,
        max_tiles: int,
        frame: tuple[int, int] | None = None,
        tiles_of: TilesOf | None = None,
        allowance: Allowance = UNLIMITED,
    ) -> None:
        self._layout, self._frame, self._allowance = layout, frame, allowance
        try:
            limit = max_content(layout, max_clips=max_clips, max_tiles=max_tiles, camera=tiles_of is not None)
            size = zstd_frame.parse_header(data[: zstd_frame.MAX_HEADER]).content_size or 0
            allowance.spend(PER_BYTE * min(size, limit), min(size, limit))
            content = zstd_frame.decompress(data, max_content=limit)
            coder_id, self.span, self.tiles = _parse_prefix(content, max_clips, max_tiles)
            self._coder_id = coder_id
            body = self._body = memoryview(content)[PREFIX.size :]
            self.placements: tuple[Placement | None, ...] = (None,) * self.span.clips
            self.on_canvases = coder_id == PLACED
            if self.on_canvases:
                coder_id, self.placements, taken = decode_placements(
                    body, self.span.clips, layout.dynamics_x[1], allowance
                )
                self._check_tiles(tiles_of)
                body = body[taken:]
            self._coder, self._coded = _check_coder(coder_id, self.span, self.tiles, layout), body
        except ValueError as error:
            raise CorruptGroupError(f"damaged group: {error}") from error

    def digest(self) -> bytes:
        """Return a digest of all that the symbols depend on: of the group, but for its place in the video."""
        found = hashlib.sha256(struct.pack("<B2I", self._coder_id, self.span.clips, self.tiles))
        found.update(self._body)
        return found.digest()

    def clips(self) -> Iterator[LatentArrays]:
        """Yield the symbols of each clip in order, int32 ``[tiles, …]``.

        Raises:
            CorruptGroupError: the symbols are damaged.
        """
        for clip in self.placed():
            yield clip.symbols

    def placed(self) -> Iterator[PlacedClip]:
        """Yield the symbols and the canvas of each clip in order.

        Raises:
            CorruptGroupError: the symbols are damaged.
        """
        clips = self._decoded()
        for _ in range(self.span.clips):
            try:
                clip = next(clips)
            except ValueError as error:
                raise CorruptGroupError(f"damaged group: {error}") from error
            yield clip
        try:
            next(clips, None)  # checks what follows the last clip, too
        except ValueError as error:
            raise CorruptGroupError(f"damaged group: {error}") from error

    def whole(self) -> Group:
        """Return the whole group at once.

        Raises:
            CorruptGroupError: as :meth:`clips`.
            ValueError: clips have grids of their own, so that they cannot be put together.
        """
        clips = list(self.placed())
        if not self.on_canvases and any(clip.placement is not None for clip in clips):
            raise ValueError("clips of this group lie on canvases of their own: read them one by one")
        symbols = LatentArrays.concatenate([clip.symbols for clip in clips])
        return Group(*self.span, self.tiles, symbols, self.placements if self.on_canvases else ())

    def _decoded(self) -> Iterator[PlacedClip]:
        """Decode clips as they are asked for; nothing is decoded before the first one is."""
        coder, body, arguments = self._coder, self._coded, (self._layout, self.span.clips, self.tiles)
        self._allowance.spend(_PER_CLIP * self.span.clips)
        self._allowance.spend(*coder.cost(*arguments, len(body)))
        if coder.id == SPARSE:
            yield from self._placed(SparseGroupDecoder(body, *arguments, self._allowance))
        else:
            yield from self._cut(coder.decode(body, *arguments))

    def _cut(self, symbols: LatentArrays) -> Iterator[PlacedClip]:
        for number, placement in enumerate(self.placements):
            rows = slice(number * self.tiles, (number + 1) * self.tiles)
            yield PlacedClip(symbols.map(itemgetter(rows)), placement)

    def _placed(self, decoder: SparseGroupDecoder) -> Iterator[PlacedClip]:
        for symbols in decoder:
            if decoder.placement is not None:
                self._check_placement(decoder.placement)
            yield PlacedClip(symbols, decoder.placement)

    def _check_placement(self, placement: Placement) -> None:
        if self._frame is None:
            raise ValueError("a clip on a canvas of its own in a file that has none")
        placement.check(self._layout, self._frame)

    def _check_tiles(self, tiles_of: TilesOf | None) -> None:
        """Check that each canvas is cut into as many tiles as the group states, in layouts without patterns."""
        if tiles_of is None or self._frame is None or self._layout.patterns is not None:
            raise ValueError("clips on canvases of their own in a file that has none")
        for placement in self.placements:
            size = self._frame
            if placement is not None:
                self._check_placement(placement)
                size = placement.rows * CELL, placement.columns * CELL
            if tiles_of(*size) != self.tiles:
                raise ValueError(f"has {self.tiles} tiles a clip, expected {tiles_of(*size)}")


def pack_group(group: Group, layout: LatentLayout, level: int = DEFAULT_LEVEL, coder: int | None = None) -> bytes:
    """Pack a group as exactly one Zstandard frame, with content size and content checksum.

    Args:
        group: the group; its symbols are int32 within +-`MAX_SYMBOL`.
        layout: shapes of one network input's latents.
        level: zstd's, 1 to 22.
        coder: a key of `CODERS`; None takes the sparse coder where there are patterns, else keeps the smallest of all.
            Where clips lie on canvases, it codes what follows their places.

    Raises:
        ValueError: shapes, types or ranges are wrong, or the coder cannot code so many clips (a caller's mistake).
    """
    layout.check(group.symbols, group.clips * group.tiles)
    _check_symbols(group, layout)
    if coder is None and layout.patterns is not None:
        coder = SPARSE
    if coder is None:
        return _pack_smallest(group, layout, level)
    if not CODERS[coder].fits(layout, group.clips):
        raise ValueError(f"coder {coder} cannot code {group.clips} clips of this layout")
    return zstd_frame.compress(_content(group, layout, CODERS[coder]), 1 if coder == SPARSE else level)


def pack_body(coder: int, span: GroupSpan, tiles: int, body: bytes, level: int = DEFAULT_LEVEL) -> bytes:
    """Return the Zstandard frame of a group whose symbols are coded already.

    Args:
        coder: id of the coder that made ``body``.
        span: the part of the video that the group holds.
        tiles: number of tiles in each clip.
        body: the coded symbols.
        level: level of zstd, 1 to 22.
    """
    # zstd does not make entropy-coded bytes smaller
    return zstd_frame.compress(PREFIX.pack(coder, *span, tiles) + body, 1 if coder == SPARSE else level)


def unpack_group(data: bytes, layout: LatentLayout, **limits: Any) -> Group:
    """Unpack a whole group; arguments and errors are those of `OpenGroup`."""
    return OpenGroup(data, layout, **limits).whole()


def max_content(layout: LatentLayout, *, max_clips: int, max_tiles: int, camera: bool = False) -> int:
    """Return the most bytes that a group's frame may announce as its content.

    Args:
        layout: layout of the file.
        max_clips: most clips in a group.
        max_tiles: most tiles in a clip.
        camera: whether clips may lie on canvases of their own, in layouts without patterns.
    """
    elements = layout.elements * max_clips * max_tiles
    if layout.patterns is None:
        elements = min(elements, MAX_GROUP_SYMBOLS)
        # of a clip's symbols, at least two a frame; the corner of a frame takes 4 bytes
        places = 6 * max_clips + 2 * elements if camera else 0
        most = max(coder.max_body(elements) for coder in CODERS.values() if coder.fits(layout, 1))
        return PREFIX.size + places + most
    return PREFIX.size + min(CODERS[SPARSE].max_body(MAX_AREA * elements), MAX_SPARSE_BYTES)


def _pack_smallest(group: Group, layout: LatentLayout, level: int) -> bytes:
    best: bytes | None = None
    for coder in map(CODERS.__getitem__, _CANDIDATES):
        if not coder.fits(layout, group.clips):
            continue
        content = _content(group, layout, coder)
        if best is not None and _HOPE * len(zstd_frame.compress(content, _DRAFT_LEVEL)) > len(best):
            continue
        packed = zstd_frame.compress(content, level)
        if best is None or len(packed) < len(best):
            best = packed
    assert best is not None  # the plain coders fit everything
    return best


def _content(group: Group, layout: LatentLayout, coder: Coder) -> bytes:
    """Return the content of a group's frame."""
    body = coder.encode(group.symbols, layout, group.clips, group.tiles)
    if not any(group.placements):
        return PREFIX.pack(coder.id, *group.span, group.tiles) + body
    return PREFIX.pack(PLACED, *group.span, group.tiles) + encode_placements(coder.id, group.placements) + body


def _parse_prefix(content: bytes, max_clips: int, max_tiles: int) -> tuple[int, GroupSpan, int]:
    if len(content) < PREFIX.size:
        raise ValueError(f"holds {len(content)} bytes, too few for a group")
    coder_id, first_frame, frames, first_clip, clips, tiles = PREFIX.unpack_from(content)
    if coder_id not in CODERS and coder_id != PLACED:
        raise ValueError(f"written by coder {coder_id}, which this version does not know")
    if not 1 <= clips <= max_clips:
        raise ValueError(f"claims {clips} clips, allowed are 1 to {max_clips}")
    if not 1 <= tiles <= max_tiles:
        raise ValueError(f"claims {tiles} tiles, allowed are 1 to {max_tiles}")
    if frames < 1:
        raise ValueError("claims no frames")
    return coder_id, GroupSpan(first_frame, frames, first_clip, clips), tiles


def _check_coder(coder_id: int, span: GroupSpan, tiles: int, layout: LatentLayout) -> Coder:
    coder, clips = CODERS[coder_id], span.clips
    if not coder.fits(layout, clips):
        raise ValueError(f"coder {coder_id} cannot have written so many rows, or such latents")
    most = MAX_CLIP_SYMBOLS * clips if coder_id == SPARSE else MAX_GROUP_SYMBOLS
    if clips * tiles * layout.elements > most:
        raise ValueError(f"claims {clips} clips of {tiles} tiles, over {most} symbols")
    return coder


def _check_symbols(group: Group, layout: LatentLayout) -> None:
    if group.clips < 1 or group.tiles < 1 or group.frames < 1:
        raise ValueError("a group needs at least one clip, one tile and one frame")
    if min(group.first_frame, group.first_clip) < 0 or max(group.span.end_frame, group.span.end_clip) > _MAX_U32:
        raise ValueError("frame and clip numbers must lie between 0 and 2**32 - 1")
    if group.placements and (len(group.placements) != group.clips or layout.patterns is not None):
        raise ValueError("placements are one for each clip of a layout without patterns")
    if layout.patterns is None and group.clips * group.tiles * layout.elements > MAX_GROUP_SYMBOLS:
        raise ValueError(f"a group may hold {MAX_GROUP_SYMBOLS} symbols: use fewer clips a group")
    for name, array in zip(LatentArrays._fields, group.symbols, strict=True):
        if array.dtype != np.int32:
            raise ValueError(f"{name} symbols are {array.dtype}, expected int32")
        if int(array.max()) > MAX_SYMBOL or int(array.min()) < -MAX_SYMBOL:
            raise ValueError(f"{name} symbols exceed +-{MAX_SYMBOL}")
