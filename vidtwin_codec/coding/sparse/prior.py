"""The trained start of the models, part of the format: expected sizes, probabilities, counts, weights."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.sparse.bands import BANDS
from vidtwin_codec.coding.sparse.contexts import STATES, WEIGHTS

PRIOR_FILE = Path(__file__).with_name("prior.npz")


@cache
def sigmas() -> NDArray[np.uint8]:
    """``[16, 3 * BANDS]`` expected sizes of a slot's bands, in eighths of an octave above 2**-15."""
    if PRIOR_FILE.exists():
        with np.load(PRIOR_FILE) as data:
            return np.asarray(data["sigmas"])
    return np.full((16, 3 * BANDS), 100, np.uint8)


@cache
def _start() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    states = np.full(STATES, 1 << 30, np.int32)
    weights = np.full(WEIGHTS, (1 << 15) // 3, np.int32)
    if PRIOR_FILE.exists():
        with np.load(PRIOR_FILE) as data:
            states = (data["chances"].astype(np.int32) << 15) | data["counts"]
            weights = data["weights"].astype(np.int32)
    return states, weights


def start() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """States and weights at the beginning of a group, to be changed at will."""
    states, weights = _start()
    return states.copy(), weights.copy()
