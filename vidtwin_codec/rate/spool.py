"""Latents on disk: the network runs once, however often they are packed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vidtwin_codec.coding import LatentArrays
from vidtwin_codec.files import explain_os_error
from vidtwin_codec.pipeline.encoder import LatentGroup

_NOTHING = LatentArrays(*(np.empty(0, np.float32),) * 3)


class LatentSpool:
    """Groups in a file, exactly as they came; about a 75th of the raw frames they stand for.

    Args:
        path: of the file, in a folder that whoever made it deletes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._groups: list[LatentGroup] = []

    def keeping(self, groups: Iterable[LatentGroup]) -> Iterator[LatentGroup]:
        """The same groups, kept as they pass.

        Raises:
            VidtwinError: the disk is full.
        """
        for group in groups:
            other = group.alternative
            try:
                with self._path.open("ab") as stream:
                    for arrays in (group.latents, *([] if other is None else [other.latents])):
                        for array in arrays:
                            np.save(stream, array, allow_pickle=False)
            except OSError as error:
                raise explain_os_error(error, self._path.parent) from error
            kept = None if other is None else other._replace(latents=_NOTHING)
            self._groups.append(replace(group, latents=_NOTHING, alternative=kept))
            yield group

    def __iter__(self) -> Iterator[LatentGroup]:
        with self._path.open("rb") as stream:
            for group in self._groups:
                latents, other = _read(stream), group.alternative
                yield replace(group, latents=latents, alternative=other and other._replace(latents=_read(stream)))


def _read(stream: BinaryIO) -> LatentArrays:
    return LatentArrays(*(np.load(stream, allow_pickle=False) for _ in LatentArrays._fields))
