"""Groups of dense latents: ten seconds whose symbols are chosen together, joined where the scene stands still."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import MAX_GROUP_SYMBOLS, Group, LatentArrays, Steps, pack_group
from vidtwin_codec.coding.effort import choose_symbols
from vidtwin_codec.encoding.encoder import Encoder, Piece
from vidtwin_codec.encoding.groups import STILL_SHARE, PackedGroup


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

    def close(self) -> None:
        """See :class:`GroupPacker`; nothing goes on."""

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
