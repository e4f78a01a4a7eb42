"""Groups of wide latents: coded as their clips come, and longer than ten seconds while the scene stands still."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import SPARSE, GroupSpan, LatentArrays, LatentLayout, PlacedClip, Steps, pack_body
from vidtwin_codec.coding.group import MAX_SPARSE_BYTES
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.coding.sparse import SparseGroupEncoder
from vidtwin_codec.encoding.encoder import Encoder, Piece
from vidtwin_codec.encoding.groups import STILL_SHARE, PackedGroup, Watch

_FULL_BITS = 8 * MAX_SPARSE_BYTES // 4
"""Bits at which a group is closed in any case; its last clip may have taken as many again."""


class WideClip(NamedTuple):
    """A clip to be coded.

    Attributes:
        span: the part of the video that it covers.
        latents: posterior means, float32 ``[tiles, …]``.
        placement: its canvas, if it has one of its own.
        weights: the share of each patch that is seen, as for
            :meth:`~vidtwin_codec.coding.sparse.SparseGroupEncoder.add`.
    """

    span: GroupSpan
    latents: LatentArrays
    placement: Placement | None
    weights: NDArray[np.float32] | None


def wide_clips(encoder: Encoder, piece: Piece) -> Iterator[WideClip]:
    """Split a piece into its clips."""
    length, weights = encoder.geometry.clip_frames, encoder.weights_of(piece.placement)
    for clip, latents in enumerate(piece.clips, piece.span.first_clip):
        frames = min(length, piece.span.end_frame - clip * length)
        yield WideClip(GroupSpan(clip * length, frames, clip, 1), latents, piece.placement, weights)


@dataclass(frozen=True, eq=False)
class Grouping:
    """How the clips of a video are coded, and where their groups end.

    Attributes:
        layout: shapes of the latents of one tile.
        tiles: tiles of each clip.
        steps: quantisation steps.
        rdo: whether symbols are chosen by rate and distortion, rather than rounded.
        least: clips of a group where the scene moves.
        most: no group crosses a multiple of so many clips.
    """

    layout: LatentLayout
    tiles: int
    steps: Steps
    rdo: bool
    least: int
    most: int

    @classmethod
    def of(cls, encoder: Encoder, steps: Steps) -> Grouping:
        """Return the one for a video."""
        # whether a scene stands still shows in the bits of the second clip
        least, rdo = max(2, encoder.clips_per_group), encoder.options.effort > 0
        return cls(encoder.layout, len(encoder.geometry.tiles), steps, rdo, least, encoder.most_clips_per_group)

    def likely_end(self, first: int) -> int:
        """Return the clip before which a group that begins with clip ``first`` ends where the scene moves."""
        return min(first + self.least, (first // self.most + 1) * self.most)


class GroupCoder:
    """A group of which clips are coded one after the other."""

    def __init__(self, grouping: Grouping) -> None:
        self._grouping = grouping
        self._coder = SparseGroupEncoder(grouping.layout, grouping.tiles, grouping.steps, rdo=grouping.rdo)
        self._span: GroupSpan | None = None

    def ends_before(self, clip: int) -> bool:
        """Whether the group ends before a clip, which follows the last one that was added."""
        bits, grouping = self._coder.clip_bits, self._grouping
        if not bits:
            return False
        if clip % grouping.most == 0 or sum(bits) >= _FULL_BITS:
            return True
        stands_still = bits[-1] <= STILL_SHARE * bits[0]
        return len(bits) % grouping.least == 0 and not stands_still

    def add(self, clip: WideClip) -> LatentArrays:
        """Code the next clip, and return its symbols, int32 ``[tiles, …]``."""
        if self._span is None:
            self._span = clip.span
        else:
            first_frame, frames, first_clip, clips = self._span
            self._span = GroupSpan(first_frame, frames + clip.span.frames, first_clip, clips + 1)
        return self._coder.add(clip.latents, clip.placement, clip.weights)

    def close(self) -> PackedGroup:
        """Return the group, which holds a clip or more."""
        assert self._span is not None
        body = self._coder.finish()
        return PackedGroup(pack_body(SPARSE, self._span, self._grouping.tiles, body), self._span)


class WidePacker:
    """A :class:`~vidtwin_codec.encoding.groups.GroupPacker` that codes each clip when it is added.

    Args:
        encoder: where the clips come from.
        grouping: how they are coded.
        watch: receives latents and symbols of each clip.
    """

    def __init__(self, encoder: Encoder, grouping: Grouping, watch: Watch | None = None) -> None:
        self.steps = grouping.steps
        self._encoder, self._grouping, self._watch = encoder, grouping, watch
        self._open: GroupCoder | None = None

    def add(self, piece: Piece) -> Iterator[PackedGroup]:
        """See :class:`~vidtwin_codec.encoding.groups.GroupPacker`."""
        for clip in wide_clips(self._encoder, piece):
            if self._open is not None and self._open.ends_before(clip.span.first_clip):
                yield from self.flush()
            if self._open is None:
                self._open = GroupCoder(self._grouping)
            symbols = self._open.add(clip)
            if self._watch is not None:
                self._watch(clip.latents, PlacedClip(symbols, clip.placement))

    def flush(self) -> Iterator[PackedGroup]:
        """See :class:`~vidtwin_codec.encoding.groups.GroupPacker`."""
        if self._open is not None:
            done, self._open = self._open, None
            yield done.close()

    def close(self) -> None:
        """See :class:`~vidtwin_codec.encoding.groups.GroupPacker`; nothing goes on."""
