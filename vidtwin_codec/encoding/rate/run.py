"""One size of a video that is encoded to a target: the network runs over it once, whatever qualities are tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from vidtwin_codec.coding import SparseGroupEncoder, Steps
from vidtwin_codec.coding.effort import quality_steps, step_factor
from vidtwin_codec.encoding.encoder import Encoder, Piece
from vidtwin_codec.encoding.rate.forecast import Tally, Weights, seen_energy
from vidtwin_codec.encoding.rate.spool import KEPT, LatentSpool
from vidtwin_codec.network.following import placed_geometry
from vidtwin_codec.options import Reporter

_FIRST_CLIPS = 4
"""Clips from which the first quality is forecast, and on which it is tried."""
_ROOM = 14.0
"""Points of quality above the first one for which latents are kept; beyond them the network has to run again."""
_FINEST = 100.0
_ROUNDING = (2 / 255) ** 2 / 12
"""Squared error of an element in [-1, 1] that is rounded to 8 bits."""


class WideRun:
    """The clips of one size, with statistics of those that have passed.

    Args:
        encoder: where the clips come from.
        folder: folder for their latents.
        reporter: receives progress of each try: of the network at first, then of packing.
        tries: most times that the clips are packed.

    Attributes:
        tallies: a tally for each clip that has passed.
        elements: number of values of each clip, three a pixel, each patch counted by the share of it that is seen.
        energies: sum of squares of the latents of each clip, counted in the same way.
    """

    def __init__(self, encoder: Encoder, folder: Path, reporter: Reporter, tries: int) -> None:
        self.encoder, self._folder, self._reporter = encoder, folder, reporter
        self._try, self._tries = 0, tries
        self._base = encoder.job.base_steps
        self.tallies: list[Tally] = []
        self.elements: list[float] = []
        self.energies: list[float] = []
        self._pieces = encoder.pieces(self._next_try())
        self._first: list[Piece] = []
        self._spool: LatentSpool | None = None
        for piece in self._counted(self._pieces):
            self._first.append(piece)
            if len(self.tallies) >= _FIRST_CLIPS:
                break

    def close(self) -> None:
        """Stop reading the video."""
        self._pieces.close()

    def steps(self, quality: float) -> Steps:
        """Compute the quantisation steps of a quality."""
        return quality_steps(self._base, quality, self.encoder.options.effort)

    def total(self) -> Tally:
        """Add up the tallies of all clips that have passed."""
        whole = self.tallies[0]
        for tally in self.tallies[1:]:
            whole = whole + tally
        return whole

    def finest_of_use(self) -> float:
        """Find the lowest whole quality whose error exceeds the finest one's by at most 1 % of the error of 8 bits."""
        total = self.total()

        def error(quality: float) -> float:
            return total.error(step_factor(quality, self.encoder.options.effort))

        most = error(_FINEST) + 0.01 * _ROUNDING * sum(self.elements)
        return float(next(quality for quality in range(int(_FINEST) + 1) if error(quality) <= most))

    def trial(self, quality: float) -> float:
        """Code the first clips at a quality, and return their bytes."""
        layout, tiles = self.encoder.layout, len(self.encoder.geometry.tiles)
        coder = SparseGroupEncoder(layout, tiles, self.steps(quality), rdo=self.encoder.options.effort > 0)
        for piece in self._first:
            for clip in piece.clips:
                coder.add(clip, piece.placement, self.encoder.weights_of(piece.placement))
        return sum(coder.clip_bits) / 8

    def pieces(self, quality: float) -> Iterator[Piece]:
        """Yield all clips, exact enough for packing at ``quality``: from the network first, then from the disk."""
        if self._spool is None:
            first, self._first = self._first, []
            yield from self._spooled(chain(first, self._counted(self._pieces)), min(_FINEST, quality + _ROOM))
        elif quality <= self._spool.finest:
            yield from self._spool.reported(self._next_try())
        else:
            yield from self._spooled(self.encoder.pieces(self._next_try()), _FINEST)

    def _next_try(self) -> Reporter:
        self._try += 1
        size = f"{self.encoder.geometry.width}x{self.encoder.geometry.height}"
        return self._reporter.stage(f"try {self._try} of at most {self._tries}, {size}")

    def _spooled(self, pieces: Iterable[Piece], finest: float) -> Iterator[Piece]:
        spool = LatentSpool(self._folder / "latents", self.encoder, finest)
        yield from spool.keeping(pieces)
        self._spool = spool

    def _counted(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        least = KEPT * step_factor(_FINEST, self.encoder.options.effort)
        for piece in pieces:
            self.tallies += [Tally.of(clip, self._base, least) for clip in piece.clips]
            weights = self.encoder.weights_of(piece.placement)
            self.elements += [self._seen_elements(piece, weights)] * piece.span.clips
            self.energies += [seen_energy(clip, weights) for clip in piece.clips]
            yield piece

    def _seen_elements(self, piece: Piece, weights: Weights | None) -> float:
        canvas = placed_geometry(self.encoder.geometry, self.encoder.layout, piece.placement)
        elements = 3 * canvas.clip_frames * canvas.tile_height * canvas.tile_width * len(canvas.tiles)
        return elements if weights is None else elements * float(weights.mean())
