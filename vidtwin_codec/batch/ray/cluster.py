"""A Ray cluster: connecting to it, and how many workers it has room for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from vidtwin_codec import signals
from vidtwin_codec.closing import Closing
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.machine import cores

CORES = 4
"""Of a worker on CPUs, where machines have so many: with a large one much is lost, and a small one holds a
network for little work."""
GPU_CORES = 8
"""At most, beside a GPU, for ffmpeg and for packing."""


@dataclass(frozen=True)
class RayOptions:
    """Choices of the Ray engine.

    Attributes:
        address: of the cluster; None: $RAY_ADDRESS, or else a new one on this machine.
        cores: of each worker; None chooses.
        split: seconds of video in a part of a long file; 0: files stay whole.
    """

    address: str | None = None
    cores: int | None = None
    split: float = 600.0


class RayCluster(Closing):
    """Connected from the beginning; what it started, it stops.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``. ``auto`` takes the GPUs where there are any, and then nothing else: what
            CPUs compute differs in the last bits.

    Attributes:
        ray: the module.
        kind: ``cpu`` or ``cuda``. cores: of each worker.

    Raises:
        VidtwinError: Ray is not installed, there is no such cluster, or nothing in it fits a worker.
    """

    def __init__(self, options: RayOptions, device: str) -> None:
        if device not in ("auto", "cpu", "cuda"):
            raise VidtwinError(
                f"Ray hands out CPUs and CUDA GPUs itself, not {device}", "pass --device auto, cpu or cuda"
            )
        self.ray: Any = _import_ray()
        self._connected = not self.ray.is_initialized()
        if self._connected:
            _connect(self.ray, options.address or os.environ.get("RAY_ADDRESS"))
        try:
            machines = self._machines()
            gpus = sum(int(machine.get("GPU", 0)) for machine in machines)
            self.kind = "cuda" if device == "cuda" or (device == "auto" and gpus) else "cpu"
            self.cores = options.cores or self._sound_cores(machines)
            if not self.room():
                what = "GPU" if self.kind == "cuda" else "CPU"
                cores = f"{self.cores} CPU{'s' if self.cores > 1 else ''}"
                needed = f"a GPU and {cores}" if self.kind == "cuda" else cores
                raise VidtwinError(f"no machine of the Ray cluster has {needed}", f"add a machine with a {what}")
        except BaseException:
            self.close()
            raise

    def room(self) -> int:
        """How many workers the machines that are up have room for when they do nothing else."""
        total = 0
        for machine in self._machines():
            by_cores = int(machine.get("CPU", 0) // self.cores)
            total += min(by_cores, int(machine.get("GPU", 0))) if self.kind == "cuda" else by_cores
        return total

    def actor(self, kind: type) -> Any:
        """That class as an actor, of which Ray starts one with ``remote()`` as soon as there is room."""
        return self.ray.remote(kind).options(
            num_cpus=self.cores,
            num_gpus=int(self.kind == "cuda"),
            max_restarts=0,  # a lost one is replaced by the pool, which knows what it had in hand
            max_concurrency=2,  # it is told to close while it works
            scheduling_strategy="SPREAD",
        )

    @property
    def memory_share(self) -> float:
        """Of a machine's memory, for one worker: the least of all machines."""
        counts = [machine.get("GPU" if self.kind == "cuda" else "CPU", 0) for machine in self._machines()]
        workers = max(counts, default=1) // (1 if self.kind == "cuda" else self.cores)
        return 1 / max(1, workers)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._connected:
            self._connected = False
            self.ray.shutdown()

    def _machines(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def _sound_cores(self, machines: list[dict[str, float]]) -> int:
        """As many as the smallest machine has, or has beside each GPU, up to a point."""
        if self.kind == "cuda":
            shares = [machine.get("CPU", 0) // machine["GPU"] for machine in machines if machine.get("GPU", 0) >= 1]
            return int(max(1, min([*shares, GPU_CORES])))
        return int(min([machine["CPU"] for machine in machines if machine.get("CPU", 0) >= 1] + [CORES]))


def _import_ray() -> Any:
    # before it is imported: nothing is sent to anyone unless the user asks for it
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # it prints what raylets complain of to standard output, where --json goes; what matters of it the pool tells
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    try:
        import ray
    except ImportError as error:
        raise VidtwinError("Ray is not installed", "pip install 'vidtwin-codec[ray]'") from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    if address is not None and address.startswith("ray://"):
        raise VidtwinError(
            "a Ray client's address (ray://) will not do: the outputs have to be seen from here",
            "run vidtwin on a machine of the cluster, with its address or --ray-address auto",
        )
    more: dict[str, Any]
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address in (None, "local"):
            # Ray makes its workers yield to everything else; here they are all that is to be done
            os.environ.setdefault("RAY_worker_niceness", "0")
            address, more = "local", {"num_cpus": cores(), "include_dashboard": False}
        else:
            more = {}
        # ray.init sets handlers of its own; and what it starts here is told by this process when to stop
        with signals.kept_from_children():
            ray.init(address=address, **more, **quiet)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())
        raise VidtwinError(
            f"no Ray cluster at {address or 'this machine'}: {reason}",
            "is it up (ray status)? Where it asks for a token, RAY_AUTH_MODE=token must be set here, too; "
            "without an address a cluster is started on this machine",
        ) from error
