"""Small footage and small runs, shared by the tests of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from micro import micro_config
from numpy.typing import NDArray
from torch import Tensor

from vidtwin_codec.model import VidTwin
from vidtwin_codec.reporter import Reporter
from vidtwin_codec.training import TrainOptions
from vidtwin_codec.training.clips import pixels


def moving_picture(frames: int = 12, height: int = 36, width: int = 40, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 ``[frames, height, width, 3]``: smooth waves that drift."""
    random = np.random.default_rng(seed)
    time, row, column = np.mgrid[:frames, :height, :width][..., None] / 8.0
    phase, speed = random.random((2, 3)) * 6
    waves = np.sin(row + phase + speed / 6 * time) * np.cos(column - phase + time / 3)
    return (127.5 + 100 * waves).astype(np.uint8)


def array_folder(folder: Path, count: int = 3, **shape: int) -> Path:
    """A folder of ``.npy`` footage."""
    folder.mkdir(parents=True)
    for number in range(count):
        np.save(folder / f"{number}.npy", moving_picture(seed=number, **shape))
    return folder


def micro_options(folder: Path, **changes: Any) -> TrainOptions:
    """A run of a micro network on ``folder / "data"``, made if missing; the output is ``folder / "w.safetensors"``."""
    data, config = folder / "data", folder / "config.json"
    if not data.exists():
        array_folder(data)
    config.write_text(json.dumps(micro_config().to_dict()))
    values: dict[str, Any] = {
        "data": data,
        "output": folder / "w.safetensors",
        "config": None if "init" in changes else config,
        "batch": 2,
        "precision": "float32",
        "device": "cpu",
        "warmup": 2,
        "eval_every": 4,
        "cache": folder / "cache",
        "compile": False,
    }
    return TrainOptions(**{**values, **({"steps": 6} if "minutes" not in changes else {}), **changes})


def listening(lines: list[str]) -> Reporter:
    """Keeps messages, warnings and the names of stages."""
    return Reporter(lambda total, doing: lines.append(f"{doing}: {total}"), warned=lines.append, said=lines.append)


def batch(model: VidTwin) -> tuple[Tensor, Tensor]:
    """Clips uint8 ``[2, T, H, W, 3]`` and noise."""
    config, random = model.config, torch.Generator().manual_seed(2)
    shape = (2, config.frames, config.height, config.width, 3)
    clips = torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)
    elements = sum(part[0].numel() for part in model.encode(pixels(clips)))
    return clips, torch.randn(2, elements, generator=random)
