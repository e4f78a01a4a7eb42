"""The scale of a channel's symbols, in half octaves, which makes the errors of different channels comparable."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.context.planes import Plane
from vidtwin_codec.coding.context.tokens import Ints

# Scale of each index, in quarters of a symbol: 1, 1.5, 2, 3, 4, 6 ... quarters, doubled to stay whole.
SCALES: Ints = np.array([(2 + half) << octave for octave in range(24) for half in (0, 1)], dtype=np.int64)
SPAN = 16  # indices fit in four bits beside a common base


def measure(planes: tuple[Plane, Plane], classes: int) -> Ints:
    """Return an index into `SCALES` for each class: its mean magnitude, within `SPAN` of the largest."""
    sums = np.zeros(classes)
    counts = np.zeros(classes)
    for plane in planes:
        magnitudes = np.abs(plane.values).sum(axis=0, dtype=np.float64)
        owners = np.broadcast_to(plane.classes, magnitudes.shape)
        sums += np.bincount(owners.ravel(), magnitudes.ravel(), classes)
        counts += len(plane.values) * np.bincount(owners.ravel(), minlength=classes)
    means = 4 * sums / counts
    found: Ints = np.abs(np.log(np.maximum(means, 1))[:, None] - np.log(SCALES)).argmin(axis=1)
    indices: Ints = np.maximum(found, int(found.max()) - (SPAN - 1))
    return indices


def to_bytes(indices: Ints) -> bytes:
    """Write the least index, then each class's difference to it in four bits, low half of a byte first."""
    base = int(indices.min())
    rest = np.concatenate([indices - base, np.zeros(len(indices) % 2, dtype=np.int64)])
    packed: NDArray[np.uint8] = (rest[0::2] | rest[1::2] << 4).astype(np.uint8)
    return bytes([base]) + packed.tobytes()


def byte_count(classes: int) -> int:
    """Return the number of bytes that `to_bytes` writes."""
    return 1 + (classes + 1) // 2


def from_bytes(data: bytes, classes: int) -> Ints:
    """Return the scale of each class, from `byte_count` bytes that need not be trusted.

    Raises:
        ValueError: an index is too large.
    """
    packed: NDArray[np.uint8] = np.frombuffer(data, dtype=np.uint8)
    halves = np.stack([packed[1:] & 15, packed[1:] >> 4], axis=1).reshape(-1)[:classes]
    indices = halves.astype(np.int64) + int(packed[0])
    if int(indices.max()) >= len(SCALES):
        raise ValueError("a channel's scale is out of range")
    return SCALES[indices]
