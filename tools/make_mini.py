"""Write the embedded weights:  python -m tools.make_mini [VIDEO ...]

Without videos, the numbers of patterns of the three colours are those that 60 clips gave; with videos, those with the
least error on them. Takes seconds; writes weights/vidtwin-mini.safetensors and its digest.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch

from tools import closed_form
from vidtwin_codec.calibration.clips import video_clips
from vidtwin_codec.model import save_checkpoint
from vidtwin_codec.weights.store import write_record

CHANNELS = sum(closed_form.COUNTS)
TARGET = Path(__file__).resolve().parent.parent / "weights" / "vidtwin-mini.safetensors"


def main() -> None:
    """Read the command line, build, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", type=Path, metavar="VIDEO")
    parser.add_argument("-o", "--output", type=Path, default=TARGET)
    parser.add_argument("--lapping", type=int, default=closed_form.LAPPING, help="pixels on each side of a border")
    options = parser.parse_args()
    counts = closed_form.COUNTS
    if options.videos:
        clips = torch.cat(list(video_clips(options.videos, closed_form.configuration())))
        counts = closed_form.counts_from(clips, CHANNELS)
    save_checkpoint(
        options.output,
        closed_form.build(counts, options.lapping),
        name="mini",
        origin="tools/make_mini.py: written down, not trained",
        steps=closed_form.steps(counts),
        compute_dtype="bfloat16",
        extra={"description": "A lapped sparse 3-D cosine transform in a VidTwin's layers; any frame size"},
    )
    write_record(options.output, hashlib.sha256(options.output.read_bytes()).hexdigest())
    print(f"{options.output}: {counts} patterns, {options.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
