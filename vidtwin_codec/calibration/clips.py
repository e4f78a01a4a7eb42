"""Clips to calibrate on, from the user's videos or synthetic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model.config import VidTwinConfig
from vidtwin_codec.model.levels import pixels_from_levels
from vidtwin_codec.network.cropping import covering_size, crop_centre, fill_up

CLIPS_PER_FILE = 2
_SEED = 20241217


def video_clips(paths: Sequence[Path], config: VidTwinConfig) -> Iterator[Tensor]:
    """Read the first clips of each video, ``[1, 3, T, H, W]`` in [-1, 1].

    Frames are scaled to cover the network's size, then cropped around their centre.

    Raises:
        VidtwinError: a file is not a video.
    """
    from vidtwin_codec.media import FrameReader, probe

    for path in paths:
        info = probe(path)
        size = config.height, config.width
        height, width = covering_size((info.height, info.width), size)
        with FrameReader(info, width=width, height=height, max_frames=CLIPS_PER_FILE * config.frames) as reader:
            for number in range(CLIPS_PER_FILE):
                frames = reader.read(config.frames)
                if not len(frames):
                    if number == 0:
                        raise VidtwinError(f"{path}: no frames to calibrate on")
                    break
                levels = torch.from_numpy(crop_centre(fill_up(frames, config.frames), size)).permute(3, 0, 1, 2)[None]
                yield pixels_from_levels(levels).contiguous()


def synthetic_clips(config: VidTwinConfig) -> Iterator[Tensor]:
    """Make synthetic clips, ``[1, 3, T, H, W]`` in [-1, 1], the same every time.

    They have drifting gradients, textures with the spectrum of natural images, discs that cover each other, and a
    little noise. That moves every channel as real video does, but does not replace real video in a measurement.
    """
    random = np.random.default_rng(_SEED)
    for contrast, speed, noise in ((0.6, 1.0, 0.0), (0.9, 4.0, 0.02), (0.35, 0.0, 0.0), (0.7, 8.0, 0.08)):
        yield _tensor(_scene(random, config, contrast, speed, noise))


def _scene(
    random: np.random.Generator, config: VidTwinConfig, contrast: float, speed: float, noise: float
) -> NDArray[np.float64]:
    """Draw a drifting textured background and four textured discs that move over it, ``[T, H, W, 3]``."""
    frames, height, width = config.frames, config.height, config.width
    margin = math.ceil(speed * frames)
    ground = _texture(random, height + 2 * margin, width + 2 * margin) * contrast
    discs = [_texture(random, height, width) * contrast for _ in range(4)]
    places = random.random((4, 2)) * (height, width)
    velocities = random.normal(size=(4, 2)) * speed * 2
    radii = (0.08 + 0.17 * random.random(4)) * min(height, width)
    direction = random.normal(size=2)
    direction *= speed / max(float(np.hypot(*direction)), 1e-9)
    rows, columns = np.mgrid[:height, :width]
    ramp = (rows / height * direction[0] + columns / width * direction[1])[..., None] * 0.1
    made = np.empty((frames, height, width, 3))
    for time in range(frames):
        top, left = (round(margin + part * (time - frames / 2)) for part in direction)
        frame = ground[top : top + height, left : left + width] + ramp * (time / frames)
        for disc, place, velocity, radius in zip(discs, places, velocities, radii, strict=True):
            row, column = place + velocity * time
            inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
            frame = np.where(inside[..., None], disc, frame)
        made[time] = frame
    return np.clip(made + noise * random.normal(size=made.shape), -1, 1)


def _texture(random: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Draw a mostly grey texture ``[height, width, 3]`` of amplitudes 1/frequency, within about [-1, 1]."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    amplitude = 1 / np.maximum(frequency, 1 / max(height, width))
    channels = []
    for _ in range(4):
        phases = np.exp(2j * np.pi * random.random(frequency.shape))
        plane = np.fft.irfft2(amplitude * phases, s=(height, width))
        plane -= plane.mean()
        channels.append(plane / (2.5 * max(float(plane.std()), 1e-9)))
    grey, *colors = channels
    offset = random.uniform(-0.4, 0.4, 3) * 0.5
    return np.stack([0.85 * grey + 0.3 * color for color in colors], axis=-1) + offset


def _tensor(frames: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(3, 0, 1, 2)[None], dtype=np.float32))
