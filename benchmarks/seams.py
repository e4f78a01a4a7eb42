"""How far the borders of patches show: steps across them against steps one pixel beside them.

    python benchmarks/seams.py FOLDER [--weights NAME|FILE] [--quality 25 --quality 50 --quality 75] [--frames 32]

Of each video's first frames, encoded and decoded at its own size: the mean absolute difference of luma between the two
pixels on either side of a patch's border, over that between neighbours one pixel beside it. 1 says that no border
shows; what the source itself has stands beside. Mean over videos.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

import vidtwin_codec
from vidtwin_codec import weights as known_weights
from vidtwin_codec.evaluation.compare.reference import prepare
from vidtwin_codec.metrics import psnr

_LUMA = np.array([0.2126, 0.7152, 0.0722])


def seam(frames: NDArray[np.uint8], patch: int) -> float:
    """Steps across borders over steps beside them; uint8 ``[n, H, W, 3]``."""
    luma = frames @ _LUMA
    across, beside = [], []
    for axis in (1, 2):
        steps = np.abs(np.diff(luma, axis=axis))
        borders = np.arange(patch - 1, steps.shape[axis] - 1, patch)
        across.append(steps.take(borders, axis=axis).mean())
        beside.append(np.mean([steps.take(borders + side, axis=axis).mean() for side in (-1, 1)]))
    return float(np.mean(across) / np.mean(beside))


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--weights", default="mini", show_default=True)
@click.option("--quality", "qualities", multiple=True, type=float, default=(25, 50, 75), show_default=True)
@click.option("--frames", default=32, show_default=True)
def main(folder: Path, weights: str, qualities: tuple[float, ...], frames: int) -> None:
    entry = known_weights.resolve(weights)
    patch = entry.metadata.config["patch_size"]
    decoding = vidtwin_codec.DecodeOptions(weights=weights)
    print(f"weights {entry.name} {entry.sha256[:12]}\n")
    print("| video | source |" + "".join(f" quality {quality:g} | PSNR |" for quality in qualities))
    print("|---|---:|" + "---:|---:|" * len(qualities))
    rows = []
    for path in sorted(folder.glob("*.mp4")):
        with tempfile.TemporaryDirectory() as temporary:
            reference = prepare(path, Path(temporary), frames=frames, seconds=0)
            source = np.concatenate(list(reference.read()))
            row = [seam(source, patch)]
            for quality in qualities:
                packed = Path(temporary, f"{quality:g}.vtw")
                options = vidtwin_codec.EncodeOptions(weights=weights, quality=quality, audio="none")
                vidtwin_codec.encode(reference.rgb, packed, options)
                decoded = np.concatenate(list(vidtwin_codec.decode_frames(packed, decoding)))
                row += [seam(decoded, patch), float(psnr(source, decoded).mean())]
        rows.append(row)
        print(_row(path.stem[:24], row), flush=True)
    print(_row("mean", np.mean(rows, axis=0).tolist()))


def _row(name: str, values: list[float]) -> str:
    source, *rest = values
    cells = [f" {value:.2f} |" for value in rest]
    return f"| {name} | {source:.2f} |" + "".join(cells)


if __name__ == "__main__":
    main()
