"""Clips and tiles: a video of any size and length, cut into pieces that the network takes.

In time, a video is cut into clips of ``clip_frames``; the last one is padded by repeating its last frame. In space,
each frame is cut into tiles that cover it evenly and overlap their neighbours by at least ``overlap`` pixels; a side
shorter than a tile is padded by repeating its last pixel. Decoding cross-fades tiles over the pixels they share, so
that no seam shows, and crops the padding. Networks that take any grid of patches see windows instead: tiles that
abut, mostly one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vidtwin_codec.coding import LatentLayout
from vidtwin_codec.coding.patterns import Patterns
from vidtwin_codec.container import Header
from vidtwin_codec.container.fields import MAX_SIZE
from vidtwin_codec.container.tiling import abutting_offsets, tile_count, tile_offsets
from vidtwin_codec.model import VidTwinConfig
from vidtwin_codec.model.levels import levels_from_pixels
from vidtwin_codec.network.memory import allocate

MAX_WINDOW_PIXELS = 1 << 21
"""1920 × 1088 is just below; a clip of 16 frames then takes 100 MB."""
MAX_WINDOW_ELEMENTS = 1 << 24
"""Most latents of a window; a canvas on which a window follows the camera may have more."""
_SEAM = 16
"""Cost of a seam, in pixels for each pixel of its length."""


def window_layout(config: VidTwinConfig, height: int, width: int) -> LatentLayout:
    """Return the shapes of the latents of one network input of this size in pixels.

    Raises:
        VidtwinError: the input has more latents than a layout may have.
    """
    if not config.any_grid:
        return LatentLayout(config.structure_shape, config.dynamics_x_shape, config.dynamics_y_shape)
    patterns = None if config.patterns is None else Patterns(config.patch_size, config.patterns)
    rows, columns = height // config.patch_size, width // config.patch_size
    return LatentLayout(
        (config.qformer.num_queries, rows, columns, config.structure_channels),
        (config.dynamics_channels, config.frames, columns),
        (config.dynamics_channels, config.frames, rows),
        patterns,
    )


def window_size(config: VidTwinConfig, width: int, height: int) -> tuple[int, int]:
    """Return ``(height, width)`` of a frame's windows in pixels: the fewest windows, and of those the fewest pixels.

    The size follows from the weights and the frame alone, so that every machine makes the same file.
    """
    count = 1
    while True:
        sizes = []
        for rows in range(1, count + 1):
            if count % rows == 0:
                size = _side(height, rows, config.patch_size), _side(width, count // rows, config.patch_size)
                if _fits(config, *size):
                    sizes.append(size)
        if sizes:
            return min(sizes, key=lambda size: size[0] * size[1] + _SEAM * sum(size))
        count += 1


def _side(size: int, count: int, patch: int) -> int:
    """Return the side of each of ``count`` windows that cover ``size`` pixels, in whole patches."""
    return math.ceil(size / (count * patch)) * patch


def _fits(config: VidTwinConfig, height: int, width: int) -> bool:
    rows, columns = height // config.patch_size, width // config.patch_size
    elements = config.qformer.num_queries * rows * columns * config.structure_channels
    elements += config.dynamics_channels * config.frames * (rows + columns)
    small = elements <= MAX_WINDOW_ELEMENTS and height * width <= MAX_WINDOW_PIXELS
    return (small and max(height, width) <= MAX_SIZE) or rows == columns == 1


Frames = NDArray[np.uint8]

SECONDS_PER_GROUP = 10
SECONDS_PER_STILL_GROUP = 60
MAX_CLIPS_PER_GROUP = 1024
MAX_TILES_PER_GROUP = 1024
_FRAMES_AT_ONCE = 4
MAX_TILES_PER_STILL_GROUP = 4096
"""Limit for overlapping tiles, whose groups are coded as a whole: 8 million latents of the released layout, 33
million where the scene stands still (132 MB). Windows are coded clip by clip."""


@dataclass(frozen=True)
class Geometry:
    """The clips and tiles of one video; everything in pixels and frames.

    Args:
        width: width of the frames that the network sees (after ``--short-side``).
        height: height of these frames.
        clip_frames: number of frames in a clip.
        tile_height: height of a tile.
        tile_width: width of a tile.
        overlap: least number of pixels that neighbouring tiles share.
        abutting: whether tiles lie side by side; then the last ones may reach beyond the frame.
    """

    width: int
    height: int
    clip_frames: int
    tile_height: int
    tile_width: int
    overlap: int
    abutting: bool = False

    @classmethod
    def of(cls, header: Header) -> Geometry:
        """Return the geometry of a file."""
        return cls(
            header.coded_width,
            header.coded_height,
            header.clip_frames,
            header.tile_height,
            header.tile_width,
            header.overlap,
            header.abutting,
        )

    @cached_property
    def tiles(self) -> list[tuple[int, int]]:
        """Top-left corners ``(y, x)`` of a frame's tiles, row by row."""
        if self.abutting:
            rows, columns = (
                abutting_offsets(size, tile)
                for size, tile in ((self.height, self.tile_height), (self.width, self.tile_width))
            )
        else:
            rows = tile_offsets(self.height, self.tile_height, self.overlap)
            columns = tile_offsets(self.width, self.tile_width, self.overlap)
        return [(y, x) for y in rows for x in columns]

    def canvas(self, height: int, width: int) -> Geometry:
        """Return the geometry with frames of another size in pixels, which one window covers where windows abut."""
        if not self.abutting:
            return replace(self, height=height, width=width)
        return replace(self, height=height, width=width, tile_height=height, tile_width=width)

    def clips(self, frames: int) -> int:
        """Return the number of clips that ``frames`` frames fill."""
        return -(-frames // self.clip_frames)

    def clips_per_group(self, fps: Fraction) -> int:
        """Return the least number of clips in a group: about ten seconds, fewer if frames hold many tiles."""
        wanted = round(float(fps) * SECONDS_PER_GROUP / self.clip_frames)
        return max(1, min(wanted, MAX_CLIPS_PER_GROUP if self.abutting else MAX_TILES_PER_GROUP // len(self.tiles)))

    def most_clips_per_group(self, fps: Fraction) -> int:
        """Return the number of clips of the longest group: about a minute of a scene that stands still.

        It is a multiple of `clips_per_group`. No group reaches across a multiple of it, so that a video can be cut
        there and its parts encoded apart.
        """
        least = self.clips_per_group(fps)
        wanted = round(float(fps) * SECONDS_PER_STILL_GROUP / self.clip_frames / least)
        tiles = MAX_CLIPS_PER_GROUP if self.abutting else MAX_TILES_PER_STILL_GROUP // len(self.tiles)
        most = min(tiles, MAX_CLIPS_PER_GROUP)
        return least * max(1, min(wanted, most // least))

    def cut(self, frames: Tensor) -> Tensor:
        """Cut frames into tiles of whole clips, clip by clip.

        Args:
            frames: uint8 ``[n, height, width, 3]``; a part of a clip at the end is padded.

        Returns:
            uint8 ``[clips · tiles, 3, clip_frames, tile_height, tile_width]``, a view of interleaved memory.
        """
        clips = self.clips(len(frames))
        missing = clips * self.clip_frames - len(frames)
        if missing:
            frames = torch.cat([frames, frames[-1:].expand(missing, -1, -1, -1)])
        video = frames.view(clips, self.clip_frames, self.height, self.width, 3)
        last_y, last_x = self.tiles[-1]
        bottom = max(0, last_y + self.tile_height - self.height)
        right = max(0, last_x + self.tile_width - self.width)
        if bottom or right:
            # slices: picking pixels by their indices takes five times as long
            padded = video.new_empty(*video.shape[:2], self.height + bottom, self.width + right, 3)
            padded[:, :, : self.height, : self.width] = video
            padded[:, :, self.height :, : self.width] = video[:, :, -1:]
            padded[:, :, :, self.width :] = padded[:, :, :, self.width - 1 : self.width]
            video = padded
        cut = [video[:, :, y : y + self.tile_height, x : x + self.tile_width] for y, x in self.tiles]
        stacked = cut[0] if len(cut) == 1 else torch.stack(cut, dim=1).flatten(0, 1)
        return stacked.permute(0, 4, 1, 2, 3)

    def join(self, tiles: Iterable[Tensor]) -> Tensor:
        """Join one clip's tiles to frames, cross-faded and cropped.

        Args:
            tiles: the tiles of one clip in order, each ``[3, clip_frames, tile_height, tile_width]`` in [-1, 1]; values
                beyond are clipped. They are taken one by one, so they need not all be in memory. A single tile is
                overwritten.

        Returns:
            uint8 ``[clip_frames, height, width, 3]``.
        """
        height, width = min(self.tile_height, self.height), min(self.tile_width, self.width)
        canvas: Tensor | None = None
        for tile, (y, x) in zip(tiles, self.tiles, strict=True):
            cropped = tile[..., :height, :width].permute(1, 2, 3, 0)
            if len(self.tiles) == 1:
                canvas = cropped
                break
            if canvas is None:
                canvas = allocate(tile, (self.clip_frames, self.height, self.width, 3)).zero_()
                down, across = self._blend_weights(canvas.device)
            fade = down[y][:height, None, None] * across[x][:width, None]
            canvas[:, y : y + height, x : x + width].addcmul_(cropped.to(canvas.device), fade)
        assert canvas is not None  # a frame has at least one tile
        levels = allocate(canvas.new_empty(0, dtype=torch.uint8), canvas.shape)
        # in place, and a few frames at a time: joining takes one canvas of floats on the device
        for out, frames in zip(torch.split(levels, _FRAMES_AT_ONCE), torch.split(canvas, _FRAMES_AT_ONCE), strict=True):
            out.copy_(levels_from_pixels(frames, overwrite=True))
        return levels

    def join_levels(self, tiles: Iterable[Tensor]) -> Tensor:
        """Join one clip's abutting tiles to frames, cropped: uint8 ``[clip_frames, height, width, 3]``.

        Args:
            tiles: the tiles of one clip in order, each uint8 ``[clip_frames, tile_height, tile_width, 3]``.
        """
        canvas: Tensor | None = None
        for tile, (y, x) in zip(tiles, self.tiles, strict=True):
            cropped = tile[:, : self.height - y, : self.width - x]
            if len(self.tiles) == 1:
                return cropped.contiguous()
            if canvas is None:
                canvas = allocate(tile, (self.clip_frames, self.height, self.width, 3))
            canvas[:, y : y + cropped.shape[1], x : x + cropped.shape[2]] = cropped
        assert canvas is not None  # a frame has at least one tile
        return canvas

    def _blend_weights(self, device: torch.device) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Return the weights ``[tile]`` by tile offset, for rows and for columns; they add up to 1 at each pixel."""
        return (
            _fades(tile_offsets(self.height, self.tile_height, self.overlap), self.tile_height, self.height, device),
            _fades(tile_offsets(self.width, self.tile_width, self.overlap), self.tile_width, self.width, device),
        )


def aligned_side(side: int, tile: int, overlap: int, pitch: int) -> int:
    """Return the least side in pixels, from ``side`` on, whose tiles all begin at multiples of ``pitch``.

    Two tiles then cut the pixels they share into latents at the same places, so that one's latents repeat the other's
    and take few bytes. Where such a side needs more tiles, ``side`` is returned.
    """
    count = tile_count(side, tile, overlap)
    if count == 1:
        return side
    unit = (count - 1) * pitch
    grown = tile + -(-(side - tile) // unit) * unit
    return grown if tile_count(grown, tile, overlap) == count else side


def _fades(offsets: list[int], tile: int, size: int, device: torch.device) -> dict[int, Tensor]:
    """Return linear cross-fades over the pixels that neighbours share, constant towards the border of the frame."""
    weights = {}
    total = torch.zeros(max(size, tile), device=device)
    position = torch.arange(tile, device=device, dtype=torch.float32) + 0.5
    for number, offset in enumerate(offsets):
        weight = torch.ones(tile, device=device)
        if number > 0:
            shared = offsets[number - 1] + tile - offset
            weight = weight * (position / shared).clamp(max=1)
        if number < len(offsets) - 1:
            shared = offset + tile - offsets[number + 1]
            weight = weight * ((tile - position) / shared).clamp(max=1)
        weights[offset] = weight
        total[offset : offset + tile] += weight
    return {offset: weight / total[offset : offset + tile] for offset, weight in weights.items()}


def scaled_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """Return ``(width, height)`` with the shorter side reduced to ``short_side``; frames are never enlarged.

    The longer side keeps the proportion, rounded to a whole pixel.
    """
    short = min(width, height)
    if short_side is None or short_side >= short:
        return width, height
    return max(1, round(Fraction(width * short_side, short))), max(1, round(Fraction(height * short_side, short)))


def resize_frames(frames: Tensor, width: int, height: int) -> Tensor:
    """Resize uint8 ``[n, H, W, 3]``, bicubic and antialiased; return the same tensor if the size does not change."""
    if frames.shape[1:3] == (height, width):
        return frames
    planar = frames.permute(0, 3, 1, 2)
    resized = functional.interpolate(planar, (height, width), mode="bicubic", antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous()
