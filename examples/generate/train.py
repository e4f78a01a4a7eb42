"""Train a rectified flow on the latents of a folder of .vtw files.

    python examples/generate/train.py LATENTS_FOLDER -o flow.safetensors --minutes 10

Everything that sampling needs is in the output: averaged weights, the statistics that latents are normalised by, and
which network decodes them.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from model import FlowTransformer
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler

from vidtwin_codec import VtwDataset, VtwFile
from vidtwin_codec.model import Latents

WARM_UP = 50  # steps
DECAY = 0.999
STATISTICS_SAMPLES = 1000
LOG_EVERY = 50


@dataclass(frozen=True)
class Options:
    """Choices of `train`; training ends at the first of ``steps`` and ``minutes``."""

    clips: int = 1
    steps: int = 1_000_000
    minutes: float = 10.0
    batch: int = 16
    rate: float = 2e-3
    width: int = 128
    depth: int = 3
    seed: int = 0
    workers: int = 0


def train(folder: Path, options: Options) -> tuple[FlowTransformer, list[float]]:
    """The averaged model, on the CPU, and the loss of each step."""
    torch.manual_seed(options.seed)
    device = torch.device(
        "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    )
    dataset = VtwDataset(folder, clips=options.clips)
    with VtwFile(dataset.files[0]) as file:
        model = FlowTransformer(file.header.layout, options.clips, options.width, options.depth)
    set_statistics(model, dataset)
    model.to(device)
    averaged = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, betas=(0.9, 0.99), weight_decay=0.01)
    losses: list[float] = []
    recent: list[Tensor] = []  # still on the device: reading each would make the next step wait for it
    began, done = time.monotonic(), 0.0
    for step, latents in enumerate(_batches(dataset, options), 1):
        # up in the first steps, then down along a cosine, so that the last details settle
        rate = options.rate * min(1.0, step / WARM_UP) * (1 + math.cos(math.pi * done)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = flow_loss(model, model.normalized(Latents(*(part.to(device) for part in latents))))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        _average(averaged, model, step)
        recent.append(loss.detach())
        done = max(step / options.steps, (time.monotonic() - began) / (60 * options.minutes))
        if done >= 1 or len(recent) == LOG_EVERY:
            losses += torch.stack(recent).tolist()
            if len(recent) == LOG_EVERY:
                print(f"step {step}: loss {sum(losses[-LOG_EVERY:]) / LOG_EVERY:.4f}", flush=True)
            recent.clear()
        if done >= 1:
            break
    return averaged.cpu().eval(), losses


def flow_loss(model: FlowTransformer, data: Latents) -> Tensor:
    """Mean square error of the clean latents, from points straight between noise and data: 1 for knowing nothing."""
    size = len(data.structure)
    # favours the middle: arXiv:2403.03206, section 3.1
    times = torch.sigmoid(torch.randn(size, device=data.structure.device))
    mixed = []
    for part in data:
        at = times.view(-1, *[1] * (part.ndim - 1))
        mixed.append((1 - at) * torch.randn_like(part) + at * part)
    found = model(Latents(*mixed), times)
    errors = [(a - b).square().sum() for a, b in zip(found, data, strict=True)]
    return torch.stack(errors).sum() / sum(part.numel() for part in data)


@torch.inference_mode()
def set_statistics(model: FlowTransformer, dataset: VtwDataset) -> None:
    """Mean and standard deviation of each channel, over at most `STATISTICS_SAMPLES` samples spread over the set."""
    stride = max(1, len(dataset) // STATISTICS_SAMPLES)
    numbers = range(0, len(dataset), stride)
    for name, axes in (("structure", (0, 2, 3)), ("dynamics_x", (0, 2, 3)), ("dynamics_y", (0, 2, 3))):
        first = second = torch.zeros(())
        for number in numbers:
            part = dataset[number][name].double()
            first = first + part.mean(axes, keepdim=True)[0]
            second = second + part.square().mean(axes, keepdim=True)[0]
        mean = first / len(numbers)
        variance = second / len(numbers) - mean.square()
        model.get_buffer(f"{name}_mean").copy_(mean)
        # a channel that never changes is left as it is
        model.get_buffer(f"{name}_std").copy_(torch.where(variance > 1e-8, variance.clamp(min=0).sqrt(), 1.0))


def _batches(dataset: VtwDataset, options: Options) -> Iterator[Latents]:
    """Random windows without end; a small set is drawn from again and again within a batch."""
    sampler = RandomSampler(dataset, replacement=True, num_samples=options.batch * 1000)
    loader = DataLoader(dataset, options.batch, sampler=sampler, num_workers=options.workers)
    while True:
        for batch in loader:
            yield Latents(*(batch[name] for name in Latents._fields))


@torch.no_grad()
def _average(averaged: FlowTransformer, current: FlowTransformer, step: int) -> None:
    """Move an average towards the parameters after a step: slowly, but fast at first, to forget the first ones soon."""
    decay = min(DECAY, step / (9 + step)) if step > 1 else 0.0
    for mean, parameter in zip(averaged.parameters(), current.parameters(), strict=True):
        mean.lerp_(parameter, 1 - decay)


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--minutes", type=float, default=10.0, show_default=True)
@click.option("--steps", type=int, default=1_000_000, show_default=True)
@click.option("--clips", type=int, default=1, show_default=True, help="Clips that are generated together.")
@click.option("--batch", type=int, default=16, show_default=True)
@click.option("--width", type=int, default=128, show_default=True)
@click.option("--depth", type=int, default=3, show_default=True)
@click.option("--workers", type=int, default=0, show_default=True)
def main(folder: Path, output: Path, **choices: float) -> None:
    began = time.monotonic()
    model, losses = train(folder, Options(**choices))  # type: ignore[arg-type]
    with VtwFile(VtwDataset(folder).files[0]) as file:
        model.save(output, {"weights_sha256": file.header.weights_sha256})
    last = losses[-LOG_EVERY:]
    size = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"{output}: {size} parameters, {len(losses)} steps in {time.monotonic() - began:.0f} s, "
        f"loss {sum(last) / len(last):.4f}"
    )


if __name__ == "__main__":
    main()
