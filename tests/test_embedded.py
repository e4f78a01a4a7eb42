"""End to end with the embedded weights, on the example clip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vidtwin_codec import DecodeOptions, EncodeOptions, decode_frames, encode, weights
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.metrics import psnr
from vidtwin_codec.model import Latents, load_checkpoint
from vidtwin_codec.pipeline.geometry import Geometry, pixels_from_levels

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
CLIP = ROOT / "examples" / "big_buck_bunny.mp4"
FRAMES, SIZE = 32, (398, 224)


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips' worth of the example, exactly, at the size the network works at."""
    from media_samples import ffmpeg

    path = tmp_path_factory.mktemp("clip") / "short.mkv"
    scale = f"scale={SIZE[0]}:{SIZE[1]}:flags=lanczos,format=gbrp"
    ffmpeg("-i", CLIP, "-an", "-frames:v", FRAMES, "-vf", scale, "-c:v", "ffv1", path)
    return path


def decoded_at(quality: float, source: Path, folder: Path) -> tuple[float, int]:
    """PSNR and bytes of latents."""
    encoded = encode(source, folder / "a.vtw", EncodeOptions(quality=quality, device="cpu", force=True))
    frames = np.concatenate(list(decode_frames(folder / "a.vtw", DecodeOptions(device="cpu"))))
    return float(psnr(source_frames(source), frames).mean()), encoded.video_bytes


def source_frames(source: Path) -> NDArray[np.uint8]:
    with FrameReader(probe(source)) as reader:
        return reader.read(FRAMES)


@torch.inference_mode()
def unquantised(source: Path) -> float:
    """PSNR of the network alone, without coding or container."""
    model = load_checkpoint(weights.resolve("mini").path)
    config = model.config
    geometry = Geometry(*SIZE, config.frames, config.height, config.width, 16)
    frames = source_frames(source)
    tiles = geometry.cut(torch.from_numpy(frames))
    parts = []
    for clip in tiles.split(len(geometry.tiles)):
        latents = model.encode(pixels_from_levels(clip, torch.float32))
        parts.append(geometry.join(model.decode(Latents(*latents))).numpy())
    return float(psnr(frames, np.concatenate(parts)).mean())


def test_quality_spans_from_barely_recognisable_to_no_loss(short_clip: Path, tmp_path: Path) -> None:
    limit = unquantised(short_clip)
    found = [decoded_at(quality, short_clip, tmp_path) for quality in (0, 25, 50, 75, 100)]
    values, sizes = zip(*found, strict=True)
    assert limit > 23
    assert values[-1] > limit - 0.05
    assert values[-2] > limit - 0.3  # the default
    assert 8 < values[0] < limit - 4
    assert list(sizes) == sorted(sizes)
    assert list(values) == sorted(values)
    assert sizes[0] < sizes[-1] / 8


def test_the_demo_runs_and_says_what_it_measured(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "demo.py"), str(CLIP), str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "640 x 360, 132 frames at 25 fps" in shown
    assert "compression ratio" in shown
    assert float(shown.split("PSNR ")[1].split()[0]) > 22
    assert (tmp_path / "big_buck_bunny.mp4").exists()


def test_the_network_gives_the_same_bits_on_any_number_of_threads() -> None:
    """`vidtwin batch` relies on it: it makes several calls at once, each on fewer threads than `encode` has, and
    workers on other machines may have more or fewer cores than this one.
    """
    model = load_checkpoint(weights.resolve(None).path).requires_grad_(False)
    clips = torch.rand(1, 3, 16, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            with torch.inference_mode():
                latents = model.encode(clips)
                decoded = model.decode(latents)
            found.append((*latents, decoded))
    finally:
        torch.set_num_threads(threads)
    for values in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], values, strict=True))
