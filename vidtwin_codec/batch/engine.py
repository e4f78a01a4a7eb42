"""The interface of an engine, which takes jobs and reports the progress and the end of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vidtwin_codec.batch.ray.segments import Segment
from vidtwin_codec.batch.records import FileStamp
from vidtwin_codec.media import MediaInfo
from vidtwin_codec.network.runner import LoadNetwork
from vidtwin_codec.options import Reporter

Row = dict[str, Any]
"""A line of the report."""


@dataclass(frozen=True, eq=False)
class Job:
    """One input and its output.

    Attributes:
        source: the input file.
        output: the file to write.
        name: path of the output below the destination, with slashes.
        stamp: size and time of modification of the input when it was probed.
        info: what probing found; None for a .vtw.
        frames: number of frames; 0 where only decoding can tell.
        seconds: length of the video; 0 where only decoding can tell.
        cost: work of the network, in clips times tiles.
        memory: most bytes of frames in memory while it is done.
        reason: why it is to be done, in words.
        part_clips: no group crosses a multiple of this number of clips; 0 for a .vtw.
        clip_frames: frames of a clip; 0 for a .vtw.
        segments: the encoded video, if it only remains to be joined.
    """

    source: Path
    output: Path
    name: str
    stamp: FileStamp
    info: MediaInfo | None
    frames: int
    seconds: float
    cost: float
    memory: int
    reason: str
    part_clips: int = 0
    clip_frames: int = 0
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True)
class Progress:
    """A job has advanced.

    Attributes:
        job: the job.
        stage: what is being done.
        done: frames done at this stage.
        total: frames of this stage in all; None if unknown.
    """

    job: Job
    stage: str
    done: int
    total: int | None


@dataclass(frozen=True)
class Warned:
    """Something worth knowing about a file."""

    job: Job
    text: str


@dataclass(frozen=True)
class Ended:
    """A job has ended.

    Attributes:
        job: the job.
        row: its row of the report; None if it failed.
        error: why it failed.
    """

    job: Job
    row: Row | None
    error: str | None = None


Event = Progress | Warned | Ended
Perform = Callable[[Job, LoadNetwork, Reporter, Callable[[], bool], bool], Row]
"""A function that does one job. Its arguments: the job, a function that reads networks, a receiver of progress, a
function that says whether the batch is being stopped, and whether to wait for another run that holds the output."""


class Engine(Protocol):
    """An engine does jobs in any order and on any machine, each exactly once.

    Leaving the iteration early, by an interrupt or by closing it, stops everything: a job that has begun is finished or
    leaves no files behind.

    Attributes:
        kind: kind of the devices that the network runs on: ``cpu``, ``cuda`` or ``mps``.
    """

    @property
    def kind(self) -> str: ...

    def run(self, jobs: Sequence[Job], perform: Perform) -> Iterator[Event]:
        """Do the jobs, and yield exactly one :class:`Ended` for each.

        Raises:
            VidtwinError: no job can be done, because there is no such device, say.
        """
