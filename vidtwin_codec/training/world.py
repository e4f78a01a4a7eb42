"""Distributed training (``torchrun``): the place of this process among all, and agreement between them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

from vidtwin_codec.errors import VidtwinError

T = TypeVar("T")

_PATIENCE = timedelta(days=1)
"""Longest time that processes wait for each other: the first one decodes and measures while the others wait. If it
dies, torchrun ends them."""


@dataclass(frozen=True)
class World:
    """The place of this process among all. The first one reads, measures and writes; all of them train.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        local_rank: number of this process on its machine, from 0.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, value: T | None) -> T:
        """Return the first process's value in every process; the others pass None."""
        box = [value]
        if self.size > 1:
            distributed.broadcast_object_list(box, src=0)
        shared = box[0]
        assert shared is not None
        return shared

    def agree(self, progress: float, stop: bool, device: torch.device) -> tuple[float, bool]:
        """Return the first process's progress, and whether any process has been asked to stop."""
        if self.size == 1:
            return progress, stop
        flags = torch.tensor([progress if self.first else 0.0, float(stop)], dtype=torch.float64, device=device)
        distributed.all_reduce(flags)
        return float(flags[0]), bool(flags[1] > 0)

    def clips(self, batch: int) -> range:
        """Choose the clips of a step that are this process's.

        Raises:
            VidtwinError: the batch cannot be shared out evenly.
        """
        if batch % self.size:
            raise VidtwinError(f"--batch {batch} cannot be shared by {self.size} processes", "choose a multiple")
        each = batch // self.size
        return range(self.rank * each, (self.rank + 1) * each)


@contextmanager
def joined(device_type: str) -> Iterator[World]:
    """Join the processes that ``torchrun`` started while the block lasts; without it, this process is alone."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield World()
        return
    world = World(*(int(os.environ.get(name, "0")) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    if device_type == "cuda":
        torch.cuda.set_device(world.local_rank)
    distributed.init_process_group("nccl" if device_type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield world
    finally:
        distributed.destroy_process_group()
