"""Write the embedded weights:  python -m tools.make_mini [VIDEO ...]

Without videos, the numbers of patterns of the three colours are those that 60 clips gave; with videos, those with the
least error on them. The transform is written down; the post-filter is the one that the embedded weights have, or that
of the weights that --postfilter names, which `vidtwin train --train postfilter` has made. Takes seconds; writes
weights/vidtwin-mini.safetensors and its digest.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import tempfile
from pathlib import Path

import torch

from tools import closed_form
from vidtwin_codec.calibration.clips import video_clips
from vidtwin_codec.coding import Steps
from vidtwin_codec.model import VidTwin, load_checkpoint, postfilter, save_checkpoint
from vidtwin_codec.weights.metadata import DECODES
from vidtwin_codec.weights.store import write_record

CHANNELS = sum(closed_form.COUNTS)
TARGET = Path(__file__).resolve().parent.parent / "weights" / "vidtwin-mini.safetensors"
EARLIER = (
    "df52e68f70e888a2d0d23d347cfd40eefe3c83f92e337b3fe928d02fa25e4d10",
    "30720f1bd86582bcc38ba388ee202273c15549654b008e8c3bd8009762185485",
    "17d0e28e733f4e81507704a1e4e375afd3e9eab367e633cf9769845387861ae7",
)
"""Digests of embedded files of the same transform with other filters: what they have encoded is decoded, too."""
PLAIN, FILTERED = "tools/make_mini.py: written down, not trained", "tools/make_mini.py: written down; filter trained"


def filtered(plain: VidTwin, source: Path) -> VidTwin:
    """The network with the post-filter of other weights."""
    trained = load_checkpoint(source, parts=("decoder",))
    filters = {name: value for name, value in trained.state_dict().items() if name.startswith(postfilter.PREFIX)}
    if not filters:
        raise SystemExit(f"{source}: has no post-filter")
    model = VidTwin(dataclasses.replace(plain.config, postfilter=trained.config.postfilter)).eval()
    model.load_state_dict(plain.state_dict() | filters)
    return model


def write(path: Path, model: VidTwin, steps: Steps, decodes: str | None = None) -> str:
    """Write the weights, and return their digest."""
    save_checkpoint(
        path,
        model,
        name="mini",
        origin=PLAIN if decodes is None else FILTERED,
        steps=steps,
        compute_dtype="bfloat16",
        extra={
            "description": "A lapped sparse 3-D cosine transform in a VidTwin's layers; any frame size",
            **({} if decodes is None else {DECODES: decodes}),
        },
    )
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Read the command line, build, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", type=Path, metavar="VIDEO")
    parser.add_argument("-o", "--output", type=Path, default=TARGET)
    parser.add_argument("--lapping", type=int, default=closed_form.LAPPING, help="pixels on each side of a border")
    parser.add_argument("--postfilter", type=Path, default=TARGET, help="weights whose post-filter is taken")
    parser.add_argument("--no-postfilter", action="store_true", help="leave the post-filter out")
    parser.add_argument("--size", type=int, default=closed_form.SIZE, help="side of a training clip in pixels")
    options = parser.parse_args()
    counts = closed_form.COUNTS
    if options.videos:
        clips = torch.cat(list(video_clips(options.videos, closed_form.configuration())))
        counts = closed_form.counts_from(clips, CHANNELS)
    model, steps = closed_form.build(counts, options.lapping, options.size), closed_form.steps(counts)
    if options.no_postfilter:
        digest = write(options.output, model, steps)
    else:
        with tempfile.TemporaryDirectory() as folder:
            # files that were made without the filter are decoded with it
            plain = write(Path(folder) / "plain.safetensors", model, steps)
        digest = write(options.output, filtered(model, options.postfilter), steps, " ".join((plain, *EARLIER)))
    write_record(options.output, digest)
    print(f"{options.output}: {counts} patterns, {options.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
