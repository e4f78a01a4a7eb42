"""A Ray cluster: connecting to it, and how many workers it has room for."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from typing import Any

from vidtwin_codec import signals
from vidtwin_codec.closing import Closing
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.machine import cores

CORES = 4
"""Cores of a worker on CPUs, where machines have so many. When a larger worker is lost, more has to be done again; a
smaller one keeps a network in memory for little use."""
GPU_CORES = 8
"""Most cores that a worker takes beside its GPU, for ffmpeg and for packing."""
_PORT = re.compile(r"(?P<host>[^\s/:]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
_REACH_SECONDS = 10.0


@dataclass(frozen=True)
class RayOptions:
    """Options of the Ray engine.

    Attributes:
        address: address of the cluster. None takes $RAY_ADDRESS, or else starts a cluster on this machine.
        cores: CPU cores of each worker; None chooses.
        split: shortest part of a long file, in seconds of video; 0 keeps files whole.
    """

    address: str | None = None
    cores: int | None = None
    split: float = 600.0


class RayCluster(Closing):
    """A connection to a Ray cluster; a cluster that was started here ends with it.

    Args:
        options: address and cores.
        device: ``auto``, ``cpu`` or ``cuda``. ``auto`` uses GPUs alone where there are any, because results of CPUs
            differ from theirs in the last bits.

    Attributes:
        ray: the module ``ray``.
        kind: kind of device of the workers, ``cpu`` or ``cuda``.
        cores: CPU cores of each worker.

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
        """Count the workers that fit on the machines that are up, if these do nothing else."""
        total = 0
        for machine in self._machines():
            by_cores = int(machine.get("CPU", 0) // self.cores)
            total += min(by_cores, int(machine.get("GPU", 0))) if self.kind == "cuda" else by_cores
        return total

    def actor(self, kind: type) -> Any:
        """Make an actor of a class; Ray starts one at each ``remote()``, as soon as there is room."""
        return self.ray.remote(kind).options(
            num_cpus=self.cores,
            num_gpus=int(self.kind == "cuda"),
            # the pool replaces a lost worker: it alone knows its jobs, and what it left on the disk
            max_restarts=0,
            max_concurrency=2,  # `close` is called while another call is running
            scheduling_strategy="SPREAD",
        )

    @property
    def memory_share(self) -> float:
        """Share of a machine's memory that one worker may use: the smallest over all machines, in (0, 1]."""
        counts = [machine.get("GPU" if self.kind == "cuda" else "CPU", 0) for machine in self._machines()]
        workers = max(counts, default=1) // (1 if self.kind == "cuda" else self.cores)
        return 1 / max(1, workers)

    def close(self) -> None:
        """Disconnect; a cluster that was started here ends."""
        if self._connected:
            self._connected = False
            self.ray.shutdown()

    def _machines(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def _sound_cores(self, machines: list[dict[str, float]]) -> int:
        """Choose as many cores as the smallest machine has (beside each GPU), up to a limit."""
        if self.kind == "cuda":
            shares = [machine.get("CPU", 0) // machine["GPU"] for machine in machines if machine.get("GPU", 0) >= 1]
            return int(max(1, min([*shares, GPU_CORES])))
        return int(min([machine["CPU"] for machine in machines if machine.get("CPU", 0) >= 1] + [CORES]))


def _import_ray() -> Any:
    # set before the import: Ray sends no usage statistics unless the user asks for it
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray prints messages of raylets to standard output, where --json goes; the pool reports those that matter
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    # each try to reach a cluster would write a line of its own
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
    try:
        import ray
    except ImportError as error:
        raise VidtwinError("Ray is not installed", "pip install 'vidtwin-codec[ray]'") from error
    return ray


def check_address(address: str) -> None:
    """Refuse what cannot be the address of a cluster.

    Raises:
        VidtwinError: it is a Ray client's address, or neither ``auto`` nor ``local`` nor HOST:PORT.
    """
    if address.startswith("ray://"):
        raise VidtwinError(
            f"{address}: the address of a Ray client will not do, since the outputs have to be seen from here",
            "run vidtwin on a machine of the cluster, with --ray-address auto or HOST:PORT",
        )
    if address not in ("auto", "local") and _PORT.fullmatch(address) is None:
        raise VidtwinError(f"{address}: not the address of a Ray cluster", "write auto or HOST:PORT, such as HEAD:6379")


def _reach(address: str) -> None:
    """See whether somebody answers there: Ray itself would try for minutes.

    Raises:
        VidtwinError: nobody does.
    """
    found = _PORT.fullmatch(address)
    if found is None:
        return
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), _REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, getattr(error, "strerror", None) or str(error)) from error


def _no_cluster(address: str | None, reason: str) -> VidtwinError:
    return VidtwinError(
        f"no Ray cluster at {address or 'this machine'}: {reason}",
        "is it up (ray status)? Where it asks for a token, RAY_AUTH_MODE=token must be set here, too; "
        "without an address a cluster is started on this machine",
    )


def _connect(ray: Any, address: str | None) -> None:
    if address is not None:
        check_address(address)
        _reach(address)
    more: dict[str, Any]
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address in (None, "local"):
            # Ray lowers the priority of its workers; here nothing else competes with them
            os.environ.setdefault("RAY_worker_niceness", "0")
            address, more = "local", {"num_cpus": cores(), "include_dashboard": False}
        else:
            more = {}
        # ray.init sets signal handlers of its own, and this process stops what it starts here
        with signals.kept_from_children():
            ray.init(address=address, **more, **quiet)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise _no_cluster(address, " ".join(str(error).split())) from error
