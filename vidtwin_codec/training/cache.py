"""A cache of decoded videos: a folder of bounded size, whose files this run and later ones map into memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import atomic_path, explain_os_error
from vidtwin_codec.reporter import Reporter
from vidtwin_codec.training.footage import Footage, FoundFile

if TYPE_CHECKING:
    from vidtwin_codec.media import FrameReader

RUN = 64
"""Length in frames of the evenly spread runs that are kept of a video that does not fit."""
_AT_ONCE = 4
"""Number of videos decoded at the same time; ffmpeg uses threads of its own."""


class UnreadableError(Exception):
    """A video cannot be used, for the reason in the text."""


@dataclass(frozen=True)
class Facts:
    """Facts about a video.

    Attributes:
        frames: number of frames; None if unknown.
        width: width in pixels that it is decoded to.
        height: height in pixels that it is decoded to.
    """

    frames: int | None
    width: int
    height: int

    @property
    def frame_bytes(self) -> int:
        return self.width * self.height * 3


@dataclass(frozen=True)
class CachePlan:
    """A plan to have one video in the cache.

    Attributes:
        file: the video.
        facts: its number of frames and size.
        limit: most frames to keep; None keeps all.
        target: the file in the cache.
    """

    file: FoundFile
    facts: Facts
    limit: int | None
    target: Path


class FrameCache:
    """A folder of ``.npy`` files, one for each video, that never exceeds its limit."""

    def __init__(self, folder: Path, limit: float, reporter: Reporter) -> None:
        """Open the cache, and make its folder if there is none.

        Args:
            folder: the folder.
            limit: most bytes of all files together.
            reporter: receives progress.

        Raises:
            VidtwinError: the folder cannot be made.
        """
        self.folder, self.limit, self._reporter = folder, limit, reporter
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain_os_error(error, folder) from error

    def plan(self, found: Sequence[tuple[FoundFile, Facts]]) -> list[CachePlan]:
        """Share the limit out: all of every video, or as many frames of long ones as fit, or fewer videos."""
        order = sorted(found, key=lambda pair: pair[0].order)
        while order and _bytes(order, RUN) > self.limit:
            order.pop()
        if len(order) < len(found):
            self._reporter.warned(
                f"the cache holds {len(order)} of {len(found)} videos; make it larger with --cache-gb"
            )
        kept = {file.name for file, _ in order}
        cap = _most_frames(order, self.limit)
        if cap is not None:
            cut = sum(facts.frames is None or facts.frames > cap for _, facts in order)
            self._reporter.warned(
                f"the cache holds {cap} frames of each of {cut} longer videos; make it larger with --cache-gb"
            )
        plans = []
        for file, facts in found:
            if file.name in kept:
                limit = cap if cap is not None and (facts.frames is None or facts.frames > cap) else None
                plans.append(CachePlan(file, facts, limit, self._target(file, facts, limit)))
        return plans

    def _target(self, file: FoundFile, facts: Facts, limit: int | None) -> Path:
        status = file.path.stat()
        key = (
            f"1 {os.path.abspath(file.path)} {status.st_size} {status.st_mtime_ns} {facts.width}x{facts.height} {limit}"
        )
        return self.folder / (hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:24] + ".npy")

    def fill(self, plans: Sequence[CachePlan]) -> list[Footage]:
        """Decode what is missing; videos that fail are reported and left out.

        One run fills the folder at a time; another one waits, and then finds what this one has decoded.

        Raises:
            VidtwinError: the folder cannot be written.
        """
        lock = FileLock(self.folder / "filling.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            self._reporter.said(f"waiting for another run that fills {self.folder}")
            lock.acquire()
        try:
            return self._fill(plans)
        finally:
            lock.release()

    def _fill(self, plans: Sequence[CachePlan]) -> list[Footage]:
        self._make_room(plans)
        missing = [plan for plan in plans if not plan.target.exists()]
        if missing:
            self._reporter.stage(f"decoding into {self.folder}", "video").started(len(missing), "")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for plan, problem in zip(missing, pool.map(_decode, missing), strict=True):
                    self._reporter.advanced(1)
                    if problem:
                        self._reporter.warned(f"{plan.file.name}: skipped, {problem}")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return [footage for plan in plans if (footage := _open(plan)) is not None]

    def _make_room(self, plans: Sequence[CachePlan]) -> None:
        """Delete files that this run does not use, least recently used first, until everything fits."""
        mine = {plan.target for plan in plans}
        needed = sum(_bytes([(plan.file, plan.facts)], plan.limit) for plan in plans)
        others = [path for path in self.folder.glob("*.npy") if path not in mine]
        others.sort(key=lambda path: path.stat().st_mtime)
        used = sum(path.stat().st_size for path in others)
        for path in others:
            if used + needed <= self.limit:
                break
            used -= path.stat().st_size
            path.unlink(missing_ok=True)


def probe_facts(file: FoundFile, size: Any, folder: Path) -> Facts:
    """Find the number of frames of a video and the size to decode it to, from the cache's note if there is one.

    Args:
        file: the video.
        size: width and height of the video → size to decode it to.
        folder: the cache's folder.

    Raises:
        UnreadableError: the file is not a video.
    """
    status = file.path.stat()
    key = f"{os.path.abspath(file.path)} {status.st_size} {status.st_mtime_ns}"
    note = folder / (hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:24] + ".json")
    try:
        facts = Facts(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        from vidtwin_codec.media import probe

        try:
            info = probe(file.path)
        except VidtwinError as error:
            raise UnreadableError(_without_path(error, file)) from error
        facts = Facts(info.frames, info.width, info.height)
        with atomic_path(note) as temporary:
            temporary.write_text(json.dumps(asdict(facts)), encoding="utf-8")
    return Facts(facts.frames, *size(facts.width, facts.height))


def _most_frames(found: Sequence[tuple[FoundFile, Facts]], limit: float) -> int | None:
    """Find the largest number of frames, in whole runs, that each video may have; None if everything fits."""
    if all(facts.frames is not None for _, facts in found) and _bytes(found, None) <= limit:
        return None
    low, high = 1, 1 << 24  # runs; low fits
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _bytes(found, middle * RUN) <= limit else (low, middle)
    return low * RUN


def _bytes(found: Sequence[tuple[FoundFile, Facts]], limit: int | None) -> int:
    total = 0
    for _, facts in found:
        frames = facts.frames if facts.frames is not None else (limit or 0)
        total += (frames if limit is None else min(frames, limit)) * facts.frame_bytes + 128
    return total


def _open(plan: CachePlan) -> Footage | None:
    if not plan.target.exists():
        return None
    os.utime(plan.target)  # marks it as used now
    frames, height, width = np.load(plan.target, mmap_mode="r").shape[:3]
    spread = plan.limit is not None and plan.facts.frames is not None
    return Footage(plan.file.name, plan.target, frames, height, width, RUN if spread else max(frames, 1))


def _decode(plan: CachePlan) -> str | None:
    """Write the frames of one video; return the reason if that fails."""
    from vidtwin_codec.media import FrameReader, probe

    try:
        try:
            info = probe(plan.file.path)
        except VidtwinError as error:
            raise UnreadableError(_without_path(error, plan.file)) from error
        prefix = plan.limit if plan.facts.frames is None else None
        with (
            FrameReader(info, width=plan.facts.width, height=plan.facts.height, max_frames=prefix) as reader,
            atomic_path(plan.target) as temporary,
            temporary.open("wb") as stream,
        ):
            _write(stream, reader, plan)
    except UnreadableError as error:
        return str(error)
    return None


def _write(stream: BinaryIO, reader: FrameReader, plan: CachePlan) -> None:
    shape = (plan.facts.height, plan.facts.width, 3)
    header: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": (0, *shape)}
    np.lib.format.write_array_header_1_0(stream, header)
    start = stream.tell()
    kept = _kept_runs(plan)
    count = number = 0
    while True:
        frames = _read(reader, plan)
        if not len(frames):
            break
        if kept is None or (number in kept and len(frames) == RUN):
            stream.write(frames.data)
            count += len(frames)
        number += 1
        if kept is not None and number > max(kept):
            break
    # numpy leaves room in the header for the first axis to grow
    stream.seek(0)
    np.lib.format.write_array_header_1_0(stream, {**header, "shape": (count, *shape)})
    if stream.tell() != start:
        raise RuntimeError("numpy wrote a header of another length")


def _kept_runs(plan: CachePlan) -> set[int] | None:
    """Choose the evenly spread runs that are kept of a video that does not fit; None keeps all that is read."""
    if plan.limit is None or plan.facts.frames is None:
        return None
    wanted, there = plan.limit // RUN, plan.facts.frames // RUN
    return {number * there // wanted for number in range(wanted)}


def _read(reader: FrameReader, plan: CachePlan) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Read the next :data:`RUN` frames, or fewer at the end."""
    try:
        return reader.read_full(RUN)
    except VidtwinError as error:
        raise UnreadableError(_without_path(error, plan.file)) from error


def _without_path(error: VidtwinError, file: FoundFile) -> str:
    return error.message.removeprefix(f"{file.path}: ")
