"""Clips to train on. Everything random in a step follows from the seed, the step and the clip's number in it.

So a resumed run sees what it would have seen, and two processes with half the batch each see what one would.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidtwin_codec.machine import cores
from vidtwin_codec.model import VidTwinConfig
from vidtwin_codec.training.footage import Footage

_AHEAD = 3
"""Batches made while the network works on another."""
_UNIFORM = 3**0.5
"""Uniform noise between these bounds has variance 1."""


class Draw(NamedTuple):
    """Where a clip is cut from, and how it is turned."""

    source: int
    start: int
    stride: int
    reverse: bool
    top: int
    left: int
    mirror: bool


class Batch(NamedTuple):
    """One step's input: clips uint8 ``[B, T, H, W, 3]``; noise ``[B, elements]`` of variance 1."""

    clips: Tensor
    noise: Tensor


class ClipSampler:
    """Random clips of some footage: place, time, mirror image, temporal stride and direction.

    Each clip that could be cut is as likely as any other, so long files count for more than short ones.
    """

    def __init__(
        self,
        footage: Sequence[Footage],
        config: VidTwinConfig,
        *,
        max_stride: int = 1,
        noise: str = "gaussian",
        seed: int = 0,
        device: torch.device | None = None,
    ) -> None:
        """``device`` holds all frames in that device's memory; None maps them from their files."""
        self.footage, self.config = list(footage), config
        self.max_stride, self.noise, self.seed = max_stride, noise, seed
        self.frames = [one.open(device) for one in footage]
        starts = [(one.frames // one.run) * (one.run - config.frames + 1) for one in footage]
        self._ends = np.cumsum(starts)
        shapes = (config.structure_shape, config.dynamics_x_shape, config.dynamics_y_shape)
        self._elements = sum(int(np.prod(shape)) for shape in shapes)

    def draw(self, step: int, number: int) -> tuple[Draw, NDArray[np.float32]]:
        """Clip ``number`` of a step, and its noise."""
        random = np.random.default_rng((self.seed, step, number))
        place = int(random.integers(self._ends[-1]))
        source = int(np.searchsorted(self._ends, place, side="right"))
        place -= int(self._ends[source - 1]) if source else 0
        one, span = self.footage[source], self.config.frames - 1
        run, offset = divmod(place, one.run - span)
        longest = (one.run - 1 - offset) // span if span else 1
        drawn = Draw(
            source=source,
            start=run * one.run + offset,
            stride=min(int(random.integers(1, self.max_stride + 1)), longest),
            reverse=bool(random.integers(2)),
            top=int(random.integers(one.height - self.config.height + 1)),
            left=int(random.integers(one.width - self.config.width + 1)),
            mirror=bool(random.integers(2)),
        )
        if self.noise == "uniform":
            noise = (random.random(self._elements, dtype=np.float32) * 2 - 1) * np.float32(_UNIFORM)
        else:
            noise = random.standard_normal(self._elements, dtype=np.float32)
        return drawn, noise

    def cut(self, draw: Draw) -> Tensor:
        """The clip, uint8 ``[T, H, W, 3]``, where the frames are."""
        config = self.config
        last = draw.start + (config.frames - 1) * draw.stride
        clip = self.frames[draw.source][
            draw.start : last + 1 : draw.stride,
            draw.top : draw.top + config.height,
            draw.left : draw.left + config.width,
        ]
        turned = [axis for axis, turn in ((0, draw.reverse), (2, draw.mirror)) if turn]
        return clip.flip(turned) if turned else clip

    def calibration_clips(self, count: int) -> Iterator[Tensor]:
        """``[1, 3, T, H, W]`` in [-1, 1]: clips that no step draws, at the footage's own speed and direction."""
        for number in range(count):
            draw, _ = self.draw(1 << 40, number)
            clip = self.cut(draw._replace(stride=1, reverse=False))
            yield pixels(clip[None])

    def batches(self, first: int, numbers: range, device: torch.device) -> Generator[Batch, None, None]:
        """The batches of step ``first``, ``first + 1`` …, without end; ``numbers`` are this process's clips of each."""
        # with frames on the device threads would only wait for each other there
        on_device = self.frames[0].device.type != "cpu"
        workers = min(8, cores())
        with ThreadPoolExecutor(workers, thread_name_prefix="clips") as pool:
            waiting: deque[Future[tuple[list[Draw], Tensor, Tensor | None]]] = deque()
            step = first
            try:
                while True:
                    while len(waiting) < _AHEAD:
                        waiting.append(pool.submit(self._make, step, numbers, device, not on_device))
                        step += 1
                    draws, noise, clips = waiting.popleft().result()
                    if clips is None:
                        clips = torch.stack([self.cut(draw) for draw in draws])
                    yield Batch(clips.to(device, non_blocking=True), noise.to(device, non_blocking=True))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _make(
        self, step: int, numbers: range, device: torch.device, with_clips: bool
    ) -> tuple[list[Draw], Tensor, Tensor | None]:
        drawn = [self.draw(step, number) for number in numbers]
        noise = torch.from_numpy(np.stack([noise for _, noise in drawn]))
        clips = torch.stack([self.cut(draw) for draw, _ in drawn]) if with_clips else None
        if device.type == "cuda":
            noise = noise.pin_memory()
            clips = clips.pin_memory() if clips is not None else None
        return [draw for draw, _ in drawn], noise, clips


def pixels(clips: Tensor) -> Tensor:
    """uint8 ``[B, T, H, W, 3]`` → the network's ``[B, 3, T, H, W]`` in [-1, 1]."""
    return clips.permute(0, 4, 1, 2, 3).float().div_(127.5).sub_(1)
