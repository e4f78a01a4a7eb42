"""Latents on disk: the network runs once, however often they are packed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vidtwin_codec.coding import LatentArrays
from vidtwin_codec.files import explain_os_error
from vidtwin_codec.pipeline.encoder import Piece

_NOTHING = LatentArrays(*(np.empty(0, np.float32),) * 3)


class LatentSpool:
    """Clips in a file, exactly as they came; about a 75th of the raw frames they stand for.

    Args:
        path: of the file, in a folder that whoever made it deletes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pieces: list[Piece] = []

    def keeping(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The same clips, kept as they pass.

        Raises:
            VidtwinError: the disk is full.
        """
        for piece in pieces:
            try:
                with self._path.open("ab") as stream:
                    for array in piece.latents:
                        np.save(stream, array, allow_pickle=False)
            except OSError as error:
                raise explain_os_error(error, self._path.parent) from error
            self._pieces.append(replace(piece, latents=_NOTHING))
            yield piece

    def __iter__(self) -> Iterator[Piece]:
        with self._path.open("rb") as stream:
            for piece in self._pieces:
                yield replace(piece, latents=_read(stream))


def _read(stream: BinaryIO) -> LatentArrays:
    return LatentArrays(*(np.load(stream, allow_pickle=False) for _ in LatentArrays._fields))
