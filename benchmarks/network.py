"""How fast the network runs by itself, and what share of the machine's matrix products that is.

    python benchmarks/network.py [--weights NAME|FILE] [--precision float32|bfloat16] [--size 1280x720 ...] [--clips 5]

Frames of noise, one window of a whole frame a call, as `vidtwin encode` and `decode` run it for weights that take any
grid. The share counts the first and last layer's multiplications alone, over what one large product of the same type
reaches in the same run; the median of the calls counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import click
import torch

from vidtwin_codec.model import VidTwin, load_checkpoint
from vidtwin_codec.network.device import Device, select_device
from vidtwin_codec.weights import resolve

_SIDE = 4096
SIZES = ("640x360", "1280x720", "1920x1080")


def seconds(work: Callable[[], object], times: int) -> float:
    """Median of some calls, after one that is not counted."""
    work()
    taken = []
    for _ in range(times):
        _wait()
        began = time.perf_counter()
        work()
        _wait()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _wait() -> None:
    """Let a card finish: calls only hand work to it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def product_rate(device: Device) -> float:
    """Multiplications a second of a large matrix product."""
    left, right = (torch.randn(_SIDE, _SIDE, device=device.device, dtype=device.precision) for _ in range(2))
    return _SIDE**3 / seconds(lambda: torch.mm(left, right), 3)


def products(model: VidTwin, rows: int, columns: int, *, decoding: bool = False) -> int:
    """Multiplications in the first, or last, layer and the post-filter for a clip of so many patches a frame."""
    config = model.config
    pixels = config.frames * rows * columns * config.patch_size**2
    filtering = 0
    if decoding and model.decoder is not None and model.decoder.postfilter is not None:
        taps = sum(parameter.numel() for parameter in model.decoder.postfilter.parameters() if parameter.ndim > 1)
        filtering = pixels // model.decoder.postfilter.square**2 * taps
    return pixels * 3 * config.encoder.hidden_size + filtering


@click.command()
@click.option("--weights", default="mini", show_default=True)
@click.option("--device", "device_name", default="cpu", show_default=True)
@click.option("--precision", multiple=True, default=("float32", "bfloat16"), show_default=True)
@click.option("--size", "sizes", multiple=True, default=SIZES, show_default=True)
@click.option("--clips", default=5, show_default=True, help="Timed calls.")
def main(weights: str, device_name: str, precision: tuple[str, ...], sizes: tuple[str, ...], clips: int) -> None:
    entry = resolve(weights)
    model = load_checkpoint(entry.path)
    if not model.config.any_grid:
        raise SystemExit(f"{entry.name} takes one size alone")
    print(f"weights {entry.name} {entry.sha256[:12]}, {torch.get_num_threads()} threads\n")
    print("| size | precision | encode, frames/s | share of matmul | decode, frames/s | share of matmul |")
    print("|---|---|---:|---:|---:|---:|")
    for name in precision:
        device = select_device(device_name, name, name)
        model.to(device.device)
        rate = product_rate(device)
        for size in sizes:
            width, height = map(int, size.split("x"))
            patch = model.config.patch_size
            rows, columns = -(-height // patch), -(-width // patch)
            shape = (1, model.config.frames, rows * patch, columns * patch, 3)
            frames = torch.randint(0, 256, shape, dtype=torch.uint8, device=device.device)
            with torch.inference_mode(), device.autocast():
                latents = model.encode_levels(frames)
                times = [
                    seconds(lambda frames=frames: model.encode_levels(frames), clips),  # type: ignore[misc]
                    seconds(lambda latents=latents: model.decode_levels(latents), clips),  # type: ignore[misc]
                ]
            cells = [
                f"{model.config.frames / taken:.1f} | {products(model, rows, columns, decoding=way) / taken / rate:.0%}"
                for way, taken in zip((False, True), times, strict=True)
            ]
            print(f"| {size} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
