"""Frames to measure, and what other programs make of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.media.ffmpeg import executable
from vidtwin_codec.metrics import luma

Frames = NDArray[np.uint8]


def picture(count: int, height: int, width: int, seed: int = 0) -> Frames:
    """A moving texture with edges, smooth parts and noise, of nearly every level."""
    random = np.random.default_rng(seed)
    y, x, t = np.mgrid[:height, :width, :count].transpose(0, 3, 1, 2)[..., None].astype(np.float64)
    color = np.array([1.0, 1.3, 0.7])
    waves = np.sin((x * color + 3 * t) / 9) + np.cos((y - 2 * t * color) / 7) + 2 * ((x + y + 4 * t) % 50 < 20)
    noisy = 128 + 45 * waves + random.normal(0, 12, waves.shape) * (x > width / 2)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def worsened(frames: Frames, seed: int = 1) -> Frames:
    """The frames blurred a little along rows, banded and noisy, each frame more than the one before."""
    random = np.random.default_rng(seed)
    blurred = (np.roll(frames, 1, axis=2).astype(np.float64) + frames + np.roll(frames, -1, axis=2)) / 3
    strength = 2 + 3 * np.arange(len(frames))[:, None, None, None]
    return np.clip((blurred // 6) * 6 + random.normal(0, strength, frames.shape), 0, 255).astype(np.uint8)


def luma_file(path: Path, frames: Frames) -> list[str]:
    """Luma of the frames as raw 4:4:4 without colour, and ffmpeg's arguments that read it."""
    planes = luma(frames)
    grey = np.full((2, *planes.shape[1:]), 128, np.uint8).tobytes()
    path.write_bytes(b"".join(plane.tobytes() + grey for plane in planes))
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    return ["-f", "rawvideo", "-pix_fmt", "yuv444p", "-s", size, "-r", "25", "-i", str(path)]


def ffmpeg_says(folder: Path, reference: Frames, decoded: Frames, graph: str) -> tuple[str, str]:
    """Standard output and messages of ffmpeg comparing the lumas of two pieces, each from a file of its own."""
    inputs = [*luma_file(folder / "decoded.yuv", decoded), *luma_file(folder / "reference.yuv", reference)]
    command = [executable(), "-hide_banner", "-nostats", *inputs, "-lavfi", graph, "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout, done.stderr


def libvmaf_says(
    folder: Path, reference: Frames, decoded: Frames, value: str, feature: str | None = None
) -> list[float]:
    """A value that a feature (of the same name, if not given) of libvmaf computes of the lumas, frame by frame."""
    graph = f"libvmaf=log_fmt=json:log_path=features.json:feature=name={feature or value}"
    ffmpeg_says(folder, reference, decoded, graph)
    found = json.loads((folder / "features.json").read_text())
    return [frame["metrics"][value] for frame in found["frames"]]
