"""The files that a run trains on, videos and arrays at any depth, of which some are held out."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import VIDEO_SUFFIXES, explain_os_error
from vidtwin_codec.model import VidTwinConfig
from vidtwin_codec.training.options import TrainOptions

ARRAY_SUFFIX = ".npy"
_SLACK = 8 / 7
"""Decoded short side over the network's, which leaves room for crops to move (256 for 224)."""


@dataclass(frozen=True)
class Footage:
    """Decoded frames of one file.

    Attributes:
        name: name of the file they come from, relative to the data folder.
        path: a ``.npy`` file of uint8 ``[frames, height, width, 3]``.
        frames: number of frames.
        height: height in pixels.
        width: width in pixels.
        run: number of frames between gaps; a clip lies within one such run.
    """

    name: str
    path: Path
    frames: int
    height: int
    width: int
    run: int

    def open(self) -> Tensor:
        """Map the frames from the file."""
        # copy-on-write, because torch warns of read-only arrays; nothing writes to it
        return torch.from_numpy(np.load(self.path, mmap_mode="c"))


@dataclass(frozen=True)
class FoundFile:
    """A file to train or measure on."""

    name: str
    path: Path

    @property
    def is_array(self) -> bool:
        return self.path.suffix.lower() == ARRAY_SUFFIX

    @property
    def order(self) -> str:
        """Sort key for an order that looks random and is the same on every machine."""
        return hashlib.sha256(self.name.encode("utf-8", "surrogateescape")).hexdigest()


def find_files(data: Path) -> list[FoundFile]:
    """List all videos and ``.npy`` files at or below ``data``, by name.

    Raises:
        VidtwinError: there is no such file or folder, or nothing usable in it.
    """
    if not data.exists():
        raise VidtwinError(f"{data}: no such file or folder", "name a folder of videos")
    if data.is_file():
        return [FoundFile(data.name, data)]
    wanted = VIDEO_SUFFIXES | {ARRAY_SUFFIX}
    try:
        paths = sorted(path for path in data.rglob("*") if path.suffix.lower() in wanted and path.is_file())
    except OSError as error:
        raise explain_os_error(error, data) from error
    if not paths:
        kinds = "mp4, mkv, webm, mov, avi …"
        raise VidtwinError(f"{data}: no videos and no .npy files in it", f"videos are known by their suffix: {kinds}")
    return [FoundFile(path.relative_to(data).as_posix(), path) for path in paths]


def split(options: TrainOptions) -> tuple[list[FoundFile], list[FoundFile]]:
    """Choose the files to train on and the files to measure on.

    The choice depends on the names of the files alone, so adding footage moves others only as far as the share
    requires.
    """
    files = find_files(options.data)
    if options.eval_data is not None:
        return files, find_files(options.eval_data)
    if len(files) < 2 or not options.held_out:
        return files, []
    count = min(len(files) - 1, max(1, round(options.held_out * len(files))))
    held = {file.name for file in sorted(files, key=lambda file: file.order)[:count]}
    return [file for file in files if file.name not in held], [file for file in files if file.name in held]


def training_size(width: int, height: int, config: VidTwinConfig, short_side: int | None) -> tuple[int, int]:
    """Compute ``(width, height)`` to decode a video to: a smaller short side, but never below the network's size."""
    wanted = short_side or round(min(config.width, config.height) * _SLACK)
    scale = min(1.0, wanted / min(width, height))
    scale = max(scale, config.width / width, config.height / height)
    return max(config.width, round(width * scale)), max(config.height, round(height * scale))


def open_array(file: FoundFile, config: VidTwinConfig) -> Footage:
    """Use an array of frames as footage.

    Raises:
        VidtwinError: the array is not uint8 ``[frames, height, width, 3]``, or smaller than the network's clips.
    """
    try:
        array = np.load(file.path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise VidtwinError(f"{file.name}: not a readable .npy file ({error})") from error
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise VidtwinError(
            f"{file.name}: holds {array.dtype} {list(array.shape)}, not uint8 [frames, height, width, 3]"
        )
    frames, height, width = array.shape[:3]
    if height < config.height or width < config.width:
        raise VidtwinError(f"{file.name}: {width} x {height} is smaller than {config.width} x {config.height}")
    return Footage(file.name, file.path, frames, height, width, max(frames, 1))


def fingerprint(footage: list[Footage]) -> str:
    """Compute a digest that tells whether two runs train on the same footage."""
    text = "\n".join(f"{one.name} {one.frames} {one.width}x{one.height} {one.run}" for one in footage)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def describe(footage: list[Footage]) -> str:
    """Describe the amount of footage in words."""
    frames = sum(one.frames for one in footage)
    gigabytes = sum(math.prod((one.frames, one.height, one.width, 3)) for one in footage) / 1e9
    return f"{len(footage)} files, {frames} frames, {gigabytes:.1f} GB"
