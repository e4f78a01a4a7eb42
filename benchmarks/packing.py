"""Choosing and packing symbols on one core and on several: the same bytes, in how much less time.

    python benchmarks/packing.py VIDEO [--quality 60] [--short-side 0] [--ahead 1] [--ahead 3]

The video should last several groups of ten seconds. Its latents are computed first and held in memory.
"""

from __future__ import annotations

import time
from contextlib import closing
from itertools import chain
from pathlib import Path

import click

from vidtwin_codec import weights
from vidtwin_codec.coding import DEFAULT_LEVEL, DEFAULT_QUALITY
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder, Piece
from vidtwin_codec.encoding.groups import PackedGroup
from vidtwin_codec.encoding.groups_ahead import Spare
from vidtwin_codec.encoding.writing import group_packer
from vidtwin_codec.media import probe
from vidtwin_codec.network.runner import NetworkRunner
from vidtwin_codec.options import EncodeOptions


def packed(encoder: Encoder, pieces: list[Piece], ahead: int) -> tuple[list[PackedGroup], float]:
    """The groups, and the seconds that they took with so many coded ahead."""
    began = time.perf_counter()
    with closing(group_packer(encoder, encoder.options.quality, DEFAULT_LEVEL, spare=Spare(ahead))) as packer:
        groups = list(chain(*map(packer.add, pieces), packer.flush()))
    return groups, time.perf_counter() - began


@click.command()
@click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--quality", type=float, default=DEFAULT_QUALITY, show_default=True)
@click.option("--short-side", type=int, default=0, help="0: the video's own size.")
@click.option("--ahead", "aheads", type=int, multiple=True, default=(1,), help="Groups coded ahead.")
@click.option("--repeat", type=int, default=2, show_default=True)
def main(video: Path, quality: float, short_side: int, aheads: tuple[int, ...], repeat: int) -> None:
    options = EncodeOptions(quality=quality, short_side=short_side or None, device="cpu")
    entry = weights.resolve(options.weights)
    encoder = Encoder(EncodeJob(probe(video), NetworkRunner.load(entry, options, "encoder"), entry, options))
    pieces = list(encoder.pieces())
    seconds = pieces[-1].span.end_frame / float(encoder.fps)
    packed(encoder, pieces[:1], 0)  # pays for what is made once
    for _ in range(repeat):
        reference, alone = packed(encoder, pieces, 0)
        print(f"one core: {len(reference)} groups, {alone:.2f} s for {seconds:.1f} s of video", flush=True)
        for ahead in aheads:
            groups, spent = packed(encoder, pieces, ahead)
            same = "same bytes" if groups == reference else "OTHER BYTES"
            print(f"{ahead} ahead: {spent:.2f} s, {alone / spent:.2f} times as fast, {same}", flush=True)


if __name__ == "__main__":
    main()
