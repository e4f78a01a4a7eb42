"""Encode, verify and decode every video of a folder through the command line, and check what comes back.

    python benchmarks/round_trip.py FOLDER [OUTPUT_FOLDER] [-- ENCODE OPTIONS]

Fails if a decoded video differs from its source in frame count, size, rate or presence of sound. PSNR compares decoded
frames with the source's, both at the display size, before the MP4's own encoder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from vidtwin_codec import decode_frames
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.metrics import PsnrMeter

VIDTWIN = [sys.executable, "-m", "vidtwin_codec"]


def run(*arguments: str | Path) -> dict[str, object]:
    """One verb with --json; its object."""
    done = subprocess.run([*VIDTWIN, *map(str, arguments), "--json", "-q"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{arguments}: {done.stderr}")
    values: dict[str, object] = json.loads(done.stdout)
    return values


def measure(source: Path, packed: Path) -> float:
    meter = PsnrMeter()
    with FrameReader(probe(source)) as frames:
        for clip in decode_frames(packed):
            meter.add(frames.read(len(clip)), clip)
    return meter.mean


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("output", type=click.Path(file_okay=False, path_type=Path), required=False)
@click.argument("options", nargs=-1)
def main(folder: Path, output: Path | None, options: tuple[str, ...]) -> None:
    output = output or Path(tempfile.mkdtemp(prefix="vidtwin-"))
    output.mkdir(exist_ok=True)
    wrong = 0
    print(f"{'':32}  frames     size  rate      ratio     bpp   kbps   PSNR  fps in  fps out")
    for source in sorted(path for path in folder.iterdir() if path.is_file()):
        packed, decoded = output / f"{source.stem}.vtw", output / f"{source.stem}.mp4"
        encoded = run("encode", source, packed, "-f", *options)
        run("verify", packed)
        back = run("decode", packed, decoded, "-f")
        before, after = probe(source), probe(decoded)
        same = (
            (before.frames, before.width, before.height, before.fps, bool(before.audio_streams))
            == (after.frames, after.width, after.height, after.fps, bool(after.audio_streams))
            == (encoded["frames"], encoded["width"], encoded["height"], before.fps, bool(encoded["audio_bytes"]))
        )
        wrong += not same
        print(
            f"{source.name[:32]:32} {after.frames:7} {after.width:4}x{after.height:<4} {float(after.fps):6.3f}"
            f" {encoded['compression_ratio']:8.0f} {encoded['bits_per_pixel']:7.4f} {encoded['kbps']:6.1f}"
            f" {measure(source, packed):6.2f} {encoded['frames'] / encoded['seconds']:7.1f}"
            f" {back['frames'] / back['seconds']:8.1f}" + ("" if same else "   DIFFERS from the source"),
            flush=True,
        )
    raise SystemExit(f"{wrong} videos differ from their source" if wrong else 0)


if __name__ == "__main__":
    main()
