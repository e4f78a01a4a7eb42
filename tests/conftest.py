"""Fixtures that most tests stand on: micro-sized random networks and videos made on the spot."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch

from vidtwin_codec.coding import Steps
from vidtwin_codec.model import QFormerConfig, TransformerConfig, VidTwin, VidTwinConfig
from vidtwin_codec.model.checkpoint import save_checkpoint

MICRO = VidTwinConfig(
    frames=4,
    height=32,
    width=32,
    patch_size=8,
    encoder=TransformerConfig(hidden_size=16, depth=1, num_heads=2, causal=False),
    decoder=TransformerConfig(hidden_size=16, depth=2, num_heads=2, causal=False),
    qformer=QFormerConfig(num_queries=4, hidden_size=8, num_layers=2, intermediate_size=16, num_heads=2),
    structure_channels=3,
    dynamics_channels=2,
    structure_blocks=0,
    dynamics_blocks=0,
    structure_width=8,
)


def random_model(config: VidTwinConfig = MICRO, seed: int = 0) -> VidTwin:
    """A network of random weights large enough that its outputs depend on its inputs."""
    torch.manual_seed(seed)
    return VidTwin(config).eval()


@pytest.fixture(scope="session")
def micro_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file holding a micro-sized random network and unit steps."""
    path = tmp_path_factory.mktemp("weights") / "micro.safetensors"
    steps = Steps(np.full((4, 3), 0.1), np.full(2, 0.1), np.full(2, 0.1))
    save_checkpoint(path, random_model(), name="micro", steps=steps, compute_dtype="float32", storage="float32", origin="tests")
    return path


MakeVideo = Callable[..., Path]


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """``make_video("a.mp4", size="64x48", rate="25", frames=12, audio=True)`` through ffmpeg's own test pictures."""

    def make(
        name: str, *, size: str = "40x36", rate: str | Fraction = "25", frames: int = 10, audio: bool = False
    ) -> Path:
        path = tmp_path / name
        seconds = float(frames / Fraction(rate))
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
        command += ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}"]
        if audio:
            command += ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"]
        command += ["-frames:v", str(frames), "-c:v", "libx264", "-pix_fmt", "yuv444p", "-crf", "10", f"file:{path}"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return path

    return make
