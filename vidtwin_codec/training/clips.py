"""Sampling of training clips, where everything random follows from the seed, the step and the clip's number in it.

So a resumed run gets the clips that it would have got, and two processes with half the batch each get those of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vidtwin_codec.machine import cores
from vidtwin_codec.model import VidTwinConfig
from vidtwin_codec.model.levels import pixels_from_levels
from vidtwin_codec.training.crops import Draw, FlatFootage, Places
from vidtwin_codec.training.footage import Footage

_AHEAD = 3
"""Number of batches that are prepared while the network runs on another."""
_UNIFORM = 3**0.5
"""Bound of uniform noise of variance 1."""


class TrainingBatch(NamedTuple):
    """The input of one step.

    Attributes:
        clips: uint8 ``[B, T, H, W, 3]``.
        noise: noise of variance 1, ``[B, elements]``.
        scale: factor on the noise of each clip, ``[B]``.
    """

    clips: Tensor
    noise: Tensor
    scale: Tensor


class ClipSampler:
    """A sampler of random clips, which draws place, time, mirroring, temporal stride and direction.

    Every possible clip is equally likely, so long files give more clips than short ones.
    """

    def __init__(
        self,
        footage: Sequence[Footage],
        config: VidTwinConfig,
        *,
        max_stride: int = 1,
        noise: str = "gaussian",
        spread: float = 0.0,
        seed: int = 0,
        device: torch.device | None = None,
    ) -> None:
        """Prepare the footage for sampling.

        Args:
            footage: the footage.
            config: the network's configuration.
            max_stride: largest step between the frames of a clip.
            noise: ``gaussian`` or ``uniform``.
            spread: range of the noise's scale, in octaves up and down.
            seed: seed of everything random.
            device: device that holds all frames in its memory; None maps them from their files.
        """
        self.footage, self.config = list(footage), config
        self.max_stride, self.noise, self.spread, self.seed = max_stride, noise, spread, seed
        self._flat = FlatFootage(self.footage, device) if device is not None else None
        self._mapped = [one.open() for one in footage]
        starts = [(one.frames // one.run) * (one.run - config.frames + 1) for one in footage]
        self._ends = np.cumsum(starts)
        shapes = (config.structure_shape, config.dynamics_x_shape, config.dynamics_y_shape)
        self._elements = sum(int(np.prod(shape)) for shape in shapes)

    def draw(self, step: int, number: int) -> Draw:
        """Draw where clip ``number`` of a step is cut from."""
        random = np.random.default_rng((self.seed, step, number))
        place = int(random.integers(self._ends[-1]))
        source = int(np.searchsorted(self._ends, place, side="right"))
        place -= int(self._ends[source - 1]) if source else 0
        one, span = self.footage[source], self.config.frames - 1
        run, offset = divmod(place, one.run - span)
        longest = (one.run - 1 - offset) // span if span else 1
        return Draw(
            source=source,
            start=run * one.run + offset,
            stride=min(int(random.integers(1, self.max_stride + 1)), longest),
            reverse=bool(random.integers(2)),
            top=int(random.integers(one.height - self.config.height + 1)),
            left=int(random.integers(one.width - self.config.width + 1)),
            mirror=bool(random.integers(2)),
        )

    def draw_noise(self, step: int, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Draw the noise of a step on the device, ``[count, elements]``, and its scales ``[count]``."""
        (seed,) = np.random.SeedSequence((self.seed, step)).generate_state(1, np.uint64)
        random = torch.Generator(device).manual_seed(int(seed >> np.uint64(1)))
        scale = torch.rand(count, generator=random, device=device).mul_(2).sub_(1).mul_(self.spread).exp2_()
        shape = (count, self._elements)
        if self.noise == "uniform":
            noise = torch.rand(shape, generator=random, device=device).mul_(2).sub_(1).mul_(_UNIFORM)
        else:
            noise = torch.randn(shape, generator=random, device=device)
        return noise, scale

    def cut(self, draw: Draw) -> Tensor:
        """Cut a clip out of its file, uint8 ``[T, H, W, 3]``."""
        config = self.config
        last = draw.start + (config.frames - 1) * draw.stride
        clip = self._mapped[draw.source][
            draw.start : last + 1 : draw.stride,
            draw.top : draw.top + config.height,
            draw.left : draw.left + config.width,
        ]
        turned = [axis for axis, turn in ((0, draw.reverse), (2, draw.mirror)) if turn]
        return clip.flip(turned) if turned else clip

    def calibration_clips(self, count: int) -> Iterator[Tensor]:
        """Yield clips that no step draws, forward and without stride, ``[1, 3, T, H, W]`` in [-1, 1]."""
        for number in range(count):
            draw = self.draw(1 << 40, number)
            clip = self.cut(draw._replace(stride=1, reverse=False))
            yield pixels(clip[None])

    def batches(
        self, first: int, numbers: range, device: torch.device, count: int | None = None
    ) -> Generator[TrainingBatch, None, None]:
        """Yield the batches of step ``first`` and all later ones, without end.

        Args:
            first: the first step.
            numbers: numbers of this process's clips in each step.
            device: device that batches are moved to.
            count: clips of a step over all processes; None takes the end of ``numbers``.
        """
        total = numbers.stop if count is None else count
        workers = min(8, cores())
        with ThreadPoolExecutor(workers, thread_name_prefix="clips") as pool:
            waiting: deque[Future[Places | Tensor]] = deque()
            step = first
            try:
                while True:
                    while len(waiting) < _AHEAD:
                        waiting.append(pool.submit(self._make, step + len(waiting), numbers, device))
                    made = waiting.popleft().result()
                    if isinstance(made, Tensor):
                        clips = made.to(device, non_blocking=True)
                    else:
                        assert self._flat is not None
                        clips = self._flat.gather(made)
                    noise, scale = self.draw_noise(step, total, device)
                    yield TrainingBatch(clips, noise[numbers.start : numbers.stop], scale[numbers.start : numbers.stop])
                    step += 1
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _make(self, step: int, numbers: range, device: torch.device) -> Places | Tensor:
        """Cut the clips of a step, or find where they lie on the device."""
        draws = [self.draw(step, number) for number in numbers]
        if self._flat is not None:
            return self._flat.places(draws, self.config)
        shape = (len(draws), self.config.frames, self.config.height, self.config.width, 3)
        clips = torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
        for clip, draw in zip(clips, draws, strict=True):
            clip.copy_(self.cut(draw))
        return clips


def pixels(clips: Tensor) -> Tensor:
    """uint8 ``[B, T, H, W, 3]`` → the network's ``[B, 3, T, H, W]`` in [-1, 1]."""
    return pixels_from_levels(clips.permute(0, 4, 1, 2, 3))
