"""Stands in for torchvision: AlexNet's layers with random weights, and other names that torchmetrics only imports."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

models = ops = transforms = sys.modules[__name__]
for part in ("models", "ops", "transforms"):
    sys.modules[f"{__name__}.{part}"] = models


def alexnet(**_: Any) -> SimpleNamespace:
    """The classifier's convolutions, the same every time."""
    random = np.random.default_rng(7)

    def convolution(channels: int, out: int, side: int, stride: int = 1) -> nn.Conv2d:
        layer = nn.Conv2d(channels, out, side, stride, side // 2 if stride == 1 else 2)
        weight = random.standard_normal(layer.weight.shape) * 0.05
        bias = random.standard_normal(out) * 0.01
        state = {"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)}
        layer.load_state_dict(state)
        return layer

    layers = (
        *(convolution(3, 64, 11, 4), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(convolution(64, 192, 5), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(convolution(192, 384, 3), nn.ReLU(inplace=True)),
        *(convolution(384, 256, 3), nn.ReLU(inplace=True)),
        *(convolution(256, 256, 3), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
    )
    return SimpleNamespace(features=nn.Sequential(*layers))


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return SimpleNamespace(DEFAULT=None)
