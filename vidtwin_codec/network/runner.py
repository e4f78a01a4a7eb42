"""Running the network on tiles or windows: uint8 frames to latent arrays and back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

import torch

from vidtwin_codec.coding import LatentArrays, LatentLayout, Steps
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.coding.sparse.jit import must_compile
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import Latents, VidTwin, VidTwinConfig, load_checkpoint
from vidtwin_codec.model.levels import pixels_from_levels
from vidtwin_codec.network.device import Device, select_device, tiles_per_batch, windows_per_batch
from vidtwin_codec.network.following import cut_out, placed_geometry
from vidtwin_codec.network.geometry import Frames, Geometry, window_layout, window_size
from vidtwin_codec.network.memory import Batches, is_out_of_memory, release
from vidtwin_codec.network.transfer import Arriving, to_device
from vidtwin_codec.options import NetworkOptions, Reporter
from vidtwin_codec.weights import Entry


class Showing(NamedTuple):
    """What of latents is shown, and what is known of them.

    Attributes:
        coarseness: their quantisation steps over the weights' own (`Steps.coarseness`); 0 if they are not quantised.
        only: the only branch to decode, ``"structure"`` or ``"dynamics"``; None for both.
    """

    coarseness: float = 0.0
    only: Any = None

    @staticmethod
    def of(steps: Steps | None, entry: Entry, only: Any = None) -> Showing:
        """Return how latents that were quantised with ``steps``, or not at all, are shown by some weights."""
        return Showing(0.0 if steps is None else steps.coarseness(entry.metadata.steps), only)


class NetworkRunner:
    """Runs a VidTwin on a device, on whole frames of any size.

    Args:
        model: the network, with the halves that will be used; from now on it is for this device and precision alone.
        device: the device and the precision to run in.
        batch: number of tiles (or windows) in one call of the network; None chooses from the device's memory.
    """

    def __init__(self, model: VidTwin, device: Device, batch: int | None = None) -> None:
        self.model = model.to(device.device)
        if device.precision == torch.bfloat16:
            self.model.hold_in_bfloat16()
        self.device = device
        self.batches = Batches(batch or tiles_per_batch(model.config, device))
        self._batch = batch
        self._window_batches: dict[tuple[int, int], Batches] = {}

    @classmethod
    def load(cls, entry: Entry, options: NetworkOptions, part: str) -> NetworkRunner:
        """Read one half (``encoder`` or ``decoder``) of the weights onto the device that ``options`` ask for.

        Raises:
            VidtwinError: the weights cannot be read, or this machine does not have the device.
        """
        device = select_device(
            options.device, options.precision, entry.metadata.compute_dtype, tf32=entry.metadata.tf32
        )
        model = load_checkpoint(entry.path, parts=(part,), device=device.device)
        if not options.postfilter:
            model.leave_out_postfilter()
        return cls(model, device, options.batch)

    @property
    def layout(self) -> LatentLayout:
        """The shapes of the latents of a tile of the weights' own size."""
        config = self.model.config
        return window_layout(config, config.height, config.width)

    def layout_of(self, geometry: Geometry) -> LatentLayout:
        """Return the shapes of the latents of one tile, or window, of this geometry."""
        return window_layout(self.model.config, geometry.tile_height, geometry.tile_width)

    def geometry(self, width: int, height: int, overlap: int) -> Geometry:
        """Return the geometry of a video of this size; see :func:`network_geometry`."""
        return network_geometry(self.model.config, width, height, overlap)

    def check_geometry(self, geometry: Geometry, source: str | os.PathLike[str]) -> None:
        """Make sure that these weights can decode a file of this geometry. Windows may have any size.

        Raises:
            VidtwinError: the weights make other clips or tiles; the message names ``source``.
        """
        expected = self.geometry(geometry.width, geometry.height, geometry.overlap)
        if expected.abutting and geometry.abutting:
            sides = geometry.tile_height, geometry.tile_width
            if not any(side % self.model.config.patch_size for side in sides):
                expected = replace(expected, tile_height=sides[0], tile_width=sides[1])
        if geometry != expected:
            raise VidtwinError(f"{os.fspath(source)}: its clips and tiles do not have the size these weights make")

    def batches_of(self, geometry: Geometry) -> Batches:
        """Return the batches for tiles, or windows, of this geometry."""
        return self.window_batches(geometry.tile_height, geometry.tile_width) if geometry.abutting else self.batches

    def window_batches(self, height: int, width: int) -> Batches:
        """Return the batches for windows of this size in pixels, the same object for the same size."""
        size = height, width
        if size not in self._window_batches:
            self._window_batches[size] = Batches(
                self._batch or windows_per_batch(self.model.config, self.device, *size)
            )
        return self._window_batches[size]

    def clips_at_once(self, geometry: Geometry) -> int:
        """Return the number of clips that fill one batch."""
        return max(1, self.batches_of(geometry).size // len(geometry.tiles))

    @property
    def calls_ahead(self) -> int:
        """The number of calls worth beginning before the latents of the first are waited for."""
        return 1 if self.device.device.type == "cuda" else 0

    def encode(self, frames: Frames, geometry: Geometry) -> LatentArrays:
        """Encode frames uint8 ``[n, H, W, 3]`` to posterior means, float32, clip by clip and tile by tile."""
        return self.begin_encoding(frames, geometry)()

    @torch.inference_mode()
    def begin_encoding(self, frames: Frames, geometry: Geometry) -> Callable[[], LatentArrays]:
        """Begin :meth:`encode`; return a function that waits for the latents."""
        tiles = self._cut(torch.from_numpy(frames), geometry)
        network: Callable[[torch.Tensor], Latents] = self.encode_tiles
        if geometry.abutting:
            tiles, network = tiles.permute(0, 2, 3, 4, 1), self.encode_windows
        batches = self.batches_of(geometry)
        parts = list(batches.run(lambda piece: Arriving(*network(tiles[piece])), len(tiles)))

        def wait() -> LatentArrays:
            return LatentArrays(*Latents.concatenate([Latents(*part.wait()) for part in parts]).numpy())

        return wait

    def _cut(self, frames: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        """Cut frames into tiles on the device or, where it has no room for all of them, on the CPU."""
        try:
            return geometry.cut(to_device(frames, self.device.device))
        except (RuntimeError, MemoryError) as error:
            if self.device.device.type == "cpu" or not is_out_of_memory(error):
                raise
        release()
        return geometry.cut(frames)

    @torch.inference_mode()
    def decode(self, latents: LatentArrays, geometry: Geometry, showing: Showing) -> Iterator[Frames]:
        """Decode ``clips · tiles`` latents, and yield the frames of each clip, uint8 ``[clip_frames, H, W, 3]``."""
        tensors = Latents.from_numpy(latents)

        network: Callable[[Latents, Showing], torch.Tensor] = self.decode_tiles
        join: Callable[[Iterable[torch.Tensor]], torch.Tensor] = geometry.join
        if geometry.abutting:
            network, join = self.decode_windows, geometry.join_levels

        def run(piece: slice) -> torch.Tensor:
            return network(tensors.map(itemgetter(piece)), showing)

        stream = (tile for out in self.batches_of(geometry).run(run, len(tensors[0])) for tile in out.unbind(0))
        per_clip = len(geometry.tiles)
        for _ in range(len(tensors[0]) // per_clip):
            (joined,) = Arriving(join(islice(stream, per_clip))).wait()
            yield joined.numpy()

    def decode_placed(
        self, latents: LatentArrays, geometry: Geometry, placements: Sequence[Placement | None], showing: Showing
    ) -> Iterator[Frames]:
        """Decode clips on canvases of one size, or on none, and yield the frames cut out of the canvases."""
        of_clip = placed_geometry(geometry, self.layout_of(geometry), placements[0])
        for clip, placement in zip(self.decode(latents, of_clip, showing), placements, strict=True):
            yield cut_out(clip, placement, geometry.height, geometry.width)

    @torch.inference_mode()
    def encode_tiles(self, tiles: torch.Tensor) -> Latents:
        """Call the network once: uint8 ``[n, 3, T, H, W]`` to posterior means, on the device."""
        pixels = pixels_from_levels(to_device(tiles, self.device.device))
        with self.device.autocast():
            return self.model.encode(pixels)

    @torch.inference_mode()
    def decode_tiles(self, latents: Latents, showing: Showing) -> torch.Tensor:
        """Call the network once: latents of n tiles to ``[n, 3, T, H, W]`` in [-1, 1], on the device."""
        part = latents.map(lambda tensor: to_device(tensor, self.device.device))
        with self.device.autocast():
            return self.model.decode(part, only=showing.only, coarseness=showing.coarseness)

    @torch.inference_mode()
    def encode_windows(self, windows: torch.Tensor) -> Latents:
        """Call the network once: uint8 ``[n, T, H, W, 3]`` to posterior means, on the device."""
        with self.device.autocast():
            return self.model.encode_levels(to_device(windows, self.device.device))

    @torch.inference_mode()
    def decode_windows(self, latents: Latents, showing: Showing) -> torch.Tensor:
        """Call the network once: latents of n windows to uint8 ``[n, T, H, W, 3]``, on the device."""
        part = latents.map(lambda tensor: to_device(tensor, self.device.device))
        with self.device.autocast():
            return self.model.decode_levels(part, only=showing.only, coarseness=showing.coarseness)


def announce_compiling(layout: LatentLayout, device: Device, reporter: Reporter) -> None:
    """Tell the user that the coder's inner loops are compiled first, which takes a while."""
    if layout.patterns is not None and must_compile():
        reporter.stage("compiling the coder, once on this machine,").started(None, str(device))


def network_geometry(config: VidTwinConfig, width: int, height: int, overlap: int) -> Geometry:
    """Return the clips and tiles, or windows, of a video of this size for these weights.

    Args:
        config: configuration of the weights.
        width: width in pixels of the frames that the network sees.
        height: height in pixels of these frames.
        overlap: least number of pixels that neighbouring tiles share; windows share none.
    """
    if config.any_grid:
        return Geometry(width, height, config.frames, *window_size(config, width, height), 0, abutting=True)
    # neighbours may share at most half a tile, or small tiles would never get anywhere
    overlap = min(overlap, min(config.height, config.width) // 2)
    return Geometry(width, height, config.frames, config.height, config.width, overlap)


LoadNetwork = Callable[[Entry, NetworkOptions, str], NetworkRunner]
"""Reads one half of a network: :meth:`NetworkRunner.load`, or :meth:`NetworkCache.load`, which keeps what it read."""


class NetworkCache:
    """Keeps networks for work on several files, so that each half is read once.

    Args:
        read: reads a half that is not kept yet; :meth:`NetworkRunner.load` unless another is given.
    """

    def __init__(self, read: LoadNetwork | None = None) -> None:
        self._read = read or NetworkRunner.load
        self._kept: dict[tuple[object, ...], NetworkRunner] = {}

    def load(self, entry: Entry, options: NetworkOptions, part: str) -> NetworkRunner:
        """Read one half, or return the same object for the same weights and the same choices of how they run."""
        key = (entry.sha256, part, options.device, options.precision, options.batch, options.postfilter)
        if key not in self._kept:
            self._kept[key] = self._read(entry, options, part)
        return self._kept[key]
