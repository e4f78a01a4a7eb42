"""PSNR and SSIM of a VidTwin under the paper's protocol, and what quantisation costs it.

    python benchmarks/paper_protocol.py FOLDER [--weights NAME|FILE] [--precision float32|bfloat16]

Frames and network as under vidtwin measure --protocol vidtwin: short side to 224 (bilinear, antialiased), centre
crop, 16-frame clips; RGB PSNR and SSIM per frame, mean over frames, then over videos. Beyond that verb, the latents are
also quantised, as vidtwin encode does it unless told otherwise, and packed at several qualities.
Unless --every-clip is given, two clips of each video: frames 0-15 and 32-47. Frames are taken at the video's own rate;
--fps 25 is the paper's.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray

from vidtwin_codec import metrics
from vidtwin_codec.coding import DEFAULT_QUALITY, Group, LatentArrays, dequantize, pack_group
from vidtwin_codec.coding.effort import DEFAULT_EFFORT, choose_symbols, quality_steps
from vidtwin_codec.measurement.paper import Network, clips_of
from vidtwin_codec.media import probe
from vidtwin_codec.pipeline.options import NetworkOptions


class Score(NamedTuple):
    """Of the clips of a video; ``bits_per_pixel`` only of packed latents."""

    psnr: float
    ssim: float
    bits_per_pixel: float = 0.0


def wanted_clips(path: Path, network: Network, fps: Fraction | None, *, every: bool) -> NDArray[np.uint8]:
    """uint8 ``[n, T, H, W, 3]``; the last clip is filled up with its last frame."""
    clips = clips_of(probe(path, fps=fps), network.size, network.frames, fps)
    return np.stack([clip for number, (clip, _) in enumerate(clips) if every or number in (0, 2)])


def read_clips(path: Path, size: int, frames: int, *, every: bool) -> torch.Tensor:
    """The same as a tensor, uint8 ``[n, 3, T, size, size]``, for other codecs than the network."""
    clips = clips_of(probe(path), (size, size), frames)
    found = [clip for number, (clip, _) in enumerate(clips) if every or number in (0, 2)]
    return torch.from_numpy(np.stack(found)).permute(0, 4, 1, 2, 3)


def psnr(clips: torch.Tensor, decoded: torch.Tensor) -> float:
    """Mean over frames; uint8 ``[n, 3, T, H, W]`` against the same in [-1, 1]."""
    reference, frames = (part.permute(0, 2, 3, 4, 1).flatten(0, 1).numpy() for part in (clips, (decoded + 1) / 2))
    return float(metrics.psnr(reference, frames).mean())


def score(clips: NDArray[np.uint8], decoded: NDArray[np.float32], packed: int = 0) -> Score:
    reference, frames = (part.reshape(-1, *part.shape[2:]) for part in (clips, decoded))
    rate = 8 * packed / (reference.size / 3)
    return Score(*(float(metric(reference, frames).mean()) for metric in (metrics.psnr, metrics.ssim)), rate)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--weights", default="mini", show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--quality", "qualities", type=float, multiple=True, default=(20, 40, DEFAULT_QUALITY, 80, 100))
@click.option("--every-clip", is_flag=True)
@click.option("--fps", type=Fraction, help="Take frames at this rate.  [default: the video's own]")
def main(
    folder: Path,
    weights: str,
    device: str,
    precision: str,
    qualities: tuple[float, ...],
    every_clip: bool,
    fps: Fraction | None,
) -> None:
    network = Network(NetworkOptions(weights=weights, device=device, precision=precision))
    entry, base = network.entry, network.entry.metadata.steps
    assert base is not None  # weights without steps are not resolved
    layout = network.codec.layout
    print(f"weights {entry.name} {entry.sha256[:12]}, {network.codec.device}, {len(qualities)} qualities")
    print(f"{'':32}{'means':>15}" + "".join(f"{f'quality {q:g}':>25}" for q in qualities))
    print(f"{'':32}{'PSNR   SSIM':>15}" + f"{'PSNR   SSIM    bpp':>25}" * len(qualities))
    rows = []
    for path in sorted(folder.glob("*.mp4")):
        clips = wanted_clips(path, network, fps, every=every_clip)
        arrays = network.encode(clips)
        row = [score(clips, network.decode(arrays))]
        for quality in qualities:
            steps = quality_steps(base, quality, DEFAULT_EFFORT)
            symbols = choose_symbols(arrays, steps, layout, clips=len(clips), tiles=1, effort=DEFAULT_EFFORT)
            group = Group(0, len(clips) * network.frames, 0, len(clips), 1, symbols)
            packed = len(pack_group(group, layout))
            row.append(score(clips, network.decode(LatentArrays(*dequantize(symbols, steps))), packed))
        rows.append(row)
        print(f"{path.name[:32]:32}" + format_row(row), flush=True)
    means = np.mean(np.array(rows), axis=0)
    print(f"{'mean':32}" + format_row([Score(*values) for values in means.tolist()]))


def format_row(row: list[Score]) -> str:
    means, *quantized = row
    return f"{means.psnr:8.3f} {means.ssim:.4f}" + "".join(
        f"{one.psnr:11.2f} {one.ssim:.4f} {one.bits_per_pixel:.4f}" for one in quantized
    )


if __name__ == "__main__":
    main()
