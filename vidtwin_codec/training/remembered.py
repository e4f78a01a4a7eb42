"""Decoded frames that a post-filter learns from, kept for many steps.

What stands before the filter does not change in such a run, and takes most of the time. So crops of its frames are kept
for a while, and each step learns from crops of many clips and of many qualities: four clips of a step alone are too few
to tell the filter from noise. Once enough are kept, only every eighth step brings new ones, and the others are the
faster for it. Source: L.-J. Lin, "Self-improving reactive agents based on reinforcement learning,
planning and teaching", Machine Learning 8, 1992 (replaying what was seen before).
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

KEPT = 256
"""Number of steps whose crops are kept."""
_EVERY = 8
"""Of so many steps one brings new crops, once enough are kept."""
_BATCH = 48
"""Number of crops that a step learns from."""
_SIDE = 64
_PER_FRAME = 4


class Crops(NamedTuple):
    """N crops of decoded frames.

    Attributes:
        decoded: without the filter, in [-1, 1], ``[N, side, side, 3]``.
        source: what they should be, uint8 ``[N, side, side, 3]``.
        coarseness: of the latents, ``[N]``.
    """

    decoded: Tensor
    source: Tensor
    coarseness: Tensor


def brings_crops(step: int) -> bool:
    """Return whether crops of a step's clips are kept."""
    return step < KEPT or step % _EVERY == 0


def first_kept(step: int) -> int:
    """Return the first of the steps before this one whose crops are still kept."""
    kept = islice(filter(brings_crops, range(step - 1, -1, -1)), KEPT)
    return min(kept, default=step)


class Remembered:
    """The crops of some steps. Which are cut and drawn follows from the seed and the step.

    Args:
        seed: seed of everything random.

    Attributes:
        step: the step at hand, which drawing ends.
    """

    def __init__(self, seed: int) -> None:
        self.step = 0
        self._seed = seed
        self._kept: deque[Crops] = deque(maxlen=KEPT)

    def add(self, decoded: Tensor, source: Tensor, coarseness: Tensor, square: int) -> None:
        """Keep crops of the frames of the step, and forget those of the oldest.

        Args:
            decoded: frames without the filter, ``[B, T, H, W, 3]``.
            source: what they should be, uint8 ``[B, T, H, W, 3]``.
            coarseness: of the latents of each clip, ``[B]``.
            square: crops lie at multiples of this number of pixels.
        """
        random = np.random.default_rng((self._seed, self.step))
        height, width = decoded.shape[2:4]
        side = min(_SIDE, height, width) // square * square
        frames = decoded.flatten(0, 1).float(), source.flatten(0, 1)
        number = np.repeat(np.arange(len(frames[0])), _PER_FRAME)
        top, left = (
            random.integers((length - side) // square + 1, size=len(number)) * square for length in (height, width)
        )
        places = list(zip(number, top, left, strict=True))
        shown, wanted = (torch.stack([part[n, y : y + side, x : x + side] for n, y, x in places]) for part in frames)
        self._kept.append(Crops(shown.half(), wanted, coarseness.repeat_interleave(len(places) // len(coarseness))))

    def draw(self) -> Crops:
        """Draw crops of all steps that are kept, mirrored or not."""
        random = np.random.default_rng((self._seed, self.step, 1))
        steps = random.integers(len(self._kept), size=_BATCH)
        picked = [(self._kept[step], int(random.integers(len(self._kept[step].coarseness)))) for step in steps]
        # autocast to bfloat16 refuses to stack tensors of float16
        drawn = [(crops.decoded[n].float(), crops.source[n], crops.coarseness[n]) for crops, n in picked]
        decoded, source, coarseness = (torch.stack(parts) for parts in zip(*drawn, strict=True))
        turned = [axis for axis in (1, 2) if random.integers(2)]
        self.step += 1
        return Crops(decoded.flip(turned), source.flip(turned), coarseness)
