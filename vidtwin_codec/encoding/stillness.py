"""Longer groups where the scene stands still.

A group decodes alone, so its first clip is coded in full, which is nearly all of its bits where nothing moves. So a
group goes on while clips take few bits beside its first one. It ends at multiples of about a minute all the same, where
a video can be split to encode its parts apart (:meth:`~vidtwin_codec.network.geometry.Geometry.most_clips_per_group`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import Group, LatentArrays

STILL_SHARE = 0.25
"""A clip stands still if its difference to the clip before takes at most this share of the bits of the clip itself, by
a rough count; or, where clips are coded one by one, if it took at most this share of the bits of its group's first
clip. With such savings the first clip would be most of the bytes of a new group."""


class Joiner:
    """A joiner takes groups in order, and returns longer ones; it keeps one at a time.

    Args:
        most_clips: most clips of a group; no group crosses a multiple of it.
    """

    def __init__(self, most_clips: int) -> None:
        self._most_clips = most_clips
        self._open: Group | None = None

    def add(self, group: Group) -> Group | None:
        """Take the next group; return the one before it, if ``group`` does not continue it."""
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
        """Return the last group, if there was any."""
        done, self._open = self._open, None
        return done


def _alike(one: Group, other: Group) -> bool:
    """Whether two groups could be one: where the camera is followed, nothing stands still."""
    return one.tiles == other.tiles and not any(one.placements + other.placements)


def goes_on(clip_bits: list[float]) -> bool:
    """Whether a scene stands still, by the bits of the clips of a group so far."""
    return clip_bits[-1] <= STILL_SHARE * clip_bits[0]


def stands_still(before: Group, group: Group) -> bool:
    """Whether every clip of ``group`` is almost the same as the clip before it, which may be the last of ``before``."""
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
    symbols = LatentArrays.concatenate([one.symbols, other.symbols])
    frames, clips = one.frames + other.frames, one.clips + other.clips
    return Group(one.first_frame, frames, one.first_clip, clips, one.tiles, symbols)
