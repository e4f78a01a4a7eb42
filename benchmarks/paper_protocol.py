"""PSNR of a VidTwin under the paper's protocol, and what quantisation costs it.

    python benchmarks/paper_protocol.py FOLDER [--weights NAME|FILE] [--precision float32|bfloat16]

Short side to 224 (bilinear, antialiased), centre crop, 16-frame clips; RGB PSNR per frame, mean over frames, then over
videos.
Unless --every-clip is given, two clips of each video: frames 0-15 and 32-47.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from torch.nn.functional import interpolate

from vidtwin_codec import weights
from vidtwin_codec.coding import (
    DEFAULT_QUALITY,
    Group,
    LatentArrays,
    dequantize,
    pack_group,
    quality_scale,
    quantize,
)
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.model import Latents, load_checkpoint
from vidtwin_codec.pipeline.codec import Codec
from vidtwin_codec.pipeline.device import select_device
from vidtwin_codec.pipeline.geometry import pixels_from_levels, scaled_size


def read_clips(path: Path, size: int, frames: int, *, every: bool) -> torch.Tensor:
    """uint8 ``[clips, 3, frames, size, size]``; the last clip is filled up with its last frame."""
    info = probe(path)
    width, height = scaled_size(info.width, info.height, size)
    top, left = (height - size) // 2, (width - size) // 2
    starts = None if every else (0, 2 * frames)
    clips = []
    with FrameReader(info) as reader:
        start = 0
        while len(piece := reader.read(frames)):
            if starts is None or start in starts:
                video = torch.from_numpy(np.concatenate([piece, *[piece[-1:]] * (frames - len(piece))]))
                # bilinear and antialiased, as the released evaluation resizes
                scaled = interpolate(video.permute(0, 3, 1, 2), (height, width), mode="bilinear", antialias=True)
                clips.append(scaled[..., top : top + size, left : left + size])
            start += frames
    return torch.stack(clips).transpose(1, 2)


def psnr(clips: torch.Tensor, decoded: torch.Tensor) -> float:
    error = (clips.float() / 255 - (decoded.clamp(-1, 1) + 1) / 2).square().mean(dim=(1, 3, 4))
    return float((-10 * torch.log10(error + 1e-8)).mean())


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--weights", "name", default="mini", show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--quality", "qualities", type=float, multiple=True, default=(20, 40, DEFAULT_QUALITY, 80, 100))
@click.option("--every-clip", is_flag=True)
@torch.inference_mode()
def main(folder: Path, name: str, device: str, precision: str, qualities: tuple[float, ...], every_clip: bool) -> None:
    entry = weights.resolve(name)
    place = select_device(device, precision, entry.metadata.compute_dtype)
    model = load_checkpoint(entry.path).to(place.device)
    layout, config, base = Codec(model, place).layout, model.config, entry.metadata.steps
    print(f"weights {entry.name} {entry.sha256[:12]}, {place}, {len(qualities)} qualities")
    print(f"{'':32}   means" + "".join(f"{f'quality {q:g}':>16}" for q in qualities))
    rows = []
    for path in sorted(folder.glob("*.mp4")):
        clips = read_clips(path, config.height, config.frames, every=every_clip)
        with place.autocast():
            latents = model.encode(pixels_from_levels(clips.to(place.device), torch.float32))
        arrays = LatentArrays(*(part.cpu().numpy() for part in latents))

        def decoded(values: LatentArrays) -> torch.Tensor:
            with place.autocast():
                return model.decode(Latents(*(torch.from_numpy(part).to(place.device) for part in values))).cpu()

        row = [psnr(clips, decoded(arrays))]
        for quality in qualities:
            steps = base.scaled(quality_scale(quality))
            symbols = quantize(arrays, steps)
            count = len(clips)
            packed = pack_group(Group(0, count * config.frames, 0, count, 1, symbols), layout)
            row += [psnr(clips, decoded(dequantize(symbols, steps))), 8 * len(packed) / clips.numel() * 3]
        rows.append(row)
        print(f"{path.name[:32]:32}" + format_row(row))
    print(f"{'mean':32}" + format_row(np.mean(rows, axis=0)))


def format_row(row: list[float] | np.ndarray) -> str:
    pairs = "".join(f"{row[i]:7.2f} {row[i + 1]:.4f}bpp" for i in range(1, len(row), 2))
    return f"{row[0]:8.3f}" + pairs


if __name__ == "__main__":
    main()
