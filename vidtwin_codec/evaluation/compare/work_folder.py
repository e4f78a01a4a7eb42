"""The work folder keeps finished measurements, so that a comparison that was interrupted continues where it stopped."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import vidtwin_codec
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.compare.results import Image
from vidtwin_codec.files import atomic_path, explain_os_error

_MARK = "vidtwin-compare"
"""Name of the file that marks a work folder."""
_IMAGES, _RECORD = "image_{}", "record"


@dataclass(frozen=True)
class StoredMeasurement:
    """One finished measurement: plain values, and the frames kept for viewing."""

    values: dict[str, Any]
    images: list[Image]


class WorkFolder:
    """A folder of records by their keys, each in a file that is complete or not there.

    Args:
        folder: the folder, which is made when there is something to keep; None keeps nothing.

    Raises:
        VidtwinError: the folder cannot be read, or holds something else.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        try:
            foreign = folder is not None and folder.exists() and not (folder / _MARK).exists() and any(folder.iterdir())
        except OSError as error:
            raise explain_os_error(error, folder or "") from error
        if foreign:
            raise VidtwinError(f"{folder}: is not a work folder of vidtwin compare", "name a new one")

    def recall(self, key: Mapping[str, Any]) -> StoredMeasurement | None:
        """Return the record of exactly this key; None if there is none, or it cannot be read."""
        if self.folder is None:
            return None
        try:
            # opened here, because numpy leaves a file open that it cannot parse
            with self._path(key).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                content = json.loads(str(stored[_RECORD]))
                images = [stored[_IMAGES.format(number)] for number in range(len(stored.files) - 1)]
        except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile):
            return None
        return StoredMeasurement(content["values"], images) if content["key"] == _plain(key) else None

    def keep(self, key: Mapping[str, Any], values: Mapping[str, Any], images: list[Image]) -> None:
        """Write a measurement to the folder.

        Raises:
            VidtwinError: the disk is full, or the folder cannot be written.
        """
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / _MARK).touch()
        except OSError as error:
            raise explain_os_error(error, self.folder) from error
        record = json.dumps({"key": _plain(key), "values": values}, allow_nan=False)
        arrays: dict[str, Any] = {_IMAGES.format(number): image for number, image in enumerate(images)}
        arrays[_RECORD] = np.array(record)
        with atomic_path(self._path(key)) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)

    def remove(self) -> None:
        """Delete all records, and the folder unless something else is in it."""
        if self.folder is None or not (self.folder / _MARK).exists():
            return
        with contextlib.suppress(OSError):
            for path in (*self.folder.glob("*.npz"), self.folder / _MARK):
                path.unlink()
            self.folder.rmdir()

    def _path(self, key: Mapping[str, Any]) -> Path:
        assert self.folder is not None
        return self.folder / (hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32] + ".npz")


def _plain(key: Mapping[str, Any]) -> Any:
    """Convert a key to what JSON gives back for it."""
    return json.loads(json.dumps(key))


@functools.cache
def code_digest(*parts: str) -> str:
    """Compute the SHA-256 over packages and modules of this program, whose changes may give other numbers."""
    digest = hashlib.sha256()
    root = Path(vidtwin_codec.__file__).parent
    for part in parts:
        for path in sorted((root / part).rglob("*.py")) or [root / f"{part}.py"]:
            digest.update(path.read_bytes())
    return digest.hexdigest()
