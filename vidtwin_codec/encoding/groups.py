"""What packs latents into groups: one packer for dense latents, two for wide ones, which give the same bytes.

A group decodes alone, so its first clip is coded in full, which is nearly all of its bits where nothing moves. So a
group goes on while clips take few bits beside its first one. It ends at multiples of about a minute all the same, where
a video can be split to encode its parts apart (:meth:`~vidtwin_codec.network.geometry.Geometry.most_clips_per_group`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from vidtwin_codec.coding import GroupSpan, LatentArrays, PlacedClip, Steps
from vidtwin_codec.encoding.encoder import Piece

STILL_SHARE = 0.25
"""A clip stands still if its difference to the clip before takes at most this share of the bits of the clip itself, by
a rough count; or, where clips are coded one by one, if it took at most this share of the bits of its group's first
clip. With such savings the first clip would be most of the bytes of a new group."""


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
        """Take the next clips, and yield groups that are closed by now; the iteration must go on to its end."""

    def flush(self) -> Iterator[PackedGroup]:
        """Yield the groups that are not closed yet."""

    def close(self) -> None:
        """Stop what still goes on; harmless to repeat."""


Watch = Callable[[LatentArrays, PlacedClip], None]
"""A function that receives the latents of each clip, and the symbols that were chosen for them."""
