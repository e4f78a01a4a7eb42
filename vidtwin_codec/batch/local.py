"""The local engine: this machine's devices, with several jobs at once.

While the network runs for one file, others are opened, decoded, packed and written, so nothing waits for ffmpeg to
start. Each file goes through the code that encodes or decodes a single file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from vidtwin_codec.batch.engine import Ended, Event, Job, Perform
from vidtwin_codec.batch.lanes import AtOnce, Busy, Lanes
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.network.device import select_device
from vidtwin_codec.options import NetworkOptions


class LocalEngine:
    """An engine that does jobs on this machine's devices.

    Args:
        options: device, precision and batch; the rest does not matter here.
        jobs: number of jobs at once; None chooses.
        merge: whether clips of different files go into one call of the network; None does so on a GPU.

    Raises:
        VidtwinError: there is no such device.
    """

    def __init__(self, options: NetworkOptions, jobs: int | None = None, merge: bool | None = None) -> None:
        self.devices = _devices(options.device)
        self.kind = select_device(self.devices[0], "float32", "float32").device.type
        cores = torch.get_num_threads()
        self.at_once = AtOnce.choose(self.kind, cores, devices=len(self.devices), jobs=jobs, merge=merge)

    def run(self, jobs: Sequence[Job], perform: Perform) -> Iterator[Event]:
        """Do the jobs as :class:`Engine` says, the longest first, so that all devices end at about the same time."""
        at_once = replace(self.at_once, jobs=min(self.at_once.jobs, len(jobs)))
        with Lanes(self.devices, at_once, perform) as lanes:
            for job in sorted(jobs, key=lambda job: -job.cost):
                lanes.put(job)
            left = len(jobs)
            while left:
                event = lanes.events.get()
                if lanes.broken is not None:
                    raise VidtwinError(
                        f"the device failed: {lanes.broken}", "what is left is done by running the same command again"
                    )
                if isinstance(event, Busy):
                    lanes.put(event.job, wait=True)
                    continue
                left -= isinstance(event, Ended)
                yield event


def _devices(name: str) -> list[str]:
    """List the devices that ``name`` means: all GPUs if it has no number, several for ``cuda:0,cuda:1``."""
    names = name.split(",")
    if name in ("auto", "cuda") and torch.cuda.is_available():
        names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    for each in names:
        select_device(each, "float32", "float32")  # refuses what is not there
    return names
