"""The pictures and the table at the top of the README, of the clip in examples/.

    python -m tools.readme_frames [--frame 60] [--quality 60 --quality 40]

Writes docs/images/quality_Q.jpg, source and decoded beside each other, and puts the table between the marks in
README.md. x264 (medium, one GOP) is given as many bytes as vidtwin took, sound left out on both sides. Effort is
processor time of all threads and of ffmpeg, which other programs on the machine hardly change, without the start of
Python: x264's encoding is 1.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

import vidtwin_codec
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.media.ffmpeg import executable
from vidtwin_codec.metrics import PsnrMeter

ROOT = Path(__file__).resolve().parent.parent
CLIP = ROOT / "examples" / "big_buck_bunny.mp4"
IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 150_000
MARKS = ("<!-- first table -->\n", "<!-- end of first table -->")
FRAMES_AT_ONCE = 16


class Coded(NamedTuple):
    """One file: its bytes, PSNR of RGB in dB, and processor seconds of making and of reading it."""

    size: int
    psnr: float
    encoding: float
    decoding: float


def processor_seconds(work: Callable[[], object]) -> float:
    """Of this process and of the children that ended meanwhile."""
    before = os.times()
    work()
    return sum(os.times()[:4]) - sum(before[:4])


def frames_of(video: Path) -> Iterator[np.ndarray]:
    """Its frames, uint8 ``[n, height, width, 3]``, some at a time."""
    with FrameReader(probe(video)) as reader:
        while len(frames := reader.read(FRAMES_AT_ONCE)):
            yield frames


def compared(source: np.ndarray, clips: Iterable[np.ndarray]) -> float:
    """PSNR of RGB, mean of frames."""
    meter, place = PsnrMeter(), 0
    for clip in clips:
        meter.add(source[place : place + len(clip)], clip)
        place += len(clip)
    return meter.mean


def ffmpeg(*arguments: str | Path, data: bytes | None = None) -> None:
    subprocess.run([executable(), "-v", "error", "-y", *arguments], check=True, input=data)


def vidtwin(source: np.ndarray, quality: float, packed: Path) -> tuple[Coded, np.ndarray]:
    """What vidtwin makes of the clip; and its frames."""
    options = vidtwin_codec.EncodeOptions(quality=quality, audio="none", device="cpu")
    encoding = processor_seconds(lambda: vidtwin_codec.encode(CLIP, packed, options))
    clips: list[np.ndarray] = []
    reading = vidtwin_codec.DecodeOptions(device="cpu")
    decoding = processor_seconds(lambda: clips.extend(vidtwin_codec.decode_frames(packed, reading)))
    return Coded(packed.stat().st_size, compared(source, clips), encoding, decoding), np.concatenate(clips)


def x264(source: np.ndarray, size: int, coded: Path) -> Coded:
    """x264 at the CRF that comes nearest to so many bytes."""

    def encode(crf: float) -> None:
        settings = ("-an", "-c:v", "libx264", "-preset", "medium", "-g", "9999", "-crf", f"{crf:g}")
        ffmpeg("-i", CLIP, *settings, coded)

    low, high = 10.0, 51.0
    for _ in range(8):
        middle = (low + high) / 2
        encode(middle)
        low, high = (middle, high) if coded.stat().st_size > size else (low, middle)
    encoding = processor_seconds(lambda: encode(high))
    decoding = processor_seconds(lambda: ffmpeg("-i", coded, "-pix_fmt", "rgb24", "-f", "null", "-"))
    return Coded(coded.stat().st_size, compared(source, frames_of(coded)), encoding, decoding)


def write_picture(left: np.ndarray, right: np.ndarray, target: Path) -> None:
    """Two frames beside each other, as the best JPEG below :data:`MOST_BYTES`."""
    both = np.concatenate([left, right], axis=1)
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{both.shape[1]}x{both.shape[0]}", "-i", "-")
    target.parent.mkdir(parents=True, exist_ok=True)
    for step in range(2, 32):
        # JFIF's own range: yuvj420p
        ffmpeg(*raw, "-frames:v", "1", "-pix_fmt", "yuvj420p", "-q:v", str(step), target, data=both.tobytes())
        if target.stat().st_size < MOST_BYTES:
            return


def table(rows: list[tuple[float, Coded, Coded]], raw: int) -> str:
    lines = [
        "| example clip, 640 × 360 | size | of raw RGB | PSNR | encoding | decoding |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for quality, ours, theirs in rows:
        for name, one in ((f"vidtwin, quality {quality:g}", ours), ("x264 medium, as many bytes", theirs)):
            effort = f"{one.encoding / theirs.encoding:.2g} | {one.decoding / theirs.encoding:.2g}"
            lines.append(
                f"| {name} | {one.size / 1000:.0f} kB | 1 : {raw / one.size:.0f} | {one.psnr:.1f} dB | {effort} |"
            )
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--frame", type=int, default=60, show_default=True, help="Which one to show.")
@click.option("--quality", "qualities", type=float, multiple=True, default=(60, 40), show_default=True)
def main(frame: int, qualities: tuple[float, ...]) -> None:
    source = np.concatenate(list(frames_of(CLIP)))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for quality in qualities:
            ours, frames = vidtwin(source, quality, Path(folder, f"{quality:g}.vtw"))
            rows.append((quality, ours, x264(source, ours.size, Path(folder, f"{quality:g}.mp4"))))
            write_picture(source[frame], frames[frame], IMAGES / f"quality_{quality:g}.jpg")
    made = table(rows, source.nbytes)
    print(made)
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    pattern = re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1])
    readme.write_text(re.sub(pattern, lambda _: MARKS[0] + made + MARKS[1], text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
