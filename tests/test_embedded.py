"""End to end with the embedded weights, on the example clip."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from media_samples import ffmpeg
from numpy.typing import NDArray

from vidtwin_codec import DecodeOptions, EncodeOptions, VtwFile, decode_frames, encode, weights
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.metrics import psnr
from vidtwin_codec.model import load_checkpoint

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
CLIP = ROOT / "examples" / "big_buck_bunny.mp4"
FRAMES, SIZE = 32, (398, 224)
COMPACT = "0cdaca3b9ad4d964973175db482c7c381a3b2d86bd3f9ef11e5cf244cc8ae727"
OLD = ROOT / "tests" / "fixtures" / "compact_made_before.vtw"
"""The first 20 of these frames, by the version whose `mini` they were."""


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips' worth of the example, exactly, at the size the network works at."""
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
    """PSNR of mini's network alone, without coding or container."""
    model = load_checkpoint(weights.resolve("mini").path)
    frames = source_frames(source)
    height, width = frames.shape[1:3]
    edges = ((0, 0), (0, -height % 32), (0, -width % 32), (0, 0))
    levels = torch.from_numpy(np.pad(frames, edges, mode="edge"))
    decoded = model.decode_levels(model.encode_levels(levels.unflatten(0, (-1, 16)))).flatten(0, 1)
    return float(psnr(frames, decoded[:, :height, :width].numpy()).mean())


def test_quality_spans_from_barely_recognisable_to_no_loss(short_clip: Path, tmp_path: Path) -> None:
    limit = unquantised(short_clip)
    found = [decoded_at(quality, short_clip, tmp_path) for quality in (0, 40, 70, 100)]
    values, sizes = zip(*found, strict=True)
    pixels = FRAMES * SIZE[0] * SIZE[1]
    assert limit > 31
    assert values[-1] > limit - 1
    assert 15 < values[0] < limit - 10
    assert list(sizes) == sorted(sizes)
    assert list(values) == sorted(values)
    assert sizes[0] * 8 / pixels < 0.005
    assert sizes[-1] * 8 / pixels > 0.2


def test_precisions_encode_the_same_and_show_nearly_the_same(short_clip: Path, tmp_path: Path) -> None:
    for quality in (30, 80):
        found, symbols = {}, []
        for precision in ("float32", "bfloat16"):
            options = {"device": "cpu", "precision": precision}
            encode(short_clip, tmp_path / "a.vtw", EncodeOptions(quality=quality, force=True, **options))
            frames = np.concatenate(list(decode_frames(tmp_path / "a.vtw", DecodeOptions(**options))))
            found[precision] = float(psnr(source_frames(short_clip), frames).mean())
            with VtwFile(tmp_path / "a.vtw") as file:
                symbols.append(file[:].symbols)
        assert all(np.array_equal(one, other) for one, other in zip(*symbols, strict=True))
        assert abs(found["float32"] - found["bfloat16"]) < 0.05


def test_compact_is_the_file_that_old_videos_were_made_with(short_clip: Path) -> None:
    assert weights.resolve("compact").sha256 == COMPACT
    frames = np.concatenate(list(decode_frames(OLD, DecodeOptions(device="cpu"))))
    assert frames.shape == (20, SIZE[1], SIZE[0], 3)
    assert psnr(source_frames(short_clip)[:20], frames).mean() > 24


def test_compact_still_encodes(short_clip: Path, tmp_path: Path) -> None:
    options = EncodeOptions(weights="compact", quality=75, device="cpu")
    result = encode(short_clip, tmp_path / "a.vtw", options)
    frames = np.concatenate(list(decode_frames(tmp_path / "a.vtw", DecodeOptions(device="cpu"))))
    assert result.weights == "compact"
    assert psnr(source_frames(short_clip), frames).mean() > 24


def test_the_command_in_the_repository_writes_the_embedded_file(tmp_path: Path) -> None:
    target = tmp_path / "mini.safetensors"
    subprocess.run([sys.executable, "-m", "tools.make_mini", "-o", str(target)], cwd=ROOT, check=True)
    made, kept = load_checkpoint(target).state_dict(), load_checkpoint(weights.resolve("mini").path).state_dict()
    # another processor's cosines may round otherwise at the end of float16
    assert all(torch.allclose(made[name], kept[name], rtol=2e-3, atol=1e-6) for name in kept)


def test_the_demo_runs_and_says_what_it_measured(tmp_path: Path) -> None:
    clip = tmp_path / CLIP.name
    ffmpeg("-i", CLIP, "-frames:v", FRAMES, "-c:v", "libx264", "-c:a", "copy", "-shortest", clip)
    command = [sys.executable, str(ROOT / "examples" / "demo.py"), str(clip), str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shown = done.stdout
    assert [line[:3] for line in done.stderr.splitlines() if "/3  " in line] == ["1/3", "2/3", "3/3"]
    assert "encode: " in done.stderr
    assert f"640 x 360, {FRAMES} frames at 25 fps" in shown
    assert "compression ratio" in shown
    assert float(shown.split("PSNR ")[1].split()[0]) > 22
    assert (tmp_path / "demo" / "big_buck_bunny.mp4").exists()
    following = shlex.split(shown.splitlines()[-1])  # as it is typed
    subprocess.run(following, capture_output=True, check=True)
    assert 0 < Path(following[-1]).stat().st_size < (tmp_path / "demo" / "big_buck_bunny.vtw").stat().st_size


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_network_gives_the_same_bits_on_any_number_of_threads(precision: str) -> None:
    """`vidtwin batch` relies on it: it makes several calls at once, each on fewer threads than `encode` has, and
    workers on other machines may have more or fewer cores than this one.
    """
    model = load_checkpoint(weights.resolve(None).path).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 256, (1, 16, 160, 224, 3), generator=generator, dtype=torch.uint8)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                latents = model.encode_levels(levels)
                decoded = model.decode_levels(latents)
            found.append((*latents, decoded))
    finally:
        torch.set_num_threads(threads)
    for values in found[1:]:
        if precision == "float32":
            assert all(torch.equal(a, b) for a, b in zip(found[0], values, strict=True))
        else:  # AMX adds in another order on another number of threads
            apart = (found[0][-1].int() - values[-1].int()).abs()
            assert int(apart.max()) <= 1
            assert float(apart.float().mean()) < 1e-3
