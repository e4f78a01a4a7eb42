"""The network at work on tiles: uint8 frames to latent arrays and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from vidtwin_codec.coding import LatentArrays, LatentLayout
from vidtwin_codec.model import Latents, VidTwin, load_checkpoint
from vidtwin_codec.pipeline.device import Batches, Device, select_device, tiles_per_batch
from vidtwin_codec.pipeline.geometry import Geometry, pixels_from_levels
from vidtwin_codec.pipeline.options import NetworkOptions
from vidtwin_codec.weights import Entry

Frames = NDArray[np.uint8]
T = TypeVar("T")


class Codec:
    """A VidTwin on a device, working on whole frames of any size.

    Args:
        model: with the halves that will be used.
        device: where it runs.
        batch: tiles in one call of the network; None chooses from the device's memory.
    """

    def __init__(self, model: VidTwin, device: Device, batch: int | None = None) -> None:
        self.model = model.to(device.device)
        self.device = device
        self.batches = Batches(batch or tiles_per_batch(model.config, device))

    @classmethod
    def load(cls, entry: Entry, options: NetworkOptions, part: str) -> Codec:
        """Read one half (``encoder`` or ``decoder``) of the weights onto the device that ``options`` ask for.

        Raises:
            VidtwinError: the weights cannot be read, or the device is not there.
        """
        device = select_device(options.device, options.precision, entry.metadata.compute_dtype)
        return cls(load_checkpoint(entry.path, parts=(part,)), device, options.batch)

    @property
    def layout(self) -> LatentLayout:
        """Shapes of one tile's latents."""
        config = self.model.config
        return LatentLayout(config.structure_shape, config.dynamics_x_shape, config.dynamics_y_shape)

    def geometry(self, width: int, height: int, overlap: int) -> Geometry:
        """Clips and tiles of a video of this size, in pixels, for these weights."""
        config = self.model.config
        # neighbours may share at most half a tile, or small tiles would never get anywhere
        overlap = min(overlap, min(config.height, config.width) // 2)
        return Geometry(width, height, config.frames, config.height, config.width, overlap)

    def clips_at_once(self, geometry: Geometry) -> int:
        """Clips that fill one batch."""
        return max(1, self.batches.size // len(geometry.tiles))

    @torch.inference_mode()
    def encode(self, frames: Frames, geometry: Geometry) -> LatentArrays:
        """Posterior means of ``frames`` uint8 ``[n, H, W, 3]``, float32, clip by clip and tile by tile."""
        tiles = geometry.cut(torch.from_numpy(frames))
        parts = list(self.batches.run(lambda piece: self.encode_tiles(tiles[piece]), len(tiles)))
        return LatentArrays(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))

    @torch.inference_mode()
    def decode(self, latents: LatentArrays, geometry: Geometry, only: Any = None) -> Iterator[Frames]:
        """Frames of whole clips, uint8 ``[clip_frames, H, W, 3]`` each, from ``clips · tiles`` latents."""
        tensors = [torch.from_numpy(np.ascontiguousarray(part)) for part in latents]

        def run(piece: slice) -> torch.Tensor:
            return self.decode_tiles(Latents(*(tensor[piece] for tensor in tensors)), only)

        stream = (tile for out in self.batches.run(run, len(tensors[0])) for tile in out.unbind(0))
        per_clip = len(geometry.tiles)
        for _ in range(len(tensors[0]) // per_clip):
            yield geometry.join(islice(stream, per_clip)).cpu().numpy()

    def alone(self, work: Callable[[], T]) -> T:
        """``work()``, which uses the model by itself, when nothing else is using the device."""
        return work()

    @torch.inference_mode()
    def encode_tiles(self, tiles: torch.Tensor) -> Latents:
        """One call of the network: uint8 ``[n, 3, T, H, W]`` to posterior means, on the CPU."""
        pixels = pixels_from_levels(tiles.to(self.device.device), torch.float32)
        with self.device.autocast():
            return Latents(*(part.cpu() for part in self.model.encode(pixels)))

    @torch.inference_mode()
    def decode_tiles(self, latents: Latents, only: Any = None) -> torch.Tensor:
        """One call of the network: latents of n tiles to ``[n, 3, T, H, W]`` in [-1, 1], on the device."""
        part = Latents(*(tensor.to(self.device.device) for tensor in latents))
        with self.device.autocast():
            return self.model.decode(part, only=only)


LoadCodec = Callable[[Entry, NetworkOptions, str], Codec]
"""What reads a network: :meth:`Codec.load`, or :meth:`Codecs.load` of an object that keeps what it has read."""


class Codecs:
    """Networks for work on several files: each half is read once, by ``read`` (:meth:`Codec.load`), and kept."""

    def __init__(self, read: LoadCodec | None = None) -> None:
        self._read = read or Codec.load
        self._kept: dict[tuple[object, ...], Codec] = {}

    def load(self, entry: Entry, options: NetworkOptions, part: str) -> Codec:
        """As :meth:`Codec.load`; the same object for the same weights, device, precision and batch."""
        key = (entry.sha256, part, options.device, options.precision, options.batch)
        if key not in self._kept:
            self._kept[key] = self._read(entry, options, part)
        return self._kept[key]
