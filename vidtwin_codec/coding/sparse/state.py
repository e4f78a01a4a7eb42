"""Models and records of one group's walk, which the sparse coder's encoder and decoder share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.layout import LatentLayout
from vidtwin_codec.coding.placement import Placement, at_rest
from vidtwin_codec.coding.quantizer import MAX_SYMBOL

if TYPE_CHECKING:
    from vidtwin_codec.coding.sparse.prior import Prior


class Walk:
    """The models and records of one group.

    Attributes:
        layout: the layout of the file.
        grid: the layout with the grid of the current clip.
        placement: the placement of the current clip; None where it has no canvas of its own.
    """

    def __init__(self, layout: LatentLayout, tiles: int, steps: tuple[int, int], start: Prior) -> None:
        from vidtwin_codec.coding.sparse import bands, binary, contexts, fixed, lines, motion, places
        from vidtwin_codec.coding.sparse.jit import view

        if layout.patterns is None:
            raise ValueError("the sparse coder needs a layout with patterns")
        self.layout, self.grid, self.tiles = layout, layout, tiles
        self.placement: Placement | None = None
        self._view, self._lines, self._places, self._motion = view, lines, places, motion
        self.sizes, self.table = bands.layout_tables(layout, start.sizes, steps)
        self.states, self.weights = start.states.copy(), start.weights.copy()
        slots, _, _, channels = layout.structure
        self._record, self._height, self._width = int(self.sizes[bands.PLACE]), bands.HEIGHT, bands.WIDTH
        self.own, self.means, self.ends = self._memory()
        self.before = self.own.copy()
        self.some = np.zeros((tiles, 2, layout.dynamics_x[0]), np.int32)
        self.register = np.zeros(binary.REGISTERS, np.int64)
        self.register[binary.HIGH] = (1 << binary.TOP) - 1
        self._decoding = binary.DECODING
        self._off = np.zeros(contexts.OFFSETS, np.int64)
        self._shared = [view(each) for each in (self.sizes, self.table, fixed.fixed_table())]
        self.work = np.zeros(binary.WORK, np.int64)
        self.work[binary.MOST] = binary.LIMIT
        self.work[binary.PACE] = binary.LEARNING
        self._models = [view(each) for each in (self.states, self.weights, self.work)]
        self._register = view(self.register)
        sums, guesses, best = np.zeros(16, np.int64), np.zeros(3, np.int64), np.zeros(4, np.int64)
        numbers, trend = np.zeros((2, slots * channels), np.int32), np.zeros(2 * channels, np.int32)
        self._sums, self._guesses, self._best = view(sums), view(guesses), view(best)
        self._targets, self._values = view(numbers[0]), view(numbers[1])
        self._trend = view(trend)
        self._offsets = view(self._off)
        self._follows = contexts.FOLLOWS

    def next_clip(self, first: bool, buffer: Any, placement: Placement | None) -> None:
        """Begin a clip: code its placement; this clip's records become those of the clip before, moved to its grid.

        Raises:
            ValueError: the placement that was read is not one that a file may hold.
        """
        self._off[self._follows] = 0 if first else 1
        last = self.placement
        if self.tiles == 1:
            placement = self._code_placement(buffer, placement)
        self.own, self.before = self.before, self.own
        was, now = (each or at_rest(self.layout) for each in (last, placement))
        if was.canvas == now.canvas:
            self.placement = placement
            return
        self.placement, self.grid = placement, now.grid(self.layout)
        self.sizes[self._height], self.sizes[self._width] = now.rows, now.columns
        past = (self.before[0, : -self._record], self.means[0], self.ends[0])
        self.own, self.means, self.ends = self._memory()
        self.before = self.own.copy()
        rows, columns = (_common(*each) for each in zip(_spans(was), _spans(now), strict=True))
        for new, old in zip((self.before[0, : -self._record], self.means[0], self.ends[0]), past, strict=True):
            seen = old.reshape(was.rows, was.columns, -1)[rows[0], columns[0]]
            new.reshape(now.rows, now.columns, -1)[rows[1], columns[1]] = seen

    def structure(
        self, tile: int, buffer: Any, scales: Any, source: Any, symbols: Any, span: tuple[int, int], task: int,
        tuning: tuple[int, int, int],
    ) -> int:  # fmt: skip
        """Walk over places ``span`` of a tile."""
        return int(
            self._places.walk_places(
                *self._shared, *self._models, self._register, buffer, self._sums, self._offsets,
                self._view(self.own[tile]), self._view(self.before[tile]), self._trend, symbols, self._targets,
                self._values, self._view(self.means[tile]), self._guesses, self._view(self.ends[tile]), self._best,
                scales, source, *span, task, *tuning, MAX_SYMBOL,
            )
        )  # fmt: skip

    def dynamics(self, tile: int, part: int, buffer: Any, symbols: NDArray[np.int32]) -> int:
        """Walk over one of the two dynamics of a tile."""
        fixed = self._shared[2]
        return int(
            self._lines.walk_lines(
                fixed, *self._models, self._register, buffer, self._view(symbols.reshape(-1)),
                self._view(self.some[tile, part]), part, *symbols.shape, MAX_SYMBOL,
            )
        )  # fmt: skip

    def _code_placement(self, buffer: Any, placement: Placement | None) -> Placement | None:
        before = self.placement or at_rest(self.layout)
        numbers = np.zeros(self._motion.CANVAS + 2 * self.layout.dynamics_x[1], np.int32)
        if placement is not None:
            numbers = self._motion.differences(placement, before, self.layout)
        moved = self._motion.walk_motion(
            self._shared[2], *self._models, self._register, buffer, self._view(numbers),
            int(placement is not None), int(self.placement is not None), numbers.size,
        )  # fmt: skip
        if not self.register[self._decoding]:
            return placement
        return self._motion.placement_of(numbers, before, self.layout) if moved else None

    def _memory(self) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.int32]]:
        """Return records of a clip's places, an empty one behind the last, slot 0's symbols, and the patterns' ends."""
        _, height, width, channels = self.grid.structure
        records = np.zeros((self.tiles, self._record * (height * width + 1)), np.int8)
        means, ends = np.zeros((2, self.tiles, height * width * channels), np.int32)
        return records, means, ends


def _spans(placement: Placement) -> tuple[tuple[int, int], tuple[int, int]]:
    top, left = placement.top, placement.left
    return (top, top + placement.rows), (left, left + placement.columns)


def _common(a: tuple[int, int], b: tuple[int, int]) -> tuple[slice, slice]:
    """Return the overlap of two ranges, as slices that count from the beginning of each."""
    start = max(a[0], b[0])
    end = max(start, min(a[1], b[1]))
    return slice(start - a[0], end - a[0]), slice(start - b[0], end - b[0])
