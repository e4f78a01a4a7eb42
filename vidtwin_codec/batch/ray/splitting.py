"""Long files in parts that different workers encode, and how they come together again."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path

from vidtwin_codec.batch.engine import Job, Progress
from vidtwin_codec.batch.options import BatchOptions
from vidtwin_codec.batch.ray.segments import Segment, can_be_split, encode_segment
from vidtwin_codec.batch.records import Stamp
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.reader import expected_frames
from vidtwin_codec.network.runner import LoadNetwork
from vidtwin_codec.options import EncodeOptions, Reporter


@dataclass(frozen=True, eq=False)
class PartJob(Job):
    """Some clips of a video.

    Attributes:
        first: number of the first clip. count: of clips; None: to the end.
        target: where they go, with something added to tell attempts apart.
    """

    first: int = 0
    count: int | None = None
    target: Path = Path()

    def encode(self, options: EncodeOptions, load: LoadNetwork, reporter: Reporter) -> Segment:
        """Encode them.

        Raises:
            VidtwinError: not as they would be in the whole video.
        """
        assert self.info is not None  # only a video has parts
        self.target.parent.mkdir(parents=True, exist_ok=True)
        # a worker that was given up may still be writing
        target = self.target.with_name(f"{self.target.name}-{secrets.token_hex(4)}")
        segment = encode_segment(
            self.info, target, options, first=self.first, count=self.count, load=load, reporter=reporter
        )
        if Stamp.of(self.source) != self.stamp:
            raise VidtwinError("the source changed while it was read")
        if segment.warnings:
            raise VidtwinError(f"it is remarkable to read: {segment.warnings[0]}")
        start = self.first * self.clip_frames
        stop = self.frames if self.count is None else start + self.count * self.clip_frames
        if not segment.groups or segment.frames != (start, stop):
            raise VidtwinError("it does not have as many frames as it should have")
        return segment


def count_parts(job: Job, options: BatchOptions, seconds: float, workers: int, whole_work: float) -> int:
    """Into how many parts a file goes: no more than there are workers, none shorter than ``seconds`` on average.

    Only a file that would keep one worker busy for half of the time that the whole batch takes is worth it: the frames
    before a part are decoded to get there.

    Args:
        seconds: of a part; 0: never split.
        whole_work: of all jobs.
    """
    if not seconds or options.measure or job.info is None or not isinstance(options.work, EncodeOptions):
        return 1
    if job.work * 2 * workers < whole_work or not can_be_split(job.info, options.work):
        return 1
    most = -(-_frames(job, options.work) // (job.part_clips * job.clip_frames))
    return max(1, min(int(job.seconds // seconds), workers, most))


def split(job: Job, options: EncodeOptions, parts: int, folder: Path) -> list[PartJob]:
    """A job's parts, all about as long; their files go to ``folder``."""
    frames = _frames(job, options)
    least = -(-frames // (job.part_clips * job.clip_frames))
    edges = [number * least // parts for number in range(parts + 1)]
    values = {field.name: getattr(job, field.name) for field in fields(Job)} | {"frames": frames}
    made = []
    for number, (first, stop) in enumerate(pairwise(edges)):
        values["work"] = job.work * (stop - first) / least
        count = None if stop == least else (stop - first) * job.part_clips
        made.append(PartJob(**values, first=first * job.part_clips, count=count, target=folder / f"{number}.part"))
    return made


class SplitJob:
    """A job whose parts are under way.

    Attributes:
        job: the whole. abandoned: a part cannot be had, and the file is to be encoded at once.
    """

    def __init__(self, job: Job, parts: Sequence[PartJob]) -> None:
        self.job, self.abandoned = job, False
        self._parts = list(parts)
        self._done: dict[PartJob, int] = {}
        self._segments: dict[PartJob, Segment] = {}

    def advance(self, part: PartJob, stage: str, done: int) -> Progress:
        """What progress of a part is of the whole."""
        self._done[part] = max(done, self._done.get(part, 0))
        return Progress(self.job, stage, sum(self._done.values()), self._parts[0].frames)

    def finish(self, part: PartJob, segment: Segment) -> Job | None:
        """Take note of a part; the job that joins all parts, once there are all."""
        self._segments[part] = segment
        if len(self._segments) < len(self._parts):
            return None
        return replace(self.job, segments=tuple(self._segments[part] for part in self._parts))

    def discard(self) -> None:
        """Remove the parts' files."""
        shutil.rmtree(self._parts[0].target.parent, ignore_errors=True)


def _frames(job: Job, options: EncodeOptions) -> int:
    assert job.info is not None
    frames = expected_frames(job.info, options.fps or job.info.fps)
    assert frames is not None  # can_be_split
    return frames
