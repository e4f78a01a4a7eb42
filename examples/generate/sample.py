"""Generate a video with a model of train.py.

    python examples/generate/sample.py flow.safetensors --like LATENTS_FOLDER/any.vtw --nearest LATENTS_FOLDER out.mp4

``--like`` is a .vtw of the training set, of one tile: it says rate, weights and quantisation steps. Several samples
follow one after the other. ``--nearest`` says how far each is from the clip of a folder that it is most like: a model
of a few clips should come close to one of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from model import FlowTransformer

from vidtwin_codec import DecodeOptions, VtwFile, decode, decode_frames, metrics
from vidtwin_codec.latents.importing import ImportLatentsOptions, import_latents


class Likeness(NamedTuple):
    """Mean PSNR in dB against a clip, and which: its file and its number there."""

    psnr: float
    file: str
    clip: int


def generate(
    weights: Path,
    like: Path,
    output: Path,
    *,
    count: int = 4,
    steps: int = 50,
    seed: int = 0,
    decoding: DecodeOptions,
    compared: Path | None = None,
) -> list[Likeness]:
    """Sample latents, make a .vtw of them and decode it; how like the clips of the folder ``compared`` they are."""
    model, about = FlowTransformer.load(weights)
    with VtwFile(like) as file:
        if file.header.weights_sha256 != about["weights_sha256"]:
            raise SystemExit(f"{like} was made with other weights than the latents that {weights} learned")
        if file.tiles != 1:
            raise SystemExit(f"{like} has {file.tiles} tiles a clip: choose a video of one")
    latents = model.sample(count, steps, torch.Generator().manual_seed(seed))
    with tempfile.TemporaryDirectory() as folder:
        # [count, clips, ...] to [clips, ...]
        arrays = {name: part.flatten(0, 1).numpy() for name, part in latents._asdict().items()}
        np.savez(Path(folder, "new.npz"), **arrays)
        import_latents(Path(folder, "new.npz"), Path(folder, "new.vtw"), ImportLatentsOptions(like=like))
        decode(Path(folder, "new.vtw"), output, decoding)
        return [] if compared is None else list(find_nearest(Path(folder, "new.vtw"), compared, decoding))


def find_nearest(made: Path, folder: Path, decoding: DecodeOptions) -> Iterator[Likeness]:
    """For each clip of a .vtw, the one it is most like among those of a folder, which are all kept in memory."""
    known = [
        (path.name, number, clip)
        for path in sorted(folder.glob("*.vtw"))
        for number, clip in enumerate(decode_frames(path, decoding))
    ]
    for frames in decode_frames(made, decoding):
        likenesses = [
            Likeness(float(metrics.psnr(clip, frames).mean()), name, number)
            for name, number, clip in known
            if clip.shape == frames.shape
        ]
        yield max(likenesses)


@click.command()
@click.argument("weights", type=click.Path(exists=True, path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--like", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--nearest", "compared", type=click.Path(exists=True, path_type=Path), help="A folder of .vtw files.")
@click.option("--count", type=int, default=4, show_default=True, help="Samples.")
@click.option("--steps", type=int, default=50, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--force", is_flag=True, help="Replace an existing output.")
def main(
    weights: Path, output: Path, like: Path, compared: Path | None, count: int, steps: int, seed: int, force: bool
) -> None:
    decoding = DecodeOptions(audio=False, force=force)
    found = generate(weights, like, output, count=count, steps=steps, seed=seed, decoding=decoding, compared=compared)
    print(f"{output}: {count} samples")
    for psnr, file, clip in found:
        print(f"{psnr:.1f} dB from clip {clip} of {file}")


if __name__ == "__main__":
    main()
