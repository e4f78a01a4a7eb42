"""Encode a video, decode it again, and say what it cost: size, ratio and PSNR.

    python examples/demo.py [VIDEO [FOLDER]]

Writes FOLDER/<name>.vtw and FOLDER/<name>.mp4 (FOLDER is ``demo`` unless given).
"""

import sys
from pathlib import Path

import vidtwin_codec
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.metrics import PsnrMeter


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("big_buck_bunny.mp4")
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("demo")
    folder.mkdir(exist_ok=True)
    packed, decoded = folder / f"{source.stem}.vtw", folder / f"{source.stem}.mp4"

    encoded = vidtwin_codec.encode(source, packed, vidtwin_codec.EncodeOptions(force=True))
    result = vidtwin_codec.decode(packed, decoded, vidtwin_codec.DecodeOptions(force=True))

    # Compare with the source frame by frame, in memory: the MP4's own compression is not what is measured.
    meter = PsnrMeter()
    with FrameReader(probe(source)) as frames:
        for clip in vidtwin_codec.decode_frames(packed):
            meter.add(frames.read(len(clip)), clip)

    print(f"{source.name}: {encoded.width} x {encoded.height}, {encoded.frames} frames at {float(encoded.fps):g} fps")
    print(f"  {packed}: {encoded.vtw_bytes} bytes ({encoded.video_bytes} latents, {encoded.audio_bytes} audio)")
    print(f"  {decoded}: {result.frames} frames")
    print(f"  compression ratio {encoded.compression_ratio:.0f}:1 against raw RGB, {encoded.bits_per_pixel:.4f} bpp")
    print(f"  PSNR {meter.mean:.2f} dB")
    print(
        f"  encoded at {encoded.frames / encoded.seconds:.1f} frames/s, decoded at {result.frames / result.seconds:.1f}"
    )


if __name__ == "__main__":
    main()
