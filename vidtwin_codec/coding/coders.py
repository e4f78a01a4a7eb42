"""The registry of coders: ways to turn a group's symbols into bytes, each with the number that files name it by."""

from __future__ import annotations

from typing import Protocol

from vidtwin_codec.coding.allowance import Cost
from vidtwin_codec.coding.context import ContextCoder
from vidtwin_codec.coding.layout import LatentArrays, LatentLayout
from vidtwin_codec.coding.plain import CHANNEL_MAJOR, POSITION_MAJOR, PlainCoder
from vidtwin_codec.coding.sparse import SparseCoder


class Coder(Protocol):
    """One way of writing symbols. It uses integers only, so that every platform reads the same symbols.

    A coder must not change once files carry its id: a better one gets a new id.
    """

    @property
    def id(self) -> int:
        """The number of the coder, 1 to 255: the first byte of a group."""

    @property
    def name(self) -> str:
        """The name shown in messages and reports."""

    def max_body(self, elements: int) -> int:
        """Return the most bytes that ``elements`` symbols can take: the reader's limit before it allocates."""

    def fits(self, layout: LatentLayout, clips: int) -> bool:
        """Return whether this coder can code ``clips`` clips of this layout."""

    def cost(self, layout: LatentLayout, clips: int, tiles: int, size: int) -> Cost:
        """Return the estimated cost of decoding a body of ``size`` bytes."""

    def encode(self, symbols: LatentArrays, layout: LatentLayout, clips: int, tiles: int) -> bytes:
        """Return the body for symbols (int32, N = clips * tiles, clip-major), before zstd."""

    def decode(self, body: memoryview, layout: LatentLayout, clips: int, tiles: int) -> LatentArrays:
        """Return the symbols (int32) of a body.

        Raises:
            ValueError: the bytes are not what `encode` writes.
        """


PLAIN = 1
PLAIN_BY_POSITION = 2
CONTEXT = 3
SPARSE = 4
PLACED = 5
"""Not in `CODERS`: says where clips lie, and leaves their symbols to one of coders 1 to 3 (`coding/placed.py`)."""
CODERS: dict[int, Coder] = {
    coder.id: coder
    for coder in (
        PlainCoder(PLAIN, "plain, channel-major", CHANNEL_MAJOR),
        PlainCoder(PLAIN_BY_POSITION, "plain, position-major", POSITION_MAJOR),
        ContextCoder(CONTEXT, "context"),
        SparseCoder(SPARSE, "sparse"),
    )
}
LATEST_CODER = PLACED


def coder_of(layout: LatentLayout, *, camera: bool = False) -> int:
    """Return the highest coder id that writers use for a layout, which is the one the file header names.

    Args:
        layout: layout of the file.
        camera: whether clips may lie on canvases of their own.
    """
    if layout.patterns is not None:
        return SPARSE
    return PLACED if camera else CONTEXT
