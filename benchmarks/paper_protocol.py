"""PSNR and SSIM of a VidTwin under the paper's protocol, and what quantisation costs it.

    python benchmarks/paper_protocol.py FOLDER [--weights NAME|FILE] [--precision float32|bfloat16] [--x264]

Frames and network as under vidtwin measure --protocol vidtwin: short side to 224 (bilinear, antialiased), centre
crop, 16-frame clips; RGB PSNR and SSIM per frame, mean over frames, then over videos. Beyond that verb, the latents are
also quantised as vidtwin encode does it, each clip packed alone, and their bytes counted. Unless --every-clip is given,
two clips of each video: frames 0-15 and 32-47. Frames are taken at the video's own rate; --fps 25 is the paper's.

The last lines are means over videos at equal bits, interpolated along each video's qualities. --x264 codes the same
frames with x264 veryslow (tuned for PSNR, a closed GOP a clip, messages that decoding does not need left out).
"""

from __future__ import annotations

import math
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from vidtwin_codec import metrics
from vidtwin_codec.coding import (
    DEFAULT_QUALITY,
    SPARSE,
    Group,
    GroupSpan,
    LatentArrays,
    LatentLayout,
    SparseGroupEncoder,
    Steps,
    dequantize,
    pack_body,
    pack_group,
)
from vidtwin_codec.coding.effort import DEFAULT_EFFORT, choose_symbols, quality_steps
from vidtwin_codec.evaluation.measure.paper import Network, clips_of
from vidtwin_codec.media import probe
from vidtwin_codec.media.ffmpeg import executable
from vidtwin_codec.options import NetworkOptions

RATES = (0.02, 0.031, 0.05)
"""Bits per pixel."""
CRFS = (45, 41, 37, 33, 29)


class Score(NamedTuple):
    """Of the clips of a video; ``bits_per_pixel`` only of packed latents."""

    psnr: float
    ssim: float
    bits_per_pixel: float = 0.0


def wanted_clips(path: Path, network: Network, fps: Fraction | None, *, every: bool) -> NDArray[np.uint8]:
    """uint8 ``[n, T, H, W, 3]``; the last clip is filled up with its last frame."""
    clips = clips_of(probe(path, fps=fps), network.size, network.frames, fps)
    return np.stack([clip for number, (clip, _) in enumerate(clips) if every or number in (0, 2)])


def score(clips: NDArray[np.uint8], decoded: NDArray[np.float32], packed: int = 0) -> Score:
    reference, frames = (part.reshape(-1, *part.shape[2:]) for part in (clips, decoded))
    rate = 8 * packed / (reference.size / 3)
    return Score(*(float(metric(reference, frames).mean()) for metric in (metrics.psnr, metrics.ssim)), rate)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--weights", default="mini", show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option(
    "--quality", "qualities", type=float, multiple=True, default=(0, 20, 30, 40, 50, DEFAULT_QUALITY, 80, 100)
)
@click.option("--every-clip", is_flag=True)
@click.option("--fps", type=Fraction, help="Take frames at this rate.  [default: the video's own]")
@click.option("--x264", is_flag=True, help="Code the same frames with x264 veryslow, too.")
def main(
    folder: Path,
    weights: str,
    device: str,
    precision: str,
    qualities: tuple[float, ...],
    every_clip: bool,
    fps: Fraction | None,
    x264: bool,
) -> None:
    network = Network(NetworkOptions(weights=weights, device=device, precision=precision))
    entry = network.entry
    print(f"weights {entry.name} {entry.sha256[:12]}, {network.runner.device}, {len(qualities)} qualities")
    print(f"{'':32}{'means':>15}" + "".join(f"{f'quality {q:g}':>25}" for q in qualities))
    print(f"{'':32}{'PSNR   SSIM':>15}" + f"{'PSNR   SSIM    bpp':>25}" * len(qualities))
    rows, others = [], []
    for path in sorted(folder.glob("*.mp4")):
        clips = wanted_clips(path, network, fps, every=every_clip)
        arrays = network.encode(clips)
        row = [score(clips, network.decode(arrays))]
        row += [coded_score(network, clips, arrays, quality) for quality in qualities]
        rows.append(row)
        if x264:
            others.append([x264_score(clips, crf) for crf in CRFS])
        print(f"{path.name[:32]:32}" + format_row(row), flush=True)
    means = np.mean(np.array(rows), axis=0)
    print(f"{'mean':32}" + format_row([Score(*values) for values in means.tolist()]))
    print("\nPSNR at bits per pixel of " + ", ".join(f"{rate:.3f}" for rate in RATES))
    print(f"{entry.name:16}" + at_equal_bits([row[1:] for row in rows]))
    if x264:
        print(f"{'x264 veryslow':16}" + at_equal_bits(others))


def coded_score(network: Network, clips: NDArray[np.uint8], arrays: LatentArrays, quality: float) -> Score:
    """Code the clips' latents, each by itself, decode and compare."""
    base = network.entry.metadata.steps
    assert base is not None  # weights without steps are not resolved
    steps = quality_steps(base, quality, DEFAULT_EFFORT)
    coded = [packed_clip(arrays, clip, network.runner.layout, steps) for clip in range(len(clips))]
    symbols = LatentArrays(*(np.concatenate(column) for column in zip(*(one for one, _ in coded), strict=True)))
    decoded = network.decode(LatentArrays(*dequantize(symbols, steps)), steps)
    return score(clips, decoded, sum(size for _, size in coded))


def packed_clip(arrays: LatentArrays, clip: int, layout: LatentLayout, steps: Steps) -> tuple[LatentArrays, int]:
    """Symbols of one clip, and the bytes of a group that holds it alone."""
    latents = LatentArrays(*(part[clip : clip + 1] for part in arrays))
    span = GroupSpan(0, layout.dynamics_x[1], 0, 1)
    if layout.patterns is None:
        symbols = choose_symbols(latents, steps, layout, clips=1, tiles=1, effort=DEFAULT_EFFORT)
        return symbols, len(pack_group(Group(*span, 1, symbols), layout))
    coder = SparseGroupEncoder(layout, 1, steps)
    symbols = coder.add(latents)
    return symbols, len(pack_body(SPARSE, span, 1, coder.finish()))


def x264_score(clips: NDArray[np.uint8], crf: int) -> Score:
    """x264's own, a closed GOP for each clip."""
    count, frames, height, width, _ = clips.shape
    size = f"{width}x{height}"
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size]
    params = f"keyint={frames}:min-keyint={frames}:scenecut=0:open-gop=0"
    lean = ["-preset", "veryslow", "-tune", "psnr", "-x264-params", params, "-bsf:v", "filter_units=remove_types=6"]
    coder = [executable(), "-v", "error", *raw, "-i", "-", "-c:v", "libx264", "-crf", str(crf), *lean]
    stream = subprocess.run(
        [*coder, "-pix_fmt", "yuv420p", "-f", "h264", "-"], input=clips.tobytes(), capture_output=True, check=True
    ).stdout
    reader = [executable(), "-v", "error", "-f", "h264", "-i", "-", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    back = subprocess.run(reader, input=stream, capture_output=True, check=True).stdout
    decoded = np.frombuffer(back, np.uint8).reshape(count, frames, height, width, 3).astype(np.float32) / 255
    return score(clips, decoded, len(stream))


def at_equal_bits(rows: list[list[Score]]) -> str:
    """Mean over videos at each of `RATES`; a video that does not reach one counts with its nearest."""
    cells = []
    for rate in RATES:
        found = []
        for row in rows:
            points = sorted((math.log(point.bits_per_pixel), point.psnr) for point in row)
            found.append(np.interp(math.log(rate), *zip(*points, strict=True)))
        cells.append(f"{np.mean(found):8.2f}")
    return "".join(cells)


def format_row(row: list[Score]) -> str:
    means, *quantized = row
    return f"{means.psnr:8.3f} {means.ssim:.4f}" + "".join(
        f"{one.psnr:11.2f} {one.ssim:.4f} {one.bits_per_pixel:.4f}" for one in quantized
    )


if __name__ == "__main__":
    main()
