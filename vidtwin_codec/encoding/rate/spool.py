"""A spool of latents on disk, so that the network runs once, however often they are packed."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import zstandard
from numpy.typing import NDArray

from vidtwin_codec.coding import LatentArrays
from vidtwin_codec.coding.effort import quality_steps
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.coding.quantizer import broadcast_steps
from vidtwin_codec.encoding.encoder import Encoder, Piece
from vidtwin_codec.files import explain_os_error
from vidtwin_codec.reporter import Reporter

KEPT = 0.45
"""Share of a step below which a latent becomes 0, however symbols are chosen."""
_NOTHING = LatentArrays(*(np.empty(0, np.float32),) * 3)
_SIZES = struct.Struct("<QQ")


class LatentSpool:
    """Clips in a file, which are packed at qualities up to ``finest`` exactly as if they came from the network.

    Dense latents are kept as they are, about a 75th of the bytes of the raw frames. Of wide latents only those are kept
    that can become nonzero symbols, about a hundredth at usual qualities.

    Args:
        path: the file, in a folder that its maker deletes.
        encoder: where the clips come from.
        finest: highest quality that the latents are packed at.
    """

    def __init__(self, path: Path, encoder: Encoder, finest: float = 100.0) -> None:
        self._path, self.finest = path, finest
        self._pieces: list[Piece] = []
        path.unlink(missing_ok=True)
        self._sieve = None if encoder.layout.patterns is None else _Sieve(encoder, finest)

    def keeping(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Yield the same clips, writing them to the file as they pass.

        Raises:
            VidtwinError: the disk is full.
        """
        for piece in pieces:
            try:
                with self._path.open("ab") as stream:
                    if self._sieve is None:
                        for array in piece.latents:
                            np.save(stream, array, allow_pickle=False)
                    else:
                        self._sieve.write(stream, piece)
            except OSError as error:
                raise explain_os_error(error, self._path.parent) from error
            self._pieces.append(replace(piece, latents=_NOTHING))
            yield piece

    def reported(self, reporter: Reporter) -> Iterator[Piece]:
        """Yield the clips, and report the frames that have passed."""
        reporter.started(sum(piece.span.frames for piece in self._pieces), "")
        for piece in self:
            yield piece
            reporter.advanced(piece.span.frames)

    def __iter__(self) -> Iterator[Piece]:
        with self._path.open("rb") as stream:
            for piece in self._pieces:
                latents = _read(stream) if self._sieve is None else self._sieve.read(stream, piece)
                yield replace(piece, latents=latents)


def _read(stream: BinaryIO) -> LatentArrays:
    return LatentArrays(*(np.load(stream, allow_pickle=False) for _ in LatentArrays._fields))


class _Sieve:
    """A filter that writes those wide latents that can become nonzero symbols, and fills in zeros when it reads.

    The first slot is predicted from the clip before, and its constant channels from neighbours, too. There a latent
    that is small by itself may be far from its prediction. So constant channels are always kept, and other places from
    the first time on that something is kept there, until a group must end or a canvas leaves them.
    """

    def __init__(self, encoder: Encoder, finest: float) -> None:
        self._layout = encoder.layout
        assert self._layout.patterns is not None
        self._tiles, self._most_clips = len(encoder.geometry.tiles), encoder.most_clips_per_group
        steps = quality_steps(encoder.job.base_steps, finest, encoder.options.effort)
        self._least = KEPT * broadcast_steps(steps)[0]
        counts = self._layout.patterns.counts
        self._constants = [start for start, count in zip(np.cumsum([0, *counts]), counts, strict=False) if count]
        self._ever = np.zeros((self._tiles, *self._layout.structure[1:]), bool)
        self._origin = (0, 0)

    def write(self, stream: BinaryIO, piece: Piece) -> None:
        """Append the clips of a piece."""
        for number, clip in enumerate(piece.clips, piece.span.first_clip):
            structure = clip.structure
            self._ever = self._carried(piece.placement, structure, afresh=number % self._most_clips == 0)
            # NaN is kept, so that packing reports it
            wanted = ~(np.abs(structure) < self._least)
            self._ever |= wanted[:, 0]
            wanted[:, 0] = self._ever
            places = np.flatnonzero(wanted).astype(np.uint32)
            values = structure.reshape(-1)[places]
            rest = [np.ascontiguousarray(part).tobytes() for part in clip[1:]]
            packer = zstandard.ZstdCompressor(level=1)
            packed = packer.compress(np.diff(places, prepend=np.uint32(0)).tobytes())
            data = packer.compress(b"".join((values.tobytes(), *rest)))
            stream.write(_SIZES.pack(len(packed), len(data)) + packed + data)

    def _carried(self, placement: Placement | None, structure: NDArray[np.float32], afresh: bool) -> NDArray[np.bool_]:
        """Mark where the first slot was kept before, ``[tiles, rows, columns, channels]``, moved to this canvas."""
        ever = np.zeros((len(structure), *structure.shape[2:]), bool)
        ever[..., self._constants] = True
        origin = (0, 0) if placement is None else (placement.top, placement.left)
        down, right = origin[0] - self._origin[0], origin[1] - self._origin[1]
        if not afresh:
            before = self._ever[:, max(0, down) :, max(0, right) :]
            here = ever[:, max(0, -down) :, max(0, -right) :]
            rows, columns = (min(one, other) for one, other in zip(before.shape[1:3], here.shape[1:3], strict=True))
            here[:, :rows, :columns] |= before[:, :rows, :columns]
        self._origin = origin
        return ever

    def read(self, stream: BinaryIO, piece: Piece) -> LatentArrays:
        """Read the clips of a piece."""
        shapes = (self._layout if piece.placement is None else piece.placement.grid(self._layout)).shapes()
        arrays = shapes.zeros(piece.span.clips * self._tiles, dtype=np.float32)
        reader = zstandard.ZstdDecompressor()
        for number in range(piece.span.clips):
            sizes = _SIZES.unpack(stream.read(_SIZES.size))
            steps, data = (reader.decompress(stream.read(size)) for size in sizes)
            places = np.cumsum(np.frombuffer(steps, np.uint32), dtype=np.uint32)
            numbers: NDArray[np.float32] = np.frombuffer(data, np.float32)
            rows = slice(number * self._tiles, (number + 1) * self._tiles)
            arrays.structure[rows].reshape(-1)[places] = numbers[: len(places)]
            at = len(places)
            for array in arrays[1:]:
                part = array[rows]
                part[:] = numbers[at : at + part.size].reshape(part.shape)
                at += part.size
        return arrays
