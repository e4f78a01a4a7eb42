"""Groups that last as long as the scene stands still.

A group decodes alone, so its first clip is coded in full; where nothing moves, that is nearly all it costs. So a group
goes on while clips cost little beside its first one. It ends at multiples of about a minute all the same: there a video
can be cut, and its parts encoded apart (:meth:`~vidtwin_codec.network.geometry.Geometry.most_clips_per_group`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import Group, LatentArrays

STILL_SHARE = 0.25
"""A clip stands still when its difference to the clip before takes at most this share of the bits it takes itself, by a
rough count; or, where clips are coded one by one, when it took at most this share of the bits of its group's first. So
much saved, a restart would be the larger part of a group's bytes."""


class Joiner:
    """Takes groups as they come and gives back longer ones; keeps one at a time.

    Args:
        most_clips: of a group, and the multiples that no group reaches across.
    """

    def __init__(self, most_clips: int) -> None:
        self._most_clips = most_clips
        self._open: Group | None = None

    def add(self, group: Group) -> Group | None:
        """Take the next group; returns the one before it, when ``group`` does not go on with it."""
        done = self._open
        if (
            done is not None
            and group.first_clip % self._most_clips
            and _alike(done, group)
            and stands_still(done, group)
        ):
            self._open = _joined(done, group)
            return None
        self._open = group
        return done

    def flush(self) -> Group | None:
        """The last group, if there was any."""
        done, self._open = self._open, None
        return done


def _alike(one: Group, other: Group) -> bool:
    """Whether two groups could be one: where the camera is followed, nothing stands still."""
    return one.tiles == other.tiles and not any(one.placements + other.placements)


def goes_on(clip_bits: list[float]) -> bool:
    """Whether a scene stands still, by the bits of the clips of a group so far."""
    return clip_bits[-1] <= STILL_SHARE * clip_bits[0]


def stands_still(before: Group, group: Group) -> bool:
    """Whether every clip of ``group`` is almost what the clip before it is, the first one's being ``before``'s last."""
    own, changed = np.zeros(group.clips), np.zeros(group.clips)
    for old, new in zip(before.symbols, group.symbols, strict=True):
        clips = np.concatenate([old[-before.tiles :], new]).reshape(group.clips + 1, -1)
        own += _bits_about(clips[1:])
        changed += _bits_about(np.diff(clips, axis=0))
    return bool((changed <= STILL_SHARE * own).all())


def _bits_about(values: NDArray[np.int32]) -> NDArray[np.float64]:
    bits: NDArray[np.float64] = np.log2(1.0 + 2.0 * np.abs(values)).sum(axis=1)
    return bits


def _joined(one: Group, other: Group) -> Group:
    symbols = LatentArrays(*(np.concatenate(pair) for pair in zip(one.symbols, other.symbols, strict=True)))
    frames, clips = one.frames + other.frames, one.clips + other.clips
    return Group(one.first_frame, frames, one.first_clip, clips, one.tiles, symbols)
