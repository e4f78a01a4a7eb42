"""What a scene that stands still costs: the first picture of each video held for a minute, against its motion.

    python benchmarks/still.py FOLDER [--weights NAME|FILE] [--quality 60] [--short-side 224] [--seconds 60]

Both are whole .vtw files without sound. The motion is the video itself, or its first ten seconds, counted as often as
the minute holds it. A held picture gives the same latents in every clip, so the network codes two clips and the second
one is repeated.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import numpy as np

from vidtwin_codec import weights as known_weights
from vidtwin_codec.coding import DEFAULT_QUALITY, GroupSpan, LatentArrays
from vidtwin_codec.container import VtwReader
from vidtwin_codec.encoding.encoder import EncodeJob, Encoder, Piece
from vidtwin_codec.encoding.writing import Packer
from vidtwin_codec.media import probe
from vidtwin_codec.media.ffmpeg import executable
from vidtwin_codec.network.runner import NetworkRunner
from vidtwin_codec.options import EncodeOptions

SUFFIXES = {".mp4", ".mkv", ".mov", ".webm", ".avi"}
MOTION_SECONDS = 10


def packed(encoder: Encoder, pieces: Iterable[Piece], quality: float) -> tuple[int, int, int]:
    """Bytes, frames and groups of the file that these clips make."""
    stream = io.BytesIO()
    with Packer(stream, encoder, quality=quality) as packer:
        for piece in pieces:
            packer.add(piece)
        counts = packer.finish()
    with VtwReader(stream) as reader:
        assert reader.frames == counts.frames
    return counts.vtw_bytes, counts.frames, counts.groups


def motion(encoder: Encoder) -> Iterator[Piece]:
    """The clips of the first whole groups of a video, at least one and no more than `MOTION_SECONDS` long."""
    for piece in encoder.pieces():
        yield piece
        if piece.span.end_clip % encoder.clips_per_group == 0 and piece.span.end_frame >= MOTION_SECONDS * encoder.fps:
            return


def held(encoder: Encoder, seconds: float) -> Iterator[Piece]:
    """Clips of a picture that stands still, given the video of two clips of it."""
    two = next(encoder.pieces())
    assert two.span.clips == 2
    frames = encoder.geometry.clip_frames
    clips = round(seconds * float(encoder.fps) / frames)
    for first in range(0, clips, encoder.clips_per_group):
        count = min(encoder.clips_per_group, clips - first)
        starts = [0 if clip == 0 else two.tiles for clip in range(first, first + count)]
        parts = (np.concatenate([part[start : start + two.tiles] for start in starts]) for part in two.latents)
        yield Piece(GroupSpan(first * frames, count * frames, first, count), two.tiles, LatentArrays(*parts))


def hold_first_picture(path: Path, folder: Path, rate: str, frames: int) -> Path:
    """A video of the first picture, standing still."""
    picture, still = folder / "first.png", folder / f"{path.stem}.mkv"
    run = [executable(), "-v", "error", "-y"]
    subprocess.run([*run, "-i", path, "-frames:v", "1", picture], check=True)
    still_input = ["-loop", "1", "-framerate", rate, "-i", picture, "-frames:v", str(frames)]
    subprocess.run([*run, *still_input, "-c:v", "libx264", "-crf", "8", "-pix_fmt", "yuv444p", still], check=True)
    return still


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--weights", default="mini", show_default=True)
@click.option("--quality", default=DEFAULT_QUALITY, show_default=True)
@click.option("--short-side", default=224, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
def main(folder: Path, weights: str, quality: float, short_side: int, seconds: float) -> None:
    entry = known_weights.resolve(weights)
    options = EncodeOptions(weights=weights, quality=quality, short_side=short_side, audio="none")
    network = NetworkRunner.load(entry, options, "encoder")
    shares = []
    print(f"weights {entry.name} {entry.sha256[:12]}, quality {quality:g}\n")
    print("| video | motion, bytes a minute | still | groups | share |\n|---|---:|---:|---:|---:|")
    for path in sorted(each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES):
        encoder = Encoder(EncodeJob(probe(path), network, entry, options))
        moving, frames, _ = packed(encoder, motion(encoder), quality)
        moving = round(moving * seconds * float(encoder.fps) / frames)
        with tempfile.TemporaryDirectory() as temporary:
            clip_frames = encoder.geometry.clip_frames
            still_path = hold_first_picture(path, Path(temporary), str(encoder.fps), 2 * clip_frames)
            still_encoder = Encoder(EncodeJob(probe(still_path), network, entry, options))
            still, _, groups = packed(still_encoder, held(still_encoder, seconds), quality)
        shares.append(100 * still / moving)
        print(f"| {path.stem} | {moving} | {still} | {groups} | {shares[-1]:.1f} % |", flush=True)
    print(f"\nmean {np.mean(shares):.1f} %, {min(shares):.1f} to {max(shares):.1f} %")


if __name__ == "__main__":
    main()
