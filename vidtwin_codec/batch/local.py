"""The local engine: this machine's devices, with several files in hand at once.

While the network works for one file, others are opened, decoded, packed and written: nothing waits for ffmpeg to
start. A file is worked on by the very code that works on a single file.
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
    """This machine's devices.

    Args:
        options: of these device, precision and batch.
        jobs: files in hand at once; None chooses.
        merge: clips of different files in one call of the network; None: on a GPU.

    Raises:
        VidtwinError: there is no such device.
    """

    def __init__(self, options: NetworkOptions, jobs: int | None = None, merge: bool | None = None) -> None:
        self.devices = _devices(options.device)
        self.kind = select_device(self.devices[0], "float32", "float32").device.type
        cores = torch.get_num_threads()
        self.at_once = AtOnce.choose(self.kind, cores, devices=len(self.devices), jobs=jobs, merge=merge)

    def run(self, jobs: Sequence[Job], perform: Perform) -> Iterator[Event]:
        """See :class:`Engine`: the longest first, so that all devices come to an end together."""
        at_once = replace(self.at_once, jobs=min(self.at_once.jobs, len(jobs)))
        with Lanes(self.devices, at_once, perform) as lanes:
            for job in sorted(jobs, key=lambda job: -job.work):
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
    """Every device that ``name`` means: all GPUs where no number is given; ``cuda:0,cuda:1`` is several."""
    names = name.split(",")
    if name in ("auto", "cuda") and torch.cuda.is_available():
        names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    for each in names:
        select_device(each, "float32", "float32")  # refuses what is not there
    return names
