"""Generate a video with a model of train.py.

    python examples/generate/sample.py flow.safetensors --like LATENTS_FOLDER/any.vtw out.mp4

``--like`` is a .vtw of the training set, of one tile: it says rate, weights and quantisation steps. Several samples
follow one after the other.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from model import FlowTransformer

from vidtwin_codec import DecodeOptions, VtwFile, decode
from vidtwin_codec.latents.importing import ImportLatentsOptions, import_latents


def generate(
    weights: Path, like: Path, output: Path, *, count: int = 4, steps: int = 50, seed: int = 0, decoding: DecodeOptions
) -> None:
    """Sample latents, make a .vtw of them and decode it."""
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


@click.command()
@click.argument("weights", type=click.Path(exists=True, path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--like", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--count", type=int, default=4, show_default=True, help="Samples.")
@click.option("--steps", type=int, default=50, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--force", is_flag=True, help="Replace an existing output.")
def main(weights: Path, output: Path, like: Path, count: int, steps: int, seed: int, force: bool) -> None:
    generate(
        weights, like, output, count=count, steps=steps, seed=seed, decoding=DecodeOptions(audio=False, force=force)
    )
    print(f"{output}: {count} samples")


if __name__ == "__main__":
    main()
