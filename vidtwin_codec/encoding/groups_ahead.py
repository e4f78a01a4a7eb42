"""Groups of wide latents on several cores: where the open group is likely to end, the next ones are begun meanwhile.

Where a group ends depends on the bits of its clips. If it goes on, because the scene stands still, what was begun
behind it is thrown away. So the bytes are those of coding one clip after the other, and only time is at stake.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from vidtwin_codec import machine
from vidtwin_codec.closing import Closing
from vidtwin_codec.coding import LatentArrays, Steps
from vidtwin_codec.coding.coders import CODERS, SPARSE
from vidtwin_codec.coding.sparse.coder import BUFFER
from vidtwin_codec.coding.sparse.jit import COMPILED
from vidtwin_codec.encoding.encoder import Encoder, Piece
from vidtwin_codec.encoding.groups import PackedGroup
from vidtwin_codec.encoding.wide_groups import GroupCoder, Grouping, WideClip, wide_clips

_SURELY_ZERO = 0.49
"""Below this share of a step a latent becomes zero, whether it is rounded or weighed, unless it is predicted."""
_ROOM = 512 << 20
"""Most bytes of clips that wait."""
_SHARE_OF_MEMORY = 16
"""Neither they nor the groups that are coded ahead take more than one in so many bytes of the machine's memory."""


class Spare:
    """Cores that packers share to code groups ahead.

    Attributes:
        count: number of them.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._left = threading.Semaphore(count)

    def take(self) -> bool:
        """Take a core, if one is left, and return whether one was."""
        return self._left.acquire(blocking=False)

    def give(self) -> None:
        """Give a core back."""
        self._left.release()


@functools.cache
def spare_cores() -> Spare:
    """Return those of this process: half of all, but for one that every packer has anyway."""
    return Spare(max(0, min(machine.cores(), torch.get_num_threads()) // 2 - 1))


def most_ahead(grouping: Grouping, spare: Spare) -> int:
    """Return how many groups of a video may be coded ahead, with these cores and the memory there is."""
    if not COMPILED:  # plain Python runs on one core at a time
        return 0
    elements = grouping.tiles * grouping.layout.elements
    # latents, targets and symbols of a clip, and the coder's records of two
    coder = CODERS[SPARSE].cost(grouping.layout, 1, grouping.tiles, 0).memory + 12 * elements + BUFFER
    return min(spare.count, int(machine.memory() // _SHARE_OF_MEMORY // coder))


class WaitingClip:
    """A clip that waits to be coded, without the latents that become zero in any case, which are nearly all."""

    def __init__(self, clip: WideClip, steps: Steps) -> None:
        self.number = clip.span.first_clip
        self._clip = clip._replace(latents=clip.latents._replace(structure=np.empty(0, np.float32)))
        structure = clip.latents.structure
        self._shape = structure.shape
        # slot 0 is coded as a difference, so any of it may count; a copy, so that all else can be freed
        self._first = structure[:, 0].copy()
        self._rest = [
            [_sparse(of_slot, _SURELY_ZERO * step) for of_slot, step in zip(tile[1:], steps.structure[1:], strict=True)]
            for tile in structure
        ]

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        rest = sum(where.nbytes + values.nbytes for tile in self._rest for where, values in tile)
        return self._first.nbytes + rest

    def whole(self) -> WideClip:
        """Return the clip, with zeros in place of what was left out."""
        structure = np.zeros(self._shape, np.float32)
        structure[:, 0] = self._first
        for tile, slots in zip(structure, self._rest, strict=True):
            for of_slot, (where, values) in zip(tile[1:], slots, strict=True):
                of_slot.reshape(-1)[where] = values
        return self._clip._replace(latents=LatentArrays(structure, *self._clip.latents[1:]))


def _sparse(values: NDArray[np.float32], least: NDArray[np.floating]) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return where values are not below ``least``, one a channel, and these values; NaN counts as not below."""
    where = np.flatnonzero(~(np.abs(values) < least)).astype(np.uint32)
    return where, values.reshape(-1)[where]


class _Run:
    """A group that threads code, from a clip on.

    Attributes:
        start: number of its first clip.
        at: number of the clip that is next.
        busy: whether a thread is at it.
        stopped: whether its result is no longer wanted.
        packed: the group, once it has ended.
        error: what went wrong.
    """

    def __init__(self, grouping: Grouping, start: int) -> None:
        self.coder = GroupCoder(grouping)
        self.start = self.at = start
        self.busy = self.stopped = False
        self.packed: PackedGroup | None = None
        self.error: BaseException | None = None


class AheadPacker(Closing):
    """A :class:`~vidtwin_codec.encoding.groups.GroupPacker` that codes on threads of its own.

    Args:
        encoder: where the clips come from.
        grouping: how they are coded.
        spare: gives a core to each group that is coded ahead.
        most: most such groups.
        room: most bytes of clips that wait.
    """

    def __init__(self, encoder: Encoder, grouping: Grouping, spare: Spare, most: int, room: int = _ROOM) -> None:
        self.steps = grouping.steps
        self._encoder, self._grouping, self._spare, self._most = encoder, grouping, spare, most
        self._room = min(room, machine.memory() // _SHARE_OF_MEMORY)
        self._changed = threading.Condition()
        # what follows is changed with the lock held
        self._clips, self._bytes = deque[WaitingClip](), 0
        self._end = 0  # one past the last clip that was added
        self._runs = deque[_Run]()  # the first one begins where a group does, the others may
        self._closed = deque[PackedGroup]()
        self._pool = ThreadPoolExecutor(1 + most, thread_name_prefix="vidtwin-pack")

    def add(self, piece: Piece) -> Iterator[PackedGroup]:
        """See :class:`~vidtwin_codec.encoding.groups.GroupPacker`; waits while too many clips wait."""
        for clip in wide_clips(self._encoder, piece):
            waiting = WaitingClip(clip, self.steps)
            size = waiting.nbytes
            with self._changed:
                self._changed.wait_for(functools.partial(self._has_room, size))
                if not self._runs:
                    self._begin(waiting.number)
                self._clips.append(waiting)
                self._bytes += size
                self._end = waiting.number + 1
                self._arrange()
            yield from self._taken()

    def flush(self) -> Iterator[PackedGroup]:
        """See :class:`~vidtwin_codec.encoding.groups.GroupPacker`."""
        while self._runs:
            with self._changed:
                self._changed.wait_for(self._is_through)
                if self._runs and self._runs[0].packed is None:
                    self._runs[0].packed = self._runs[0].coder.close()
                    self._arrange()
            yield from self._taken()

    def close(self) -> None:
        """Stop what still goes on, after the clips at hand."""
        with self._changed:
            self._stop_from(0)
        self._pool.shutdown(cancel_futures=True)

    def _taken(self) -> Iterator[PackedGroup]:
        while self._closed:
            yield self._closed.popleft()

    def _has_room(self, size: int) -> bool:
        self._arrange()
        return not self._clips or self._bytes + size <= self._room

    def _is_through(self) -> bool:
        """Whether the first group has come to the last clip, or there is none."""
        self._arrange()
        return not self._runs or (not self._runs[0].busy and self._runs[0].at == self._end)

    def _arrange(self) -> None:
        """Take groups that have ended, drop clips that nobody needs, and set threads to work."""
        while self._runs:
            first = self._runs[0]
            if first.error is not None:
                raise first.error
            if len(self._runs) > 1 and first.at > self._runs[1].start:
                self._stop_from(1)  # it went on
            if first.packed is None:
                break
            end = first.packed.span.end_clip
            self._closed.append(first.packed)
            self._runs.popleft()
            if self._runs and self._runs[0].start != end:
                self._stop_from(0, ahead=True)
            if self._runs:
                self._spare.give()  # it is no longer ahead
            elif end < self._end:
                self._begin(end)
        while self._clips and self._runs and self._clips[0].number < self._runs[0].at:
            self._bytes -= self._clips.popleft().nbytes
        self._begin_ahead()
        for run in self._runs:
            if not run.busy and run.packed is None and run.error is None and run.at < self._end:
                run.busy = True
                self._submit(run)

    def _submit(self, run: _Run) -> None:
        try:
            self._pool.submit(self._work, run)
        except RuntimeError as error:
            if machine.is_thread_refusal(error):
                raise machine.no_threads() from error
            raise

    def _begin(self, start: int) -> None:
        self._runs.append(_Run(self._grouping, start))

    def _begin_ahead(self) -> None:
        while 0 < len(self._runs) <= self._most:
            start = self._grouping.likely_end(self._runs[-1].start)
            if start >= self._end or not self._spare.take():
                return
            self._begin(start)

    def _stop_from(self, number: int, *, ahead: bool = False) -> None:
        """Stop runs from ``number`` on; all but the first are ahead, and with ``ahead`` that one, too."""
        while len(self._runs) > number:
            self._runs.pop().stopped = True
            if self._runs or ahead:
                self._spare.give()

    def _work(self, run: _Run) -> None:
        """Code clips of a group for as long as there are some."""
        try:
            while (waiting := self._next(run)) is not None:
                if run.coder.ends_before(waiting.number):
                    packed = run.coder.close()
                    with self._changed:
                        run.packed, run.busy = packed, False
                        self._changed.notify_all()
                    return
                run.coder.add(waiting.whole())
                with self._changed:
                    run.at += 1
                    self._changed.notify_all()
        except BaseException as error:  # carried over to the thread that adds clips, which raises it
            with self._changed:
                run.error, run.busy = error, False
                self._changed.notify_all()

    def _next(self, run: _Run) -> WaitingClip | None:
        """Return the clip that is next, or leave the group alone until there is one."""
        with self._changed:
            if not run.stopped and run.at < self._end:
                return self._clips[run.at - self._clips[0].number]
            run.busy = False
            self._changed.notify_all()
            return None
