"""How much each clip and each channel of a file says, counted in bits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding import LatentArrays
from vidtwin_codec.latents.clips import ClipLatents
from vidtwin_codec.latents.file import VtwFile

Bits = NDArray[np.float64]


@dataclass(frozen=True)
class Information:
    """Bits of an ideal coder that knows how often each symbol occurs in its channel, and nothing of its surroundings.

    The real coder predicts and adapts, so that it takes fewer on most videos; it codes whole groups, whose bytes cannot
    be told apart by clip or channel.

    Attributes:
        structure: ``[clips, n_q, d_S]``, summed over tiles and places.
        dynamics_x: ``[clips, d_D]``, summed over tiles, frames and columns.
        dynamics_y: ``[clips, d_D]``, summed over tiles, frames and rows.
    """

    structure: Bits
    dynamics_x: Bits
    dynamics_y: Bits


def measure_information(file: VtwFile) -> Information:
    """Read a file twice, a few clips at a time: once to count symbols, once to add up what they cost.

    Raises:
        VidtwinError: a group is damaged.
    """
    fields = LatentArrays._fields
    counts: dict[str, list[Counter[int]]] = {}
    for clips in file.pieces():
        for field in fields:
            rows = _by_channel(clips, field).reshape(-1, _channels(clips, field)).T
            counters = counts.setdefault(field, [Counter() for _ in rows])
            for counter, row in zip(counters, rows, strict=True):
                values, times = np.unique(row, return_counts=True)
                counter.update(dict(zip(values.tolist(), times.tolist(), strict=True)))
    tables = {field: [_costs(counter) for counter in counters] for field, counters in counts.items()}
    parts: dict[str, list[Bits]] = {field: [] for field in fields}
    for clips in file.pieces():
        for field in fields:
            symbols = _by_channel(clips, field)
            bits = [
                costs[symbols[:, :, channel].astype(np.int64) - low].sum(axis=1)
                for channel, (low, costs) in enumerate(tables[field])
            ]
            parts[field].append(np.stack(bits, axis=1))
    structure, dynamics_x, dynamics_y = (np.concatenate(parts[field]) for field in fields)
    slots, _, _, depth = file.header.layout.structure
    return Information(structure.reshape(-1, slots, depth), dynamics_x, dynamics_y)


def _by_channel(clips: ClipLatents, field: str) -> NDArray[np.integer]:
    """``[clips, places, channels]``."""
    symbols = clips.symbols
    if field == "structure":
        array = symbols.structure.transpose(0, 1, 3, 4, 2, 5)  # clip, tile, row, column, slot, channel
    else:
        array = getattr(symbols, field).transpose(0, 1, 3, 4, 2)  # clip, tile, frame, position, channel
    return array.reshape(len(array), -1, _channels(clips, field))


def _channels(clips: ClipLatents, field: str) -> int:
    return int(getattr(clips.steps, field).size)


def _costs(counter: Counter[int]) -> tuple[int, Bits]:
    """Least symbol, and the bits of each from it on."""
    low, high, total = min(counter), max(counter), counter.total()
    costs = np.zeros(high - low + 1)
    for symbol, times in counter.items():
        costs[symbol - low] = np.log2(total / times)
    return low, costs
