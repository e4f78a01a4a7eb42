"""Where the network runs, how precisely, and on how many tiles at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch

from vidtwin_codec import machine
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwinConfig

T = TypeVar("T")

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16")
MEMORY_SHARE = 0.25
"""Of the device's whole memory, for activations: the rest is weights, frames and other programs."""
MAX_BATCH = {"cpu": 8, "cuda": 256, "mps": 32}
"""Beyond these a larger batch no longer runs faster."""


@dataclass(frozen=True)
class Device:
    """A device and the precision the network runs in there."""

    device: torch.device
    precision: torch.dtype

    def __str__(self) -> str:
        return f"{self.device.type} {str(self.precision).removeprefix('torch.')}"

    def autocast(self) -> AbstractContextManager[object]:
        """Mixed precision: matrix products in bfloat16, sums and norms in float32."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)


def select_device(name: str, precision: str, least: str) -> Device:
    """Pick a device and a precision.

    Args:
        name: one of :data:`DEVICES`, or a numbered one such as ``cuda:1``; ``auto`` takes CUDA, then MPS, then
            the CPU.
        precision: one of :data:`PRECISIONS`; ``auto`` takes bfloat16 where it is fast and the weights bear it.
        least: the lowest precision at which the weights lose nothing visible (from their metadata).

    Raises:
        VidtwinError: this machine does not have the device.
    """
    kind = name.partition(":")[0]
    if name == "auto":
        name = kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(kind, False):
        raise VidtwinError(f"this machine has no {kind} device that torch can use", "pass --device cpu or auto")
    device = torch.device(name)
    if precision == "auto":
        fast = kind == "cuda" or (kind == "cpu" and _cpu_has_bfloat16())
        precision = "bfloat16" if fast and least == "bfloat16" else "float32"
    return Device(device, torch.bfloat16 if precision == "bfloat16" else torch.float32)


def tiles_per_batch(config: VidTwinConfig, device: Device) -> int:
    """Tiles to run in one call: as many as fit, up to where more are no faster."""
    return max(1, min(tiles_in_memory(config, device), MAX_BATCH[device.device.type]))


def windows_per_batch(config: VidTwinConfig, device: Device, height: int, width: int) -> int:
    """Windows of this size, in pixels, to run in one call: no more pixels than a full batch of tiles has.

    A large window fills a device by itself; small ones share what a call costs.
    """
    pixels = tiles_per_batch(config, device) * config.height * config.width
    return max(1, pixels // (height * width))


def tiles_in_memory(config: VidTwinConfig, device: Device) -> int:
    """Tiles whose activations fit the memory that is there for them; may be 0.

    Follows from the machine and the weights alone, not from what is free at the moment: the same file decodes
    to the same frames each time.
    """
    if device.device.type == "cuda":
        memory = torch.cuda.get_device_properties(device.device).total_memory
    else:
        memory = machine.memory()
    widest = max(config.encoder.hidden_size, config.decoder.hidden_size)
    # at its widest a block holds the stream, the MLP's 4 D twice and some copies, in float32
    per_tile = config.frames * (config.tokens * widest * 16 + 3 * config.height * config.width * 4) * 4
    return int(memory * MEMORY_SHARE // per_tile)


class Batches:
    """Runs the network over many tiles, some at a time; fewer for good once memory has run out.

    Attributes:
        size: most tiles in one call.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, network: Callable[[slice], T], count: int) -> Iterator[T]:
        """``network(slice)`` over 0 … count in slices of at most ``size``, which is halved whenever memory runs out.

        Raises:
            VidtwinError: not even one tile fits.
        """
        start = 0
        while start < count:
            piece = slice(start, min(start + self.size, count))
            try:
                out = network(piece)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                if piece.stop - piece.start == 1:
                    raise VidtwinError(
                        "not enough memory for one tile", "close other programs, or pass --device cpu"
                    ) from error
                self.size = (piece.stop - piece.start) // 2
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            yield out
            start = piece.stop


def _is_out_of_memory(error: Exception) -> bool:
    # the CPU allocator raises a plain RuntimeError
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)


def _cpu_has_bfloat16() -> bool:
    # torch has no public question for this; where the private ones are gone, float32 is the safe answer
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check() for check in checks if check is not None)
