"""One size of a video on its way to a target: the network runs over it once, whatever qualities are tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from vidtwin_codec.coding import SparseGroupEncoder, Steps
from vidtwin_codec.coding.effort import quality_steps, step_factor
from vidtwin_codec.encoding.encoder import Encoder, Piece
from vidtwin_codec.encoding.rate.spool import KEPT, LatentSpool
from vidtwin_codec.encoding.rate.tally import Tally, Weights, seen_energy
from vidtwin_codec.network.following import placed_geometry
from vidtwin_codec.options import Reporter

_FIRST_CLIPS = 4
"""What the first quality is foretold from, and tried on."""
_ROOM = 14.0
"""By so much the first quality may turn out too coarse before the network has to run again."""
_FINEST = 100.0


class WideRun:
    """Clips of one size.

    Args:
        encoder: where they come from. folder: for their latents. reporter: is told when the network runs.

    Attributes:
        tallies: of each clip that has passed.
        elements: of each one's pixels, three for each; energies: sums of squares of its latents. Both count a patch as
            much as is seen of it.
    """

    def __init__(self, encoder: Encoder, folder: Path, reporter: Reporter) -> None:
        self.encoder, self._folder, self._reporter = encoder, folder, reporter
        base = encoder.entry.metadata.steps
        assert base is not None  # weights without steps are not resolved
        self._base: Steps = base
        self.tallies: list[Tally] = []
        self.elements: list[float] = []
        self.energies: list[float] = []
        self._pieces = encoder.pieces(reporter)
        self._first: list[Piece] = []
        self._spool: LatentSpool | None = None
        for piece in self._counted(self._pieces):
            self._first.append(piece)
            if len(self.tallies) >= _FIRST_CLIPS:
                break

    def close(self) -> None:
        """Read no further."""
        self._pieces.close()

    def steps(self, quality: float) -> Steps:
        """Of quantisation."""
        return quality_steps(self._base, quality, self.encoder.options.effort)

    def total(self) -> Tally:
        """Of all clips that have passed."""
        whole = self.tallies[0]
        for tally in self.tallies[1:]:
            whole = whole + tally
        return whole

    def trial(self, quality: float) -> float:
        """Bytes that the first clips take."""
        layout, tiles = self.encoder.layout, len(self.encoder.geometry.tiles)
        coder = SparseGroupEncoder(layout, tiles, self.steps(quality), rdo=self.encoder.options.effort > 0)
        for piece in self._first:
            for clip in piece.clips:
                coder.add(clip, piece.placement, self.encoder.weights_of(piece.placement))
        return sum(coder.clip_bits) / 8

    def pieces(self, quality: float) -> Iterator[Piece]:
        """All clips, exactly as far as packing at ``quality`` goes; from the network the first time."""
        if self._spool is None:
            first, self._first = self._first, []
            yield from self._spooled(chain(first, self._counted(self._pieces)), min(_FINEST, quality + _ROOM))
        elif quality <= self._spool.finest:
            yield from self._spool
        else:
            yield from self._spooled(self.encoder.pieces(self._reporter), _FINEST)

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
