"""Copies between the CPU's memory and a device, which the caller waits for only when it needs their contents.

On CUDA they go through pinned memory, which torch keeps for the next copy, and stand in one stream with the network's
calls, so that each finds what it needs; one event says when the last copy to the CPU is done. Elsewhere they are plain.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; on CUDA it may still be on its way, and what is called there next finds it."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.contiguous().pin_memory()
    return tensor.to(device, non_blocking=device.type == "cuda")


class Arriving:
    """Tensors on their way to the CPU.

    Args:
        tensors: tensors of one device, which need not be kept.
    """

    def __init__(self, *tensors: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._copies = [self._begin(tensor) for tensor in tensors]
        devices = {tensor.device for tensor in tensors if tensor.device.type == "cuda"}
        if devices:
            self._event = torch.cuda.current_stream(devices.pop()).record_event()

    def wait(self) -> list[Tensor]:
        """Return the tensors once all of them are there.

        Raises:
            RuntimeError: something that was called on the device before has failed there.
        """
        if self._event is not None:
            self._event.synchronize()
        return self._copies

    @staticmethod
    def _begin(tensor: Tensor) -> Tensor:
        if tensor.device.type != "cuda":
            return tensor.cpu()
        copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return copy.copy_(tensor, non_blocking=True)
