"""Preparing the files of a run: decoded footage to train on, and held-out clips to measure on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwinConfig
from vidtwin_codec.network.cropping import fill_up, scale_and_crop
from vidtwin_codec.reporter import Reporter
from vidtwin_codec.training.footage import Footage, FoundFile, open_array, training_size
from vidtwin_codec.training.options import TrainOptions

HELD_OUT_STARTS = (0, 2)
"""Indices of the clips of a held-out file that are measured: two moments, often of one scene."""
MAX_HELD_OUT = 256
"""Most clips to measure on."""


def load_footage(
    files: list[FoundFile], config: VidTwinConfig, options: TrainOptions, reporter: Reporter
) -> list[Footage]:
    """Load the footage to train on, arrays directly and videos through the cache; unusable files are reported.

    Raises:
        VidtwinError: nothing is left, or the cache cannot be written.
    """
    arrays: list[Footage] = []
    for file in files:
        if file.is_array:
            try:
                arrays.append(open_array(file, config))
            except VidtwinError as error:
                reporter.warned(f"{error.message}: skipped")
    videos = [file for file in files if not file.is_array]
    found = arrays + (_decoded(videos, config, options, reporter) if videos else [])
    usable = [one for one in found if min(one.frames, one.run) >= config.frames]
    for one in found:
        if one not in usable:
            reporter.warned(f"{one.name}: skipped, {one.frames} frames are fewer than the {config.frames} of one clip")
    if not usable:
        raise VidtwinError(f"{options.data}: nothing to train on is left", "the lines above say what was skipped")
    return sorted(usable, key=lambda one: one.name)


def _decoded(
    videos: list[FoundFile], config: VidTwinConfig, options: TrainOptions, reporter: Reporter
) -> list[Footage]:
    from vidtwin_codec.training.cache import FrameCache, UnreadableError, probe_facts

    cache = FrameCache(options.cache or _default_cache(), options.cache_gb * 1e9, reporter)

    def size(width: int, height: int) -> tuple[int, int]:
        return training_size(width, height, config, options.short_side)

    found = []
    reporter.stage("looking at videos", "video").started(len(videos), "")
    for file in videos:
        reporter.advanced(1)
        try:
            found.append((file, probe_facts(file, size, cache.folder)))
        except UnreadableError as error:
            reporter.warned(f"{file.name}: skipped, {error}")
    return cache.fill(cache.plan(found))


def _default_cache() -> Path:
    from vidtwin_codec.weights import cache_folder

    return cache_folder().parent / "frames"


def held_out_clips(files: list[FoundFile], config: VidTwinConfig, reporter: Reporter) -> Tensor:
    """Load clips to measure on, uint8 ``[n, T, H, W, 3]``, prepared as in the paper.

    The short side is scaled to the network's (bilinear, antialiased) and the centre cropped. Each file gives its frames
    0 to T−1 and 2 T to 3 T−1. A file that ends early gives one clip, padded with its last frame if necessary.
    """
    clips = []
    if files:
        reporter.stage("reading held-out clips", "file").started(len(files), "")
    for file in files:
        reporter.advanced(1)
        try:
            pieces = _array_pieces(file, config) if file.is_array else _video_pieces(file, config)
            size = config.height, config.width
            clips += [scale_and_crop(torch.from_numpy(piece), size) for piece in pieces]
        except VidtwinError as error:
            reporter.warned(f"{error.message}: not measured on")
        if len(clips) >= MAX_HELD_OUT:
            reporter.said(f"measuring on {MAX_HELD_OUT} clips, the first of the held-out files")
            break
    if not clips:
        return torch.empty(0, config.frames, config.height, config.width, 3, dtype=torch.uint8)
    return torch.stack(clips[:MAX_HELD_OUT])


def _wanted(read: Callable[[int], NDArray[np.uint8]], frames: int) -> Iterator[NDArray[np.uint8]]:
    for number in range(max(HELD_OUT_STARTS) + 1):
        piece = read(frames)
        if not len(piece):
            return
        if number in HELD_OUT_STARTS and (number == 0 or len(piece) == frames):
            yield fill_up(piece, frames)


def _video_pieces(file: FoundFile, config: VidTwinConfig) -> Iterator[NDArray[np.uint8]]:
    from vidtwin_codec.media import FrameReader, probe

    limit = (max(HELD_OUT_STARTS) + 1) * config.frames
    with FrameReader(probe(file.path), max_frames=limit) as reader:
        yield from _wanted(reader.read, config.frames)


def _array_pieces(file: FoundFile, config: VidTwinConfig) -> Iterator[NDArray[np.uint8]]:
    open_array(file, config)  # checks the form of the array
    array = np.load(file.path, mmap_mode="r")
    position = 0

    def read(count: int) -> NDArray[np.uint8]:
        nonlocal position
        position += count
        return np.array(array[position - count : position])

    yield from _wanted(read, config.frames)
