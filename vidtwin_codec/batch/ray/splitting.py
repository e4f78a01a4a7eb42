"""Splitting long files into parts that different workers encode, and joining the parts."""

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
from vidtwin_codec.batch.records import FileStamp
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.reader import expected_frames
from vidtwin_codec.network.runner import LoadNetwork
from vidtwin_codec.options import EncodeOptions, Reporter


@dataclass(frozen=True, eq=False)
class PartJob(Job):
    """A job that encodes some of the clips of a video.

    Attributes:
        first: index of the first clip.
        count: number of clips; None for all to the end.
        target: path of the part; each attempt adds a random suffix.
    """

    first: int = 0
    count: int | None = None
    target: Path = Path()

    def encode(self, options: EncodeOptions, load: LoadNetwork, reporter: Reporter) -> Segment:
        """Encode the clips to a file.

        Raises:
            VidtwinError: the result is not what encoding the whole video would give.
        """
        assert self.info is not None  # only a video has parts
        self.target.parent.mkdir(parents=True, exist_ok=True)
        # a worker that was given up may still write to the earlier name
        target = self.target.with_name(f"{self.target.name}-{secrets.token_hex(4)}")
        segment = encode_segment(
            self.info, target, options, first=self.first, count=self.count, load=load, reporter=reporter
        )
        if FileStamp.of(self.source) != self.stamp:
            raise VidtwinError("the source changed while it was read")
        if segment.warnings:
            raise VidtwinError(f"reading it gave a warning: {segment.warnings[0]}")
        start = self.first * self.clip_frames
        stop = self.frames if self.count is None else start + self.count * self.clip_frames
        if not segment.groups or segment.frames != (start, stop):
            raise VidtwinError("it does not have as many frames as it should have")
        return segment


def count_parts(job: Job, options: BatchOptions, seconds: float, workers: int, total_cost: float) -> int:
    """Choose the number of parts of a file: at most one a worker, none shorter than ``seconds`` on average.

    Only a file that would keep one worker busy for half of the time of the whole batch is split, because every part
    decodes the frames before it, too.

    Args:
        job: the file.
        options: the batch's options.
        seconds: shortest part, in seconds of video; 0 splits nothing.
        workers: how many workers there is room for.
        total_cost: sum of ``cost`` over all jobs.
    """
    if not seconds or options.measure or job.info is None or not isinstance(options.file_options, EncodeOptions):
        return 1
    if job.cost * 2 * workers < total_cost or not can_be_split(job.info, options.file_options):
        return 1
    most = -(-_frames(job, options.file_options) // (job.part_clips * job.clip_frames))
    return max(1, min(int(job.seconds // seconds), workers, most))


def split(job: Job, options: EncodeOptions, parts: int, folder: Path) -> list[PartJob]:
    """Split a job into parts of about the same length, whose files go to ``folder``."""
    frames = _frames(job, options)
    least = -(-frames // (job.part_clips * job.clip_frames))
    edges = [number * least // parts for number in range(parts + 1)]
    values = {field.name: getattr(job, field.name) for field in fields(Job)} | {"frames": frames}
    made = []
    for number, (first, stop) in enumerate(pairwise(edges)):
        values["cost"] = job.cost * (stop - first) / least
        count = None if stop == least else (stop - first) * job.part_clips
        made.append(PartJob(**values, first=first * job.part_clips, count=count, target=folder / f"{number}.part"))
    return made


class SplitJob:
    """A job whose parts are being encoded.

    Attributes:
        job: the whole job.
        abandoned: whether a part failed, so that the file is encoded whole instead.
    """

    def __init__(self, job: Job, parts: Sequence[PartJob]) -> None:
        self.job, self.abandoned = job, False
        self._parts = list(parts)
        self._done: dict[PartJob, int] = {}
        self._segments: dict[PartJob, Segment] = {}

    def advance(self, part: PartJob, stage: str, done: int) -> Progress:
        """Turn the progress of a part into progress of the whole."""
        self._done[part] = max(done, self._done.get(part, 0))
        return Progress(self.job, stage, sum(self._done.values()), self._parts[0].frames)

    def finish(self, part: PartJob, segment: Segment) -> Job | None:
        """Keep a finished part; return the job that joins all parts once all are there."""
        self._segments[part] = segment
        if len(self._segments) < len(self._parts):
            return None
        return replace(self.job, segments=tuple(self._segments[part] for part in self._parts))

    def discard(self) -> None:
        """Delete the files of the parts."""
        shutil.rmtree(self._parts[0].target.parent, ignore_errors=True)


def _frames(job: Job, options: EncodeOptions) -> int:
    assert job.info is not None
    frames = expected_frames(job.info, options.fps or job.info.fps)
    assert frames is not None  # can_be_split
    return frames
