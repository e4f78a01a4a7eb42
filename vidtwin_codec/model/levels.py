"""Whole windows of 8-bit frames to latents and back, a few frames at a time.

Pixels as floats take more memory than everything else together, and only the first and last layers, the lapping filter
and the rounding to levels ever touch them. These work on each frame by itself, so they are run over as few frames as
keep the processor busy; what lies between them sees the whole clip as tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vidtwin_codec.model.config import check_clip

if TYPE_CHECKING:
    from vidtwin_codec.model.vidtwin import Branch, Latents, VidTwinDecoder, VidTwinEncoder

TOKENS_AT_ONCE = {"cpu": 512}
"""Patches whose pixels are processed at once; on a CPU few enough for its caches."""
_TOKENS_ELSEWHERE = 1 << 15


def pixels_from_levels(levels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Map uint8 levels to the network's pixels in [-1, 1]."""
    return levels.to(dtype).div_(127.5).sub_(1)


def levels_from_pixels(pixels: Tensor, *, overwrite: bool = False) -> Tensor:
    """Round pixels in [-1, 1] to levels; values beyond are clipped.

    Args:
        pixels: float32 pixels.
        overwrite: whether ``pixels`` may be used for intermediate results, which saves their memory.

    Returns:
        Whole numbers from 0 to 255, still float32: copying them to a uint8 tensor is exact.
    """
    shifted = pixels.add_(1) if overwrite else pixels.add(1)
    return shifted.mul_(127.5).round_().clamp_(0, 255)


def encode_levels(encoder: VidTwinEncoder, frames: Tensor) -> Latents:
    """Encode uint8 frames ``[B, T, H, W, 3]`` to posterior means, float32.

    Raises:
        ValueError: the network does not take clips of this size.
    """
    batch, count, height, width, colours = frames.shape
    check_clip(encoder.config, (batch, colours, count, height, width))
    patch = encoder.config.patch_size
    grid = height // patch, width // patch
    flat = frames.flatten(0, 1)
    tokens: Tensor | None = None
    start = 0
    for some in torch.split(flat, _frames_at_once(grid, frames.device)):
        pixels = pixels_from_levels(some, encoder.patch_embedding.weight.dtype)
        embedded = encoder.patch_embedding(encoder.lapping.before(pixels))
        if tokens is None:
            tokens = embedded.new_empty(len(flat), *embedded.shape[1:])
        tokens[start : start + len(some)] = embedded
        start += len(some)
    assert tokens is not None  # check_clip refuses a clip without frames
    return encoder.means(tokens.view(batch, count, *tokens.shape[1:]), grid)


def decode_levels(
    decoder: VidTwinDecoder, latents: Latents, *, only: Branch | None = None, coarseness: float = 0.0
) -> Tensor:
    """Decode latents to frames uint8 ``[B, T, H, W, 3]``, rounded and clipped to levels; see :meth:`VidTwin.decode`."""
    patch, grid = decoder.config.patch_size, decoder.grid(latents)
    tokens = decoder.tokens(latents, only=only)
    batch, count = tokens.shape[:2]
    out = torch.empty(
        batch * count, grid[0] * patch, grid[1] * patch, 3, dtype=torch.uint8, device=latents.structure.device
    )
    start = 0
    for some in torch.split(tokens.flatten(0, 1), _frames_at_once(grid, tokens.device)):
        pixels = decoder.lapping.after(decoder.head(some, grid))
        pixels = decoder.filtered(pixels, only=only, coarseness=coarseness)
        out[start : start + len(some)] = levels_from_pixels(pixels, overwrite=True)
        start += len(some)
    return out.view(batch, count, *out.shape[1:])


def _frames_at_once(grid: tuple[int, int], device: torch.device) -> int:
    return max(1, TOKENS_AT_ONCE.get(device.type, _TOKENS_ELSEWHERE) // (grid[0] * grid[1]))
