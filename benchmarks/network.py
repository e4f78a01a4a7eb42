"""How fast the network runs by itself, and what share of the machine's matrix products that is.

    python benchmarks/network.py [--weights NAME|FILE] [--precision float32|bfloat16] [--size 1280x720 ...] [--clips 5]

Frames of noise, one window of a whole frame a call, as `vidtwin encode` and `decode` run it for weights that take any
grid. The share counts the multiplications of first layer, last layer and post-filter alone, as they are done, over what
one large product of the same type reaches in the same run; the median of the calls counts.
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
    patches = config.frames * rows * columns
    layer = model.decoder and model.decoder.head if decoding else model.encoder and model.encoder.patch_embedding
    parts = layer.separable if layer else None
    if parts is None:
        found = patches * config.patch_size**2 * 3 * config.encoder.hidden_size
    else:  # rows, then lines
        found = patches * (parts.rows.numel() * parts.lines.shape[1] + parts.rows.shape[0] * parts.lines.numel())
    if decoding and model.decoder is not None and model.decoder.postfilter is not None:
        taps = sum(parameter.numel() for parameter in model.decoder.postfilter.parameters() if parameter.ndim > 1)
        found += patches * (config.patch_size // model.decoder.postfilter.square) ** 2 * taps
    return found


def row(model: VidTwin, device: Device, size: str, clips: int, rate: float) -> str:
    """A row of the table: the size, frames a second both ways, and their shares of the rate of a large product."""
    width, height = map(int, size.split("x"))
    patch, count = model.config.patch_size, model.config.frames
    rows, columns = -(-height // patch), -(-width // patch)
    shape = (1, count, rows * patch, columns * patch, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, device=device.device)
    with torch.inference_mode(), device.autocast():
        latents = model.encode_levels(frames)
        times = [
            seconds(lambda: model.encode_levels(frames), clips),
            seconds(lambda: model.decode_levels(latents, coarseness=1.0), clips),
        ]
    shares = [products(model, rows, columns, decoding=way) / taken / rate for way, taken in enumerate(times)]
    cells = [f"{count / taken:.1f} | {share:.0%}" for taken, share in zip(times, shares, strict=True)]
    return " | ".join((size, *cells))


def as_one_product(model: VidTwin) -> None:
    """Compute first and last layer as they are stored, by one matrix each."""
    assert model.encoder is not None
    assert model.decoder is not None
    model.encoder.patch_embedding.separable = model.decoder.head.separable = None


@click.command()
@click.option("--weights", default="mini", show_default=True)
@click.option("--device", "device_name", default="cpu", show_default=True)
@click.option("--precision", multiple=True, default=("float32", "bfloat16"), show_default=True)
@click.option("--size", "sizes", multiple=True, default=SIZES, show_default=True)
@click.option("--clips", default=5, show_default=True, help="Timed calls.")
@click.option("--also-plain", is_flag=True, help="Also without post-filter and factors of first and last layer.")
def main(
    weights: str, device_name: str, precision: tuple[str, ...], sizes: tuple[str, ...], clips: int, also_plain: bool
) -> None:
    entry = resolve(weights)
    ways: dict[str, list[Callable[[VidTwin], None]]] = {"": []}
    if also_plain:
        ways |= {
            ", no post-filter": [VidTwin.leave_out_postfilter],
            ", nor factors": [VidTwin.leave_out_postfilter, as_one_product],
        }
    print(f"weights {entry.name} {entry.sha256[:12]}, {torch.get_num_threads()} threads\n")
    print("| precision | size | encode, frames/s | share of matmul | decode, frames/s | share of matmul |")
    print("|---|---|---:|---:|---:|---:|")
    for name in precision:
        device = select_device(device_name, name, name)
        rate = product_rate(device)
        for said, changes in ways.items():
            model = load_checkpoint(entry.path).to(device.device)
            if not model.config.any_grid:
                raise SystemExit(f"{entry.name} takes one size alone")
            for change in changes:
                change(model)
            for size in sizes:
                print(f"| {name}{said} | {row(model, device, size, clips, rate)} |", flush=True)


if __name__ == "__main__":
    main()
