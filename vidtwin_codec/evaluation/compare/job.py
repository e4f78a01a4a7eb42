"""One clip on the bench: its frames, room for files, and what is known of it from before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidtwin_codec.evaluation.compare.measuring import Measured
from vidtwin_codec.evaluation.compare.reference import Reference
from vidtwin_codec.evaluation.compare.results import Point
from vidtwin_codec.evaluation.compare.work import Work
from vidtwin_codec.options import Reporter


@dataclass(frozen=True)
class Job:
    """What every codec needs to be run on one clip.

    Attributes:
        reference: the frames.
        folder: for files that are deleted on the way.
        wanted: indices of frames to keep of each codec's matched point.
        work: remembers what is finished.
        reporter: is told of each encoding that is measured.
    """

    reference: Reference
    folder: Path
    wanted: list[int]
    work: Work
    reporter: Reporter

    def once(
        self, key: Mapping[str, Any], take: Callable[[list[int]], tuple[Point, Measured]], *, viewed: bool
    ) -> tuple[Point, Measured]:
        """A finished measurement from before, or else a new one, remembered.

        Args:
            key: everything that decides about it, but for the frames.
            take: measures and keeps the frames it is given.
            viewed: whether frames are wanted of this point.
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
        """Bytes of an encoding, from before or by making it."""
        key = self._key(key, measured=False)
        if (found := self.work.recall(key)) is not None:
            return int(found.values["bytes"])
        size = encode()
        self.work.keep(key, {"bytes": size}, [])
        return size

    def _key(self, key: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        return {"frames": self.reference.digest, **key, **more}
