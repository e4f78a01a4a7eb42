"""One clip of a comparison: its frames, a folder for files, and finished measurements from earlier runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidtwin_codec.evaluation.compare.measuring import Measured
from vidtwin_codec.evaluation.compare.reference import Reference
from vidtwin_codec.evaluation.compare.results import Point
from vidtwin_codec.evaluation.compare.work_folder import WorkFolder
from vidtwin_codec.options import Reporter


@dataclass(frozen=True)
class ClipJob:
    """Everything that a codec needs to run on one clip.

    Attributes:
        reference: the frames.
        folder: folder for temporary files.
        wanted: indices of the frames of each codec's matched point to keep for viewing.
        work: keeps finished measurements.
        reporter: receives a line for each encoding that is measured.
    """

    reference: Reference
    folder: Path
    wanted: list[int]
    work: WorkFolder
    reporter: Reporter

    def once(
        self, key: Mapping[str, Any], take: Callable[[list[int]], tuple[Point, Measured]], *, viewed: bool
    ) -> tuple[Point, Measured]:
        """Return a finished measurement from an earlier run, or else make and keep a new one.

        Args:
            key: everything that the result depends on, except the frames.
            take: makes the measurement, and keeps the frames of the given indices.
            viewed: whether frames of this point are kept for viewing.
        """
        wanted = self.wanted if viewed else []
        key = self._key(key, measured=True, views=wanted)
        if (found := self.work.recall(key)) is not None:
            point = Point(**found.values["point"])
            return point, Measured(point.metrics, found.values["reasons"], found.images)
        point, measured = take(wanted)
        self.work.keep(key, {"point": asdict(point), "reasons": measured.reasons}, measured.views)
        return point, measured

    def size(self, key: Mapping[str, Any], encode: Callable[[], int]) -> int:
        """Return the bytes of an encoding, from an earlier run or by making it."""
        key = self._key(key, measured=False)
        if (found := self.work.recall(key)) is not None:
            return int(found.values["bytes"])
        size = encode()
        self.work.keep(key, {"bytes": size}, [])
        return size

    def _key(self, key: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        return {"frames": self.reference.digest, **key, **more}
