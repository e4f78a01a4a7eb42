"""Bytes against x264 at equal PSNR where the camera stands still, x264 having one GOP for all of it.

    python benchmarks/one_gop.py VIDEO ... [--seconds 8] [--quality 40 --quality 50 ...] [--weights NAME|FILE]

The first seconds of each video at its own size, without sound: all bytes of the .vtw but sound's, against those of an
x264 medium stream (tuned for PSNR, key frames at the start and at cuts) of the same RGB PSNR, interpolated along a
ladder of CRFs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np

import vidtwin_codec
from vidtwin_codec import weights as known_weights
from vidtwin_codec.evaluation.compare.codecs import CODECS, Gop
from vidtwin_codec.evaluation.compare.reference import Reference, prepare
from vidtwin_codec.evaluation.compare.streams import decode_stream, encode_stream
from vidtwin_codec.metrics import Frames, psnr

CRFS = (45, 41, 37, 33, 29, 25, 21)
CLIP_FRAMES = 16


def mean_psnr(reference: Reference, decoded: list[Frames]) -> float:
    frames = np.concatenate(decoded)
    at, values = 0, []
    for piece in reference.read():
        values.append(psnr(piece, frames[at : at + len(piece)]))
        at += len(piece)
    assert at == len(frames)
    return float(np.concatenate(values).mean())


def x264_curve(reference: Reference, folder: Path) -> tuple[list[float], list[float]]:
    """PSNR, ascending, and the logarithm of bytes."""
    codec = CODECS["x264"]
    points = []
    for crf in CRFS:
        made = encode_stream(
            *(codec, reference, folder / f"{crf}.264"),
            **{"preset": "medium", "gop": Gop.SEQUENCE, "clip_frames": CLIP_FRAMES, "crf": float(crf)},
        )
        points.append((mean_psnr(reference, list(decode_stream(codec, made.path, reference))), np.log(made.bytes)))
    points.sort()
    return [quality for quality, _ in points], [size for _, size in points]


@click.command()
@click.argument("videos", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seconds", default=8.0, show_default=True)
@click.option("--weights", default="mini", show_default=True)
@click.option("--quality", "qualities", multiple=True, type=float, default=(30, 40, 50, 60, 70), show_default=True)
def main(videos: tuple[Path, ...], seconds: float, weights: str, qualities: tuple[float, ...]) -> None:
    entry = known_weights.resolve(weights)
    print(f"weights {entry.name} {entry.sha256[:12]}\n")
    print("| video | frames | quality | PSNR | vidtwin, bytes | x264, bytes | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for path in videos:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            reference = prepare(path, folder, frames=None, seconds=seconds)
            known, sizes = x264_curve(reference, folder)
            for quality in qualities:
                packed = folder / "x.vtw"
                options = vidtwin_codec.EncodeOptions(weights=weights, quality=quality, audio="none", force=True)
                result = vidtwin_codec.encode(reference.rgb, packed, options)
                found = mean_psnr(
                    reference, list(vidtwin_codec.decode_frames(packed, vidtwin_codec.DecodeOptions(weights=weights)))
                )
                inside = known[0] <= found <= known[-1]
                other = float(np.exp(np.interp(found, known, sizes)))
                told = f"{other:.0f} | {result.video_bytes / other:.2f}" if inside else "outside | "
                row = (path.stem[:24], reference.frames, f"{quality:g}", f"{found:.2f}", result.video_bytes, told)
                print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
