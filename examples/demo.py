"""Encode a video, decode it again, and say what it cost: size, ratio and PSNR.

    python examples/demo.py [VIDEO [FOLDER]]

Writes FOLDER/<name>.vtw and FOLDER/<name>.mp4 (FOLDER is ``demo`` unless given), and ends with a command to try next.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

import vidtwin_codec
from vidtwin_codec.cli.common import console, progress
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.metrics import PsnrMeter

CLIP = "big_buck_bunny.mp4"


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(os.path.relpath(Path(__file__).parent)) / CLIP
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("demo")
    folder.mkdir(exist_ok=True)
    packed, decoded = folder / f"{source.stem}.vtw", folder / f"{source.stem}.mp4"
    screen = console()  # standard error: bars on a terminal, a line now and then elsewhere

    screen.print(f"1/3  Encoding {source} to {packed}")
    with progress("encode", screen) as reporter:
        options = vidtwin_codec.EncodeOptions(force=True)
        encoded = vidtwin_codec.encode(source, packed, options, reporter=reporter)
    screen.print(f"2/3  Decoding it to {decoded}")
    with progress("decode", screen) as reporter:
        result = vidtwin_codec.decode(packed, decoded, vidtwin_codec.DecodeOptions(force=True), reporter=reporter)

    # Compare with the source frame by frame, in memory: the MP4's own compression is not what is measured.
    screen.print("3/3  Measuring what was lost")
    meter = PsnrMeter()
    with FrameReader(probe(source)) as frames, progress("measure", screen) as reporter:
        reporter.started(encoded.frames, encoded.device)
        for clip in vidtwin_codec.decode_frames(packed):
            meter.add(frames.read(len(clip)), clip)
            reporter.advanced(len(clip))

    print(f"{source.name}: {encoded.width} x {encoded.height}, {encoded.frames} frames at {float(encoded.fps):g} fps")
    print(f"  {packed}: {encoded.vtw_bytes} bytes ({encoded.video_bytes} latents, {encoded.audio_bytes} audio)")
    print(f"  {decoded}: {result.frames} frames")
    print(f"  compression ratio {encoded.compression_ratio:.0f}:1 against raw RGB, {encoded.bits_per_pixel:.4f} bpp")
    print(f"  PSNR {meter.mean:.2f} dB")
    print(
        f"  encoded at {encoded.frames / encoded.seconds:.1f} frames/s, decoded at {result.frames / result.seconds:.1f}"
    )
    smaller = folder / f"{source.stem}-smaller.vtw"
    print(f"Next, a smaller file (look at {decoded}; then try a video of your own):")
    print(f"  {vidtwin()} encode --force --quality 40 {shlex.quote(str(source))} {shlex.quote(str(smaller))}")


def vidtwin() -> str:
    """The command, as it is to be typed here."""
    beside = Path(sys.executable).with_name("vidtwin")
    found = shutil.which("vidtwin")
    if found and Path(found).resolve() == beside.resolve():
        return "vidtwin"
    if not shutil.which(str(beside)):
        return f"{shlex.quote(sys.executable)} -m vidtwin_codec"
    inside = beside.is_relative_to(Path.cwd())
    return shlex.quote(str(beside.relative_to(Path.cwd()) if inside else beside))


if __name__ == "__main__":
    main()
