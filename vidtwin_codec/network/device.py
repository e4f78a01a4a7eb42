"""The device that the network runs on, its precision, and the number of tiles at once."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwinConfig
from vidtwin_codec.network.memory import device_memory

PRECISIONS = ("auto", "float32", "tf32", "bfloat16")
MEMORY_SHARE = 0.25
"""Share of the device's memory for activations; the rest is for weights, the frames that tiles are joined to (see
`memory.CANVAS_SHARE`) and other programs."""
MAX_BATCH = {"cpu": 8, "cuda": 256, "mps": 32}
"""Beyond these a larger batch no longer runs faster."""


@dataclass(frozen=True)
class Device:
    """A device and the precision the network runs in there.

    Attributes:
        device: the torch device, with its number where one was asked for.
        precision: data type of matrix products.
        tf32: whether products of float32 may round their factors to 10 bits.
    """

    device: torch.device
    precision: torch.dtype
    tf32: bool = False

    def __str__(self) -> str:
        return f"{self.device} {self._arithmetic}"

    @property
    def _arithmetic(self) -> str:
        return "tf32" if self.tf32 else str(self.precision).removeprefix("torch.")

    def to_json(self) -> dict[str, str]:
        """Return what the last bits of the network's output depend on, for the header of a file.

        Only the kind of the device is named: equal cards give equal bits.
        """
        return {"device": self.device.type, "precision": self._arithmetic, "torch": str(torch.__version__)}

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context of mixed precision: matrix products in bfloat16, sums and norms in float32."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)


def select_device(name: str, precision: str, least: str, *, tf32: bool = False) -> Device:
    """Pick a device and a precision, and tell torch whether products of float32 may use TF32, which is off otherwise.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``mps``, or a numbered one such as ``cuda:1``; ``auto`` takes CUDA, then MPS,
            then the CPU.
        precision: one of :data:`PRECISIONS`; ``auto`` takes bfloat16 where it is fast and the weights support it.
        least: the lowest precision at which the weights lose nothing visible (from their metadata).
        tf32: whether the weights support TF32 (from their metadata).

    Raises:
        VidtwinError: this machine does not have the device, or the weights do not support the precision.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = _present(name)
    if precision == "auto":
        precision = "bfloat16" if least == "bfloat16" and _has_bfloat16(device) else "float32"
    if precision == "tf32" and device.type != "cuda":
        raise VidtwinError(f"--precision tf32 is for CUDA devices, not for {device}", "pass --precision auto")
    if precision == "tf32" and not tf32:
        raise VidtwinError(
            "these weights are not marked as bearing TF32", "pass --precision float32, or import them again"
        )
    # the environment or another library may have switched it on, and torch itself allows it in convolutions
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    return Device(device, torch.bfloat16 if precision == "bfloat16" else torch.float32, precision == "tf32")


def _present(name: str) -> torch.device:
    """Return the device of this name, or refuse one that this machine does not have."""
    kind, _, number = name.partition(":")
    counts = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    count = counts.get(kind, 0)
    if not count:
        raise VidtwinError(f"this machine has no {kind} device that torch can use", "pass --device cpu or auto")
    if number or name.endswith(":"):
        if not re.fullmatch(r"[0-9]{1,4}", number):
            raise VidtwinError(f"{name!r} does not name a device", "devices are numbered: cuda:0")
        if int(number) >= count:
            raise VidtwinError(f"this machine has no device {name}: its last is {kind}:{count - 1}")
    return torch.device(name)


def _has_bfloat16(device: torch.device) -> bool:
    """Return whether products in bfloat16 are faster on the device than in float32."""
    if device.type == "cuda":
        # NVIDIA's cards before Ampere emulate it
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and _cpu_has_bfloat16()


def tiles_per_batch(config: VidTwinConfig, device: Device) -> int:
    """Return the number of tiles in one call: as many as fit, up to where more are no faster."""
    return max(1, min(tiles_in_memory(config, device), MAX_BATCH[device.device.type]))


def windows_per_batch(config: VidTwinConfig, device: Device, height: int, width: int) -> int:
    """Return the number of windows of this size, in pixels, in one call: no more pixels than a full batch of tiles.

    A large window fills a device by itself; small ones share the overhead of a call.
    """
    pixels = tiles_per_batch(config, device) * config.height * config.width
    return max(1, pixels // (height * width))


def tiles_in_memory(config: VidTwinConfig, device: Device) -> int:
    """Return how many tiles' activations fit into their share of the memory; it may be 0.

    The number follows from the machine and the weights, not from the memory that is free at the moment, so that the
    same file decodes to the same frames each time.
    """
    widest = max(config.encoder.hidden_size, config.decoder.hidden_size)
    # at its widest a block holds the stream, the MLP's 4 D twice and some copies, in float32
    per_tile = config.frames * (config.tokens * widest * 16 + 3 * config.height * config.width * 4) * 4
    return int(device_memory(device.device) * MEMORY_SHARE // per_tile)


def _cpu_has_bfloat16() -> bool:
    # torch has no public question for this; where the private ones are gone, float32 is the safe answer
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check() for check in checks if check is not None)
