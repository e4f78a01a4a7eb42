"""Packing of latents into groups: dense latents are quantised and coded by the group, wide ones clip by clip.

A group decodes alone, so its first clip is coded in full, which is nearly all of its bits where nothing moves. So a
group goes on while clips take few bits beside its first one. It ends at multiples of about a minute all the same, where
a video can be split to encode its parts apart (:meth:`~vidtwin_codec.network.geometry.Geometry.most_clips_per_group`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import (
    MAX_GROUP_SYMBOLS,
    SPARSE,
    Group,
    GroupSpan,
    LatentArrays,
    LatentLayout,
    PlacedClip,
    Steps,
    pack_body,
    pack_group,
)
from vidtwin_codec.coding.effort import choose_symbols, quality_steps
from vidtwin_codec.coding.group import MAX_SPARSE_BYTES
from vidtwin_codec.coding.sparse import SparseGroupEncoder
from vidtwin_codec.encoding.encoder import Encoder, Piece

STILL_SHARE = 0.25
"""A clip stands still if its difference to the clip before takes at most this share of the bits of the clip itself, by
a rough count; or, where clips are coded one by one, if it took at most this share of the bits of its group's first
clip. With such savings the first clip would be most of the bytes of a new group."""
_FULL_BITS = 8 * MAX_SPARSE_BYTES // 4
"""Bits at which a group is closed in any case; its last clip may have taken as many again."""


class PackedGroup(NamedTuple):
    """A group as it is stored: one Zstandard frame, and the part of the video that it holds."""

    data: bytes
    span: GroupSpan


class GroupPacker(Protocol):
    """A packer takes clips in order, and returns groups as they are closed.

    Attributes:
        steps: quantisation steps.
    """

    steps: Steps

    def add(self, piece: Piece) -> Iterator[PackedGroup]:
        """Take the next clips, and yield the groups that they close; the iteration must go on to its end."""

    def flush(self) -> Iterator[PackedGroup]:
        """Yield the groups that are not closed yet."""


Watch = Callable[[LatentArrays, PlacedClip], None]
"""A function that receives the latents of each clip, and the symbols that were chosen for them."""


def group_packer(encoder: Encoder, quality: float, level: int, watch: Watch | None = None) -> GroupPacker:
    """Make the packer for the clips of a video.

    Args:
        encoder: where the clips come from.
        quality: 0 to 100.
        level: compression level of Zstandard, 1 to 22.
        watch: receives wide latents and their symbols, on the thread that packs them.
    """
    steps = quality_steps(encoder.job.base_steps, quality, encoder.options.effort)
    if encoder.layout.patterns is None:
        return DensePacker(encoder, steps, level)
    return SparsePacker(encoder, steps, watch or (lambda latents, symbols: None))


class DensePacker:
    """Groups of ten seconds whose symbols are chosen together, joined where the scene stands still.

    All clips of a group have one number of tiles, so one also ends where canvases that follow the camera change it.
    """

    def __init__(self, encoder: Encoder, steps: Steps, level: int) -> None:
        self.steps = steps
        self._layout, self._effort, self._level = encoder.layout, encoder.options.effort, level
        self._least = encoder.clips_per_group
        self._joiner = Joiner(encoder.most_clips_per_group)
        self._pieces: list[Piece] = []

    def add(self, piece: Piece) -> Iterator[PackedGroup]:
        """See :class:`GroupPacker`; a piece does not cross the end of a group of ten seconds."""
        if self._pieces and not self._fits(piece):
            yield from self._close()
        self._pieces.append(piece)
        if piece.span.end_clip % self._least == 0:
            yield from self._close()

    def flush(self) -> Iterator[PackedGroup]:
        """See :class:`GroupPacker`."""
        if self._pieces:
            yield from self._close()
        yield from self._packed(self._joiner.flush())

    def _fits(self, piece: Piece) -> bool:
        """Whether a piece can be in the open group."""
        clips = sum(each.span.clips for each in self._pieces) + piece.span.clips
        tiles = self._pieces[0].tiles
        return piece.tiles == tiles and clips * tiles * self._layout.elements <= MAX_GROUP_SYMBOLS

    def _close(self) -> Iterator[PackedGroup]:
        pieces, self._pieces = self._pieces, []
        spans = [piece.span for piece in pieces]
        frames, clips = (sum(sizes) for sizes in zip(*((span.frames, span.clips) for span in spans), strict=True))
        latents, tiles = LatentArrays.concatenate([piece.latents for piece in pieces]), pieces[0].tiles
        symbols = choose_symbols(latents, self.steps, self._layout, clips=clips, tiles=tiles, effort=self._effort)
        placements = tuple(placement for piece in pieces for placement in [piece.placement] * piece.span.clips)
        if not any(placements):
            placements = ()
        group = Group(spans[0].first_frame, frames, spans[0].first_clip, clips, tiles, symbols, placements)
        yield from self._packed(self._joiner.add(group))

    def _packed(self, group: Group | None) -> Iterator[PackedGroup]:
        if group is not None:
            yield PackedGroup(pack_group(group, self._layout, self._level), group.span)


class SparsePacker:
    """Groups that are coded as their clips come, and closed after ten seconds unless the scene stands still."""

    def __init__(self, encoder: Encoder, steps: Steps, watch: Watch) -> None:
        self.steps, self._watch, self._weights_of = steps, watch, encoder.weights_of
        self._clip_frames = encoder.geometry.clip_frames
        # whether a scene stands still shows in the bits of the second clip
        self._least, self._most = max(2, encoder.clips_per_group), encoder.most_clips_per_group
        self._writer = GroupWriter(encoder.layout, len(encoder.geometry.tiles), steps, rdo=encoder.options.effort > 0)

    def add(self, piece: Piece) -> Iterator[PackedGroup]:
        """See :class:`GroupPacker`."""
        end = piece.span.end_frame
        for clip, latents in enumerate(piece.clips, piece.span.first_clip):
            if self._ends_before(clip):
                yield from self._writer.close()
            start = clip * self._clip_frames
            span = GroupSpan(start, min(self._clip_frames, end - start), clip, 1)
            weights = self._weights_of(piece.placement)
            symbols = self._writer.encoder_for(span).add(latents, piece.placement, weights)
            self._watch(latents, PlacedClip(symbols, piece.placement))

    def flush(self) -> Iterator[PackedGroup]:
        """See :class:`GroupPacker`."""
        yield from self._writer.close()

    def _ends_before(self, clip: int) -> bool:
        bits = self._writer.clip_bits
        if not bits:
            return False
        if clip % self._most == 0 or sum(bits) >= _FULL_BITS:
            return True
        return len(bits) % self._least == 0 and not goes_on(bits)


class GroupWriter:
    """A writer of groups of a wide layout, of which one is open at a time.

    Args:
        layout: shapes of the latents.
        tiles: tiles of each clip.
        steps: quantisation steps.
        rdo: whether symbols are chosen by rate and distortion, rather than rounded.
    """

    def __init__(self, layout: LatentLayout, tiles: int, steps: Steps, *, rdo: bool = True) -> None:
        self._layout, self._tiles, self._steps, self._rdo = layout, tiles, steps, rdo
        self._encoder: SparseGroupEncoder | None = None
        self._span = GroupSpan(0, 0, 0, 0)

    @property
    def clip_bits(self) -> list[float]:
        """Bits of each clip of the open group; empty if no group is open."""
        return [] if self._encoder is None else self._encoder.clip_bits

    def encoder_for(self, clip: GroupSpan) -> SparseGroupEncoder:
        """Return the coder for a clip: that of the open group, or of a new one that begins with the clip."""
        if self._encoder is None:
            self._encoder = SparseGroupEncoder(self._layout, self._tiles, self._steps, rdo=self._rdo)
            self._span = GroupSpan(clip.first_frame, 0, clip.first_clip, 0)
        first_frame, frames, first_clip, clips = self._span
        self._span = GroupSpan(first_frame, frames + clip.frames, first_clip, clips + clip.clips)
        return self._encoder

    def close(self) -> Iterator[PackedGroup]:
        """Close the open group, if there is one, and yield it."""
        if self._encoder is not None:
            body, self._encoder = self._encoder.finish(), None
            yield PackedGroup(pack_body(SPARSE, self._span, self._tiles, body), self._span)


class Joiner:
    """A joiner takes groups in order, and returns longer ones; it keeps one at a time.

    Args:
        most_clips: most clips of a group; no group crosses a multiple of it.
    """

    def __init__(self, most_clips: int) -> None:
        self._most_clips = most_clips
        self._open: Group | None = None

    def add(self, group: Group) -> Group | None:
        """Take the next group; return the one before it, if ``group`` does not continue it."""
        done = self._open
        if (
            done is not None
            and group.first_clip % self._most_clips
            and _alike(done, group)
            and stands_still(done, group)
        ):
            self._open = _joined(done, group)
            return None
        self._open = group
        return done

    def flush(self) -> Group | None:
        """Return the last group, if there was any."""
        done, self._open = self._open, None
        return done


def _alike(one: Group, other: Group) -> bool:
    """Whether two groups could be one: where the camera is followed, nothing stands still."""
    return one.tiles == other.tiles and not any(one.placements + other.placements)


def goes_on(clip_bits: list[float]) -> bool:
    """Whether a scene stands still, by the bits of the clips of a group so far."""
    return clip_bits[-1] <= STILL_SHARE * clip_bits[0]


def stands_still(before: Group, group: Group) -> bool:
    """Whether every clip of ``group`` is almost the same as the clip before it, which may be the last of ``before``."""
    own, changed = np.zeros(group.clips), np.zeros(group.clips)
    for old, new in zip(before.symbols, group.symbols, strict=True):
        clips = np.concatenate([old[-before.tiles :], new]).reshape(group.clips + 1, -1)
        own += _bits_about(clips[1:])
        changed += _bits_about(np.diff(clips, axis=0))
    return bool((changed <= STILL_SHARE * own).all())


def _bits_about(values: NDArray[np.int32]) -> NDArray[np.float64]:
    bits: NDArray[np.float64] = np.log2(1.0 + 2.0 * np.abs(values)).sum(axis=1)
    return bits


def _joined(one: Group, other: Group) -> Group:
    symbols = LatentArrays.concatenate([one.symbols, other.symbols])
    frames, clips = one.frames + other.frames, one.clips + other.clips
    return Group(one.first_frame, frames, one.first_clip, clips, one.tiles, symbols)
