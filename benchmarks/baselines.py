"""What simpler codecs make of the same clips: the yardsticks for a network's PSNR.

    python benchmarks/baselines.py TRAIN_FOLDER EVAL_FOLDER [--weights NAME|FILE]

On the clips of paper_protocol.py (224 pixels, 16 frames), RGB PSNR, mean over frames:

- DCT: a zonal 3-D DCT of tubes of 32 x 32 pixels and 16 frames, after a rotation of the colours to their principal
  axes, keeping in each tube the same 164 of 49152 coefficients: those of most energy on the training clips.
  49 x 164 = 8036 numbers a clip, where the network has 8064.
- KLT: the same count, adapted further: a temporal DCT, and in each of its 16 frequencies the principal components of
  the 32 x 32 x 3 patches of the training clips; the 164 of largest variance over all frequencies. (The full KLT of a
  tube would need a 49152 x 49152 covariance from as many samples as there are tubes; this is its separable form.)
- x264 and SVT-AV1: a closed GOP of the clip alone, at the bytes that the network's latents take at --quality: bisection
  over the CRF, PSNR interpolated over the logarithm of the bytes. Bytes are those of the bare bit stream without
  container, SEI messages and temporal delimiters. ">": even the coarsest setting takes more bytes.

The numbers of DCT and KLT are kept exactly, as are the network's under "means". Prints a table in markdown.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from paper_protocol import psnr, read_clips
from torch import Tensor

from vidtwin_codec import weights
from vidtwin_codec.coding import DEFAULT_QUALITY, Group, LatentArrays, dequantize, pack_group
from vidtwin_codec.coding.effort import DEFAULT_EFFORT, choose_symbols, quality_steps
from vidtwin_codec.media.ffmpeg import executable
from vidtwin_codec.model import Latents, VidTwin, VidTwinConfig, load_checkpoint
from vidtwin_codec.pipeline.codec import Codec
from vidtwin_codec.pipeline.device import Device, select_device
from vidtwin_codec.pipeline.geometry import pixels_from_levels
from vidtwin_codec.training.footage import find_files
from vidtwin_codec.training.preparation import held_out_clips

SIZE, FRAMES, PATCH = 224, 16, 32
KEPT = 8064 // (SIZE // PATCH) ** 2
FPS = 25
COLORS = "color_matrix=bt709:{}_range=tv:flags=accurate_rnd+full_chroma_int+bicubic"


def dct(size: int) -> Tensor:
    """Orthonormal DCT-II, ``[frequency, position]``."""
    k, n = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(size, dtype=torch.float64)
    matrix = (math.pi * (n + 0.5) * k / size).cos() * (2 / size) ** 0.5
    matrix[0] /= 2**0.5
    return matrix.float()


def tubes(clips: Tensor) -> Tensor:
    """``[n, 3, T, H, W]`` → ``[n · tubes, T, 3, p, p]``."""
    cut = clips.unflatten(4, (-1, PATCH)).unflatten(3, (-1, PATCH))  # n c t y p x q
    return cut.permute(0, 3, 5, 2, 1, 4, 6).flatten(0, 2)


def untubes(parts: Tensor) -> Tensor:
    side = SIZE // PATCH
    grid = parts.view(-1, side, side, FRAMES, 3, PATCH, PATCH)
    return grid.permute(0, 4, 3, 1, 5, 2, 6).reshape(-1, 3, FRAMES, SIZE, SIZE)


class Transforms:
    """The two linear codecs, fitted on training clips that come one video at a time."""

    def __init__(self) -> None:
        self.time, self.space = dct(FRAMES), dct(PATCH)
        self.count = 0
        width = 3 * PATCH * PATCH
        self.products = torch.zeros(FRAMES, width, width)
        self.sums = torch.zeros(FRAMES, width)

    def add(self, clips: Tensor) -> None:
        """uint8 ``[n, 3, T, H, W]``."""
        parts = self._over_time(clips)  # [f, tubes, 3072]
        self.products.baddbmm_(parts.transpose(1, 2), parts)
        self.sums += parts.sum(dim=1)
        self.count += parts.shape[1]

    def _over_time(self, clips: Tensor) -> Tensor:
        parts = tubes(clips.float() / 127.5 - 1)
        return torch.einsum("ft,ntcpq->fncpq", self.time, parts).flatten(2)

    def _back(self, parts: Tensor) -> Tensor:
        shaped = parts.unflatten(2, (3, PATCH, PATCH))
        return untubes(torch.einsum("ft,fncpq->ntcpq", self.time, shaped))

    def fit(self) -> None:
        """Choose the DCT's positions and the KLT's components."""
        seconds = self.products / self.count
        blocks = seconds.view(FRAMES, 3, PATCH * PATCH, 3, PATCH * PATCH)
        colors = torch.einsum("fcpdp->cd", blocks)
        axes = torch.linalg.eigh(colors)[1].T.contiguous()  # [axis, color]
        plane = torch.kron(self.space, self.space)
        self.basis = torch.kron(axes, plane)  # [coefficient, 3072]
        energy = torch.stack([((self.basis @ second) * self.basis).sum(dim=1) for second in seconds])
        self.mask = torch.zeros(energy.numel())
        self.mask[energy.flatten().argsort(descending=True)[:KEPT]] = 1
        self.mask = self.mask.view_as(energy)

        self.mean = self.sums / self.count
        values, vectors = [], []
        for second, mean in zip(seconds, self.mean, strict=True):
            value, vector = torch.linalg.eigh(second - mean[:, None] * mean)
            values.append(value[-KEPT:])
            vectors.append(vector[:, -KEPT:])
        all_values = torch.stack(values)
        threshold = all_values.flatten().sort(descending=True)[0][KEPT - 1]
        self.components = [vector[:, value >= threshold] for value, vector in zip(values, vectors, strict=True)]

    def zonal(self, clips: Tensor) -> Tensor:
        """Decoded ``[n, 3, T, H, W]`` in [-1, 1]."""
        coefficients = self._over_time(clips) @ self.basis.T * self.mask[:, None]
        return self._back(coefficients @ self.basis)

    def adapted(self, clips: Tensor) -> Tensor:
        parts = self._over_time(clips)
        kept = [
            (part - mean) @ components @ components.T + mean
            for part, mean, components in zip(parts, self.mean, self.components, strict=True)
        ]
        return self._back(torch.stack(kept))


class Point(NamedTuple):
    size: int
    psnr: float


class VideoCodec(NamedTuple):
    """How ffmpeg is told to encode a clip at a CRF; CRFs go from 0 to ``coarsest`` in steps of ``1 / fineness``."""

    name: str
    arguments: tuple[str, ...]
    muxer: str
    coarsest: int
    fineness: int
    overhead: int

    def encode(self, clip: Tensor, crf: float) -> Point:
        raw = clip.permute(1, 2, 3, 0).contiguous().numpy().tobytes()
        picture = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{SIZE}x{SIZE}", "-r", str(FPS)]
        to_yuv = ["-vf", "scale=out_" + COLORS.format("out"), "-pix_fmt", "yuv420p"]
        coded = run([*picture, "-i", "-", *to_yuv, *self.arguments, "-crf", f"{crf:g}", "-f", self.muxer, "-"], raw)
        to_rgb = ["-vf", "scale=in_" + COLORS.format("in"), "-pix_fmt", "rgb24", "-fps_mode", "passthrough"]
        back = run(["-f", self.muxer, "-i", "-", *to_rgb, "-f", "rawvideo", "-"], coded)
        frames = np.frombuffer(back, np.uint8).reshape(FRAMES, SIZE, SIZE, 3)
        decoded = torch.from_numpy(frames.copy()).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        return Point(len(coded) - self.overhead, psnr(clip[None], decoded))

    def at(self, clip: Tensor, size: float) -> tuple[float, bool]:
        """PSNR at ``size`` bytes, and whether so few bytes can be reached."""
        low, high = 0, self.coarsest * self.fineness
        fewest = self.encode(clip, self.coarsest)
        if fewest.size > size:
            return fewest.psnr, False
        under, over = fewest, None
        while high - low > 1:
            middle = (low + high) // 2
            point = self.encode(clip, middle / self.fineness)
            if point.size > size:
                low, over = middle, point
            else:
                high, under = middle, point
        if over is None or over.size == under.size:
            return under.psnr, True
        share = math.log(size / under.size) / math.log(over.size / under.size)
        return under.psnr + share * (over.psnr - under.psnr), True


X264 = VideoCodec(
    "x264 veryslow",
    (
        *("-c:v", "libx264", "-preset", "veryslow", "-tune", "psnr", "-threads", "1"),
        *("-x264-params", f"keyint={FRAMES}:min-keyint={FRAMES}:scenecut=0:open-gop=0:psy=0"),
        *("-bsf:v", "filter_units=remove_types=6"),
    ),
    "h264",
    coarsest=51,
    fineness=4,
    overhead=0,
)
SVT_AV1 = VideoCodec(
    "SVT-AV1 preset 4",
    ("-c:v", "libsvtav1", "-preset", "4", "-g", str(FRAMES), "-svtav1-params", "tune=1:lp=1:scd=0"),
    "obu",
    coarsest=63,
    fineness=1,
    overhead=2 * FRAMES,  # a temporal delimiter before each frame, which no container stores
)


def run(arguments: list[str], data: bytes) -> bytes:
    command = [executable(), "-v", "error", *arguments]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        raise SystemExit(done.stderr.decode("utf-8", "replace"))
    return done.stdout


class Coded(NamedTuple):
    """The network's share of a video's row: PSNR of each clip from means and as decoded, and bytes a clip."""

    means: list[float]
    quantized: list[float]
    size: float


class Network:
    def __init__(self, name: str, device: str, quality: float) -> None:
        entry = weights.resolve(name)
        self.place: Device = select_device(device, "auto", entry.metadata.compute_dtype)
        self.model: VidTwin = load_checkpoint(entry.path).to(self.place.device)
        self.layout = Codec(self.model, self.place).layout
        assert entry.metadata.steps is not None
        self.steps = quality_steps(entry.metadata.steps, quality, DEFAULT_EFFORT)
        self.title = f"{entry.name} {entry.sha256[:12]}, {self.place}, quality {quality:g}"

    def __call__(self, clips: Tensor) -> Coded:
        with self.place.autocast():
            latents = self.model.encode(pixels_from_levels(clips.to(self.place.device), torch.float32))
        arrays = LatentArrays(*(part.float().cpu().numpy() for part in latents))
        symbols = choose_symbols(arrays, self.steps, self.layout, clips=len(clips), tiles=1, effort=DEFAULT_EFFORT)
        packed = pack_group(Group(0, len(clips) * FRAMES, 0, len(clips), 1, symbols), self.layout)
        means, quantized = (self._decoded(clips, part) for part in (arrays, dequantize(symbols, self.steps)))
        return Coded(means, quantized, len(packed) / len(clips))

    def _decoded(self, clips: Tensor, arrays: LatentArrays) -> list[float]:
        latents = Latents(*(torch.from_numpy(np.array(part)).to(self.place.device) for part in arrays))
        with self.place.autocast():
            decoded = self.model.decode(latents).float().cpu()
        return each_psnr(clips, decoded)


def each_psnr(clips: Tensor, decoded: Tensor) -> list[float]:
    return [psnr(clip[None], one[None]) for clip, one in zip(clips, decoded, strict=True)]


def fitted(folder: Path, videos: int | None) -> Transforms:
    transforms = Transforms()
    config = VidTwinConfig(frames=FRAMES, height=SIZE, width=SIZE)
    files = sorted(find_files(folder), key=lambda file: file.order)[:videos]
    say: Callable[[str], None] = lambda line: click.echo(line, err=True)  # noqa: E731
    for number, file in enumerate(files):
        clips = held_out_clips([file], config, say)
        if len(clips):
            transforms.add(clips.permute(0, 4, 1, 2, 3))
        if number % 100 == 99:
            say(f"{number + 1} of {len(files)} training videos")
    transforms.fit()
    return transforms


@click.command()
@click.argument("train", type=click.Path(exists=True, path_type=Path))
@click.argument("evaluate", type=click.Path(exists=True, path_type=Path))
@click.option("--weights", "name", default="mini", show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--quality", default=DEFAULT_QUALITY, show_default=True)
@click.option("--videos", type=int, help="Fit on so many training videos.  [default: all]")
@torch.inference_mode()
def main(train: Path, evaluate: Path, name: str, device: str, quality: float, videos: int | None) -> None:
    network, transforms = Network(name, device, quality), fitted(train, videos)
    print(f"{network.title}; transforms fitted on {transforms.count // (SIZE // PATCH) ** 2} clips\n")
    codecs = (X264, SVT_AV1)
    print(f"| clip | means | quantised | bytes | DCT | KLT | {' | '.join(codec.name for codec in codecs)} |")
    print("|---|" + "---:|" * (5 + len(codecs)))
    rows = []
    for path in sorted(evaluate.glob("*.mp4")):
        clips = read_clips(path, SIZE, FRAMES, every=False)
        coded = network(clips)
        zonal, adapted = (each_psnr(clips, made(clips)) for made in (transforms.zonal, transforms.adapted))
        for number, clip in enumerate(clips):
            found = [codec.at(clip, coded.size) for codec in codecs]
            values = [coded.means[number], coded.quantized[number], coded.size, zonal[number], adapted[number]]
            row = [*values, *(value for value, _ in found)]
            rows.append(row)
            marks = ["" for _ in values] + ["" if reached else ">" for _, reached in found]
            print(f"| {path.stem} {2 * number * FRAMES} | {cells(row, marks)} |", flush=True)
    print(f"| **mean** | {cells(np.mean(rows, axis=0).tolist(), [''] * len(rows[0]))} |")


def cells(row: list[float], marks: list[str]) -> str:
    return " | ".join(
        mark + (f"{value:.0f}" if number == 2 else f"{value:.2f}")
        for number, (value, mark) in enumerate(zip(row, marks, strict=True))
    )


if __name__ == "__main__":
    main()
