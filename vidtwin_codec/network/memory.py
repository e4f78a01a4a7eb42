"""Memory that runs out: how to tell that from other errors, and batches that shrink when it happens."""

from __future__ import annotations

import math
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from vidtwin_codec import machine
from vidtwin_codec.errors import VidtwinError

T = TypeVar("T")

CANVAS_SHARE = 1 / 8
"""Largest share of a card's memory for the frames that tiles are joined to; several files may be in hand at once."""

_TEXTS = re.compile(
    # Linux's allocator of torch; Windows's; what malloc's callers say
    r"DefaultCPUAllocator: can't allocate memory|not enough memory|[Cc]annot allocate memory"
    # CUDA and HIP, their allocators, and their libraries' handles and workspaces on a full card
    r"|(CUDA|HIP)( error:)? out of memory|CU(BLAS|DNN|FFT|SOLVER)_STATUS_ALLOC_FAILED"
    r"|MPS backend out of memory|Invalid buffer size"
)
_BROKEN = re.compile(r"^(CUDA|HIP) error: (?!out of memory)|an illegal memory access was encountered")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _TEXTS.search(str(error)) is not None


def is_broken_device(error: BaseException) -> bool:
    """Return whether this process can no longer use the device: the driver repeats the error at every call."""
    return isinstance(error, RuntimeError) and not is_out_of_memory(error) and bool(_BROKEN.search(str(error)))


def forget(error: BaseException) -> None:
    """Release the objects that the stack frames of an error hold, such as the activations of the call that failed."""
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__


def release() -> None:
    """Return cached memory to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def device_memory(device: torch.device) -> int:
    """Return the bytes of memory of a card, or of this machine."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return machine.memory()


def allocate(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Allocate a canvas of the type of ``like``, on its device or, where it is too large for that, on the CPU.

    Too large for a card is more than :data:`CANVAS_SHARE` of its memory, which is the same each time, and what does not
    fit into it at the moment.

    Raises:
        VidtwinError: the CPU's memory is full, too.
    """
    size = math.prod(shape) * like.element_size()
    if like.device.type != "cuda" or size <= CANVAS_SHARE * device_memory(like.device):
        try:
            return like.new_empty(tuple(shape))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        release()
    try:
        return like.new_empty(tuple(shape), device="cpu")
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise VidtwinError("not enough memory for the frames of one clip", "pass --short-side") from error


def check_frames(width: int, height: int, count: int, *, hint: str) -> None:
    """Refuse frames that cannot be in memory together, before any of them is made.

    Args:
        width: width of a frame in pixels.
        height: height of a frame in pixels.
        count: number of frames that are in memory at once.
        hint: what to do instead.

    Raises:
        VidtwinError: as 8-bit RGB, with room for a copy, they take more than half of the memory of this machine.
    """
    if 2 * 3 * width * height * count > machine.memory() / 2:
        several = "a frame" if count == 1 else f"{count} frames"
        raise VidtwinError(f"{several} of {width} x {height} pixels do not fit the memory of this machine", hint)


class Batches:
    """Runs the network over many tiles in batches, which become smaller for good once memory has run out.

    Attributes:
        size: the most tiles in one call.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, network: Callable[[slice], T], count: int) -> Iterator[T]:
        """Yield ``network(slice)`` for slices of 0 … count of at most ``size``, which is halved when memory runs out.

        Raises:
            VidtwinError: not even one tile fits.
        """
        start = 0
        while start < count:
            piece = slice(start, min(start + self.size, count))
            try:
                out = network(piece)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                forget(error)
                if piece.stop - piece.start == 1:
                    raise VidtwinError(
                        "not enough memory for one tile", "close other programs, or pass --device cpu"
                    ) from error
            else:
                yield out
                del out  # or it would lie beside the next one
                start = piece.stop
                continue
            # only here is the error gone, and with it what it held
            self.size = (piece.stop - piece.start) // 2
            release()
