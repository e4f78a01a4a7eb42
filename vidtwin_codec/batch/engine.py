"""What an engine is: something that takes jobs and says, as they happen, how far each one is and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vidtwin_codec.batch.ray.segments import Segment
from vidtwin_codec.batch.records import Stamp
from vidtwin_codec.media import MediaInfo
from vidtwin_codec.network.runner import LoadNetwork
from vidtwin_codec.options import Reporter

Row = dict[str, Any]
"""A line of the report."""


@dataclass(frozen=True, eq=False)
class Job:
    """One input and its output.

    Attributes:
        source: the input. output: where to put what is made of it. name: of the output, below the destination.
        stamp: of the input when it was probed. info: what probing found; None for a .vtw.
        frames, seconds: of the video; 0 where only decoding can tell.
        work: clips times tiles, what the network has to do for it.
        memory: bytes of frames that may be under way at once while it is worked on.
        reason: why it is to be done, in words.
        part_clips: no group reaches across multiples of so many clips; 0 for a .vtw. clip_frames: of a clip.
        segments: the video, encoded before: it is only joined.
    """

    source: Path
    output: Path
    name: str
    stamp: Stamp
    info: MediaInfo | None
    frames: int
    seconds: float
    work: float
    memory: int
    reason: str
    part_clips: int = 0
    clip_frames: int = 0
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True)
class Progress:
    """A job is at work: ``done`` of its ``total`` frames (None: unknown) at this ``stage``."""

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
    """A job is over: its row, or why there is none."""

    job: Job
    row: Row | None
    error: str | None = None


Event = Progress | Warned | Ended
Perform = Callable[[Job, LoadNetwork, Reporter, Callable[[], bool], bool], Row]
"""Does one job. Is given what reads networks, who is told, what says that all is to stop, and whether to wait for
another run that is at the same output."""


class Engine(Protocol):
    """Does jobs in any order and in any place, each exactly once.

    Leaving the iteration early, by an interrupt or by closing it, stops all work: what is in hand is finished or leaves
    no trace.

    Attributes:
        kind: of the devices that the network runs on: ``cpu``, ``cuda`` or ``mps``.
    """

    @property
    def kind(self) -> str: ...

    def run(self, jobs: Sequence[Job], perform: Perform) -> Iterator[Event]:
        """Do them; exactly one :class:`Ended` for each job.

        Raises:
            VidtwinError: nothing can be done at all (no such device).
        """
