"""The work and memory that importing latents takes, estimated before anything is written.

A compressed archive of a few kilobytes may hold a hundred million zeros, and its description any number of groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from vidtwin_codec.coding.allowance import (
    SMALL_FILE,
    SMALL_FILE_MEMORY,
    SMALL_FILE_WORK,
    WORK_PER_BYTE,
    Allowance,
    Cost,
)
from vidtwin_codec.coding.context import ContextCoder
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.latents.description import Description

MEMORY_PER_BYTE = 400  # beyond SMALL_FILE: compressed arrays may take two hundred times their bytes
# Estimated nanoseconds, and bytes in memory, to quantise and pack.
_PER_GROUP, _PER_WIDE_GROUP = 1_500_000, 10_000_000
_PER_CLIP, _PER_WIDE_CLIP = 6_000, 1_000_000
_PER_SYMBOL, _PER_WIDE_SYMBOL = 300, 25
_SYMBOL_BYTES = 30
_NARROW = ContextCoder(0, "")


def check_work(described: Iterable[Description], file_bytes: int, array_bytes: int) -> None:
    """Make sure that importing takes no more than a file of this size is worth.

    Args:
        described: the videos.
        file_bytes: size of the file that holds them.
        array_bytes: bytes of arrays that are in memory as a whole.

    Raises:
        VidtwinError: it takes more.
    """
    more = max(0, file_bytes - SMALL_FILE)
    allowance = Allowance(SMALL_FILE_WORK + WORK_PER_BYTE * more, SMALL_FILE_MEMORY + MEMORY_PER_BYTE * more)
    try:
        for video in described:
            cost = _cost(video)
            allowance.spend(cost.work, cost.memory + array_bytes)
    except VidtwinError as error:
        raise VidtwinError(f"importing it {error.message}", "save it uncompressed (np.savez)") from error


def _cost(video: Description) -> Cost:
    symbols = video.tiles * sum(prod(shape) for shape in video.shapes)
    layout, most = video.header.layout, max(video.group_clips)
    work: float
    if layout.patterns is not None:
        work = _PER_WIDE_GROUP * len(video.group_clips) + video.clips * (_PER_WIDE_CLIP + _PER_WIDE_SYMBOL * symbols)
        return Cost(work, _SYMBOL_BYTES * symbols)
    work = _PER_GROUP * len(video.group_clips) + video.clips * (_PER_CLIP + _PER_SYMBOL * symbols)
    if _NARROW.fits(layout, most):
        # its cost but for the symbols, which are counted: the rows of each group's walk
        rows = _NARROW.cost(layout, most, 0, 0).work
        work += rows * len(video.group_clips)
    return Cost(work, _SYMBOL_BYTES * most * symbols)
