"""Inspection of a .vtw from front to back: which groups are whole, what is lost, what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from vidtwin_codec.coding import Allowance, TooMuchWorkError
from vidtwin_codec.coding.allowance import UNLIMITED
from vidtwin_codec.container.header import Header
from vidtwin_codec.container.index import GroupEntry, Index
from vidtwin_codec.container.scan import (
    AudioFrame,
    Damage,
    ForeignFrame,
    Frame,
    GroupFrame,
    IndexFrame,
    Unchecked,
    frame_at,
    scan,
)
from vidtwin_codec.container.source import ByteSource

UNFINISHED = "not checked from byte"
"""The start of the message that the allowance did not suffice."""


class FrameRange(NamedTuple):
    """The video frames from ``first`` to ``end - 1``."""

    first: int
    end: int

    def __str__(self) -> str:
        return f"frame {self.first}" if self.end - self.first == 1 else f"frames {self.first} to {self.end - 1}"


@dataclass
class Inspection:
    """The findings of an inspection.

    Attributes:
        groups: whole groups, in order.
        audio: intact audio frames, in order.
        lost: frames known to be in the video whose group is damaged or missing.
        problems: the problems, one line each; empty for an intact file.
        index: the index of this file, even where it is not at the end; None when it is missing or damaged.
        ending: the problem with the end of the file, which is also in ``problems``; empty if there is none.
    """

    groups: list[GroupEntry] = field(default_factory=list)
    audio: list[AudioFrame] = field(default_factory=list)
    lost: list[FrameRange] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    index: Index | None = None
    ending: str = ""


def inspect(
    source: ByteSource,
    header: Header,
    header_crc: int,
    start: int,
    *,
    symbols: bool = False,
    allowance: Allowance = UNLIMITED,
) -> Inspection:
    """Check every byte from ``start`` on; bad contents never raise an error.

    Args:
        source: the bytes of the file.
        header: the header of the file.
        header_crc: the checksum that closes the header frame.
        start: the position at which the header frame ends.
        symbols: whether to decode all symbols, too.
        allowance: the work that may be spent; contents beyond it count as a problem.
    """
    # hours of black are the same group again and again
    decoded: set[bytes] | None = set() if symbols else None
    found_frames = scan(source, header, start, decoded=decoded, allowance=allowance)
    frames: list[Frame] = [frame for frame in found_frames if not isinstance(frame, ForeignFrame)]
    found = Inspection()
    try:
        if not frames or not isinstance(frames[-1], Unchecked):
            _judge(found, frames, source, header, header_crc, decoded, allowance)
            return found
        rest, reason = frames[-1].offset, frames[-1].reason
    except TooMuchWorkError as error:  # what only the index tells of has been looked for
        found, rest, reason = Inspection(), start, error.message
    _judge_by_order(found, [frame.entry for frame in frames if isinstance(frame, GroupFrame)])
    found.problems += [f"{_where(frame)}: {frame.reason}" for frame in frames if isinstance(frame, Damage)]
    found.audio = [frame for frame in frames if isinstance(frame, AudioFrame)]
    found.ending = f"{UNFINISHED} {rest} on, which {reason}"
    found.problems.append(found.ending)
    return found


def _judge(
    found: Inspection,
    frames: list[Frame],
    source: ByteSource,
    header: Header,
    header_crc: int,
    decoded: set[bytes] | None,
    allowance: Allowance,
) -> None:
    """Fill in ``found`` from all frames of a file."""
    found.ending = _find_index(found, frames, source, header, header_crc)
    groups = [frame.entry for frame in frames if isinstance(frame, GroupFrame)]
    damages = {frame.offset: frame for frame in frames if isinstance(frame, Damage)}
    if found.index is None:
        _judge_by_order(found, groups)
    else:
        _judge_by_index(found, found.index, groups, damages, partial(_group_at, source, header, decoded, allowance))
    found.problems += [f"{_where(damage)}: {damage.reason}" for damage in damages.values()]
    found.problems += [found.ending] if found.ending else []
    _judge_audio(found, frames, header)


def index_problem(index: Index, offset: int, header: Header, header_crc: int) -> str | None:
    """Return why an intact index at ``offset`` cannot belong to a file with this header, or None if it can."""
    if index.offset != offset or index.header_crc != header_crc:
        return "the index does not belong to this file"
    try:
        for entry in index.groups:
            header.check_span(entry.span)
    except ValueError as error:
        return f"the index does not fit the header: a group {error}"
    return None


def _find_index(found: Inspection, frames: list[Frame], source: ByteSource, header: Header, header_crc: int) -> str:
    """Set ``found.index``, cut ``frames`` off after it, and return what is wrong with the end of the file."""
    for at, frame in enumerate(frames):
        if not isinstance(frame, IndexFrame):
            continue
        problem = index_problem(frame.index, frame.offset, header, header_crc)
        if problem is None:
            del frames[at:]
            found.index = frame.index
            extra = source.size - frame.offset - frame.size
            return f"{extra} bytes follow the index, which should be the end of the file" if extra else ""
        if at == len(frames) - 1:
            return problem
    last = frames[-1] if frames else None
    if isinstance(last, Damage) and not last.truncated:
        return "the index at the end is missing or damaged"
    return "the file is truncated: the index at its end is missing"


def _judge_by_index(
    found: Inspection,
    index: Index,
    groups: list[GroupEntry],
    damages: dict[int, Damage],
    locate: Callable[[int], GroupEntry | None],
) -> None:
    """Sort the index's groups into whole and lost; damage reported as a lost group is removed from ``damages``."""
    by_offset = {entry.offset: entry for entry in groups}
    for entry in index.groups:
        # a damaged frame before it may seem to contain an intact group, but the index knows where the group is
        actual = by_offset.pop(entry.offset, None) or locate(entry.offset)
        if actual is None or (actual.size, actual.span) != (entry.size, entry.span):
            damage = damages.pop(entry.offset, None)
            reason = "is not what the index says" if actual else damage.reason if damage else "is damaged"
            found.lost.append(FrameRange(entry.first_frame, entry.span.end_frame))
            found.problems.append(f"{found.lost[-1]} are lost: group at byte {entry.offset}: {reason}")
            continue
        found.groups.append(entry)
        if actual.crc != entry.crc:
            found.problems.append(f"group at byte {entry.offset}: its contents are whole, but not the bytes indexed")
    found.problems += [f"group at byte {offset}: is not in the index" for offset in by_offset]


def _judge_by_order(found: Inspection, groups: list[GroupEntry]) -> None:
    """Find lost frames without an index: gaps in the numbers tell of them, except after the last group."""
    end_frame = end_clip = 0
    for entry in groups:
        if entry.first_clip < end_clip:
            found.problems.append(f"group at byte {entry.offset}: repeats frames that came before")
            continue
        if entry.first_clip > end_clip:
            found.lost.append(FrameRange(end_frame, entry.first_frame))
            found.problems.append(f"{found.lost[-1]} are lost: no whole group holds them")
        found.groups.append(entry)
        end_frame, end_clip = entry.span.end_frame, entry.span.end_clip


def _judge_audio(found: Inspection, frames: list[Frame], header: Header) -> None:
    repeated = 0
    for frame in frames:
        if isinstance(frame, AudioFrame):
            if found.audio and frame.number <= found.audio[-1].number:
                repeated += 1
            else:
                found.audio.append(frame)
    last = found.audio[-1].number if found.audio else -1
    expected = found.index.audio_frames if found.index else last + 1
    if repeated:
        found.problems.append(f"audio: {repeated} pieces are out of order")
    if len(found.audio) < expected:
        found.problems.append(f"audio: {expected - len(found.audio)} of {expected} pieces are lost")
    elif found.index and (last >= expected or sum(f.audio_bytes for f in found.audio) != found.index.audio_bytes):
        found.problems.append("audio: its size is not what the index says")
    elif found.index and not expected and header.audio is not None:
        found.problems.append("audio: the header announces some, but none is there")
    if found.audio and header.audio is None:
        found.problems.append("audio: the header announces none")


def _group_at(
    source: ByteSource, header: Header, decoded: set[bytes] | None, allowance: Allowance, offset: int
) -> GroupEntry | None:
    frame = frame_at(source, header, offset, decoded=decoded, allowance=allowance)
    return frame.entry if isinstance(frame, GroupFrame) else None


def _where(damage: Damage) -> str:
    return f"bytes {damage.offset} to {damage.offset + damage.size - 1}"
