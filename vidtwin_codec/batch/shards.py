"""Sharing a batch out to machines that do not communicate: each computes the same shards and takes its own."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """Part ``number`` (from 1) of ``count``."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse text such as ``3/8``.

        Raises:
            ValueError: the text is not a shard; the message says what one looks like.
        """
        number, slash, count = text.partition("/")
        try:
            shard = cls(int(number), int(count))
        except ValueError:
            raise ValueError(f"{text!r} is not a shard; try 1/4") from None
        if not slash or not 1 <= shard.number <= shard.count:
            raise ValueError(f"there is no shard {text}: they are 1/{shard.count} to {shard.count}/{shard.count}")
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def shard_members(seconds: Sequence[float], shard: Shard) -> list[int]:
    """Choose the files of a shard, by index, so that all shards take about as long.

    The longest file goes first, each to the shard that has the least so far. No shard then has more than 4/3 of what
    the best possible sharing would give it (R. Graham, "Bounds on multiprocessing timing anomalies", SIAM Journal on
    Applied Mathematics 17, 1969). The result depends on the arguments alone.

    Args:
        seconds: length of each file.
        shard: the shard wanted.
    """
    loads = [(0.0, 0, number) for number in range(1, shard.count + 1)]  # seconds, files, shard
    mine = []
    for index in sorted(range(len(seconds)), key=lambda index: (-seconds[index], index)):
        load, files, number = loads[0]
        heapq.heapreplace(loads, (load + seconds[index], files + 1, number))
        if number == shard.number:
            mine.append(index)
    return sorted(mine)
