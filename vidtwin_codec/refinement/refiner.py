"""The decoder at the encoder's side: sensitivity and refined latents of a video's tiles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from vidtwin_codec.coding import LatentArrays
from vidtwin_codec.model import Latents
from vidtwin_codec.pipeline.codec import Codec, Frames, LoadCodec
from vidtwin_codec.pipeline.device import Batches
from vidtwin_codec.pipeline.geometry import Geometry, pixels_from_levels
from vidtwin_codec.pipeline.options import EncodeOptions
from vidtwin_codec.refinement.descent import descend
from vidtwin_codec.refinement.levels import LEVELS, Level
from vidtwin_codec.refinement.sensitivity import measure_sensitivity
from vidtwin_codec.weights import Entry

BACKWARD_SHARE = 4
"""A backward pass keeps what every layer gave: so many fewer tiles go through at once."""
PROBED_TILES = 4
"""Of the first clips, spread evenly: a channel of 49 positions is then probed some 200 times."""


class Refined(NamedTuple):
    """Latents after refinement, float32 ``[tiles, …]``.

    Attributes:
        latents: to be coded.
        saved: the pixels' squared error that was saved, summed over tiles, in [-1, 1].
    """

    latents: LatentArrays
    saved: float


class Refiner:
    """Improves latents at encoding time. Always in float32, whatever precision the rest runs in.

    Args:
        codec: the network's decoder; its parameters are frozen.
        level: what to do.

    Attributes:
        sensitivity: of the channels, measured on the first clips that were refined; None before.
    """

    def __init__(self, codec: Codec, level: Level) -> None:
        self.codec, self.level = codec, level
        codec.model.requires_grad_(False)
        self.batches = Batches(max(1, codec.batches.size // BACKWARD_SHARE))
        self.sensitivity: LatentArrays | None = None

    def refine(self, frames: Frames, latents: LatentArrays, geometry: Geometry) -> Refined:
        """Latents that decode closer to ``frames``, tile by tile; as they were for a level without descents.

        Args:
            frames: uint8 ``[n, H, W, 3]``.
            latents: what the network's encoder gave for them.
            geometry: clips and tiles of the video.

        Raises:
            VidtwinError: the memory does not suffice for one tile.
        """
        if self.sensitivity is None:
            self.measure(latents)
        assert self.sensitivity is not None
        if not self.level.descents:
            return Refined(latents, 0.0)
        tiles = geometry.cut(torch.from_numpy(frames))
        device = self.codec.device.device
        sensitivity = Latents(*(torch.from_numpy(part).to(device, torch.float32) for part in self.sensitivity))

        def run(piece: slice) -> Refined:
            pixels = pixels_from_levels(tiles[piece].to(device), torch.float32)
            start = Latents(*(torch.from_numpy(part[piece]).to(device) for part in latents))
            found = descend(self.codec.model, start, pixels, sensitivity, self.level.descents)
            saved = torch.nan_to_num(found.before - found.errors).sum()  # of latents that are not numbers, nothing
            return Refined(LatentArrays(*(part.cpu().numpy() for part in found.latents)), float(saved))

        parts = list(self.batches.run(lambda piece: self.codec.alone(lambda: run(piece)), len(tiles)))
        columns = zip(*(part.latents for part in parts), strict=True)
        return Refined(LatentArrays(*map(np.concatenate, columns)), sum(part.saved for part in parts))

    def measure(self, latents: LatentArrays) -> None:
        """Set :attr:`sensitivity` to that at ``latents``, the first ones of a video.

        Raises:
            VidtwinError: the memory does not suffice for one tile.
        """
        count = len(latents.structure)
        chosen = np.unique(np.linspace(0, count - 1, min(count, PROBED_TILES)).round().astype(np.int64))
        some = [torch.from_numpy(part[chosen]).to(self.codec.device.device) for part in latents]

        def run(piece: slice) -> LatentArrays:
            return measure_sensitivity(self.codec.model, Latents(*(part[piece] for part in some)))

        # one by one: the signs of a probe follow from the shape of the batch
        parts = list(Batches(1).run(lambda piece: self.codec.alone(lambda: run(piece)), len(chosen)))
        self.sensitivity = LatentArrays(*(np.mean(column, axis=0) for column in zip(*parts, strict=True)))


def load_refiner(entry: Entry, options: EncodeOptions, load: LoadCodec = Codec.load) -> Refiner | None:
    """What ``options.effort`` asks for; None where that needs no decoder.

    Raises:
        VidtwinError: the weights cannot be read.
    """
    level = LEVELS[options.effort]
    return Refiner(load(entry, options, "decoder"), level) if level.decodes else None
