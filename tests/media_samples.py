"""Small synthetic inputs for the media tests, made by ffmpeg's generators, and independent looks at outputs."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from vidtwin_codec.media import FrameReader, FrameWriter, MediaInfo, OutputOptions, probe
from vidtwin_codec.media.ffmpeg import executable

PICTURE = "testsrc2=s=64x48:r=25:d=1"
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")

# luma weights of red and blue, from the ITU recommendations
WEIGHTS = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114), "bt2020nc": (0.2627, 0.0593)}
BARS = np.array(
    [
        [191, 191, 191],
        [191, 191, 0],
        [0, 191, 191],
        [0, 191, 0],
        [191, 0, 191],
        [191, 0, 0],
        [0, 0, 191],
        [64, 96, 128],
    ],
    np.float64,
)


def ffmpeg(*arguments: str | Path, data: bytes | None = None) -> bytes:
    """Run ffmpeg, which must succeed; returns its standard output."""
    command = [executable(), "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def running_ffmpeg() -> psutil.Process:
    """The ffmpeg that this process has started and not ended; there is one."""
    (child,) = (child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE)
    return child


def lavfi(target: Path, *arguments: str, source: str = PICTURE) -> Path:
    """Encode one generator to ``target``."""
    ffmpeg("-f", "lavfi", "-i", source, *arguments, f"file:{target}")
    return target


def bars(
    target: Path, matrix: str, *, full: bool, size: tuple[int, int], tagged: bool = True, pix_fmt: str = "yuv444p"
) -> Path:
    """Lossless vertical colour bars whose YUV is computed here, not by ffmpeg."""
    width, height = size
    red, blue = WEIGHTS[matrix]
    rgb = BARS / 255
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    cb = (rgb[:, 2] - luma) / (2 * (1 - blue))
    cr = (rgb[:, 0] - luma) / (2 * (1 - red))
    scale = (255, 0, 255) if full else (219, 16, 224)
    planes = [luma * scale[0] + scale[1], cb * scale[2] + 128, cr * scale[2] + 128]
    column = np.arange(width) * len(BARS) // width
    frame = b"".join(np.tile(np.rint(plane).astype(np.uint8)[column], (height, 1)).tobytes() for plane in planes)
    tags = ["-vf", f"setparams=range={'full' if full else 'limited'}:colorspace={matrix}"] if tagged else []
    tags += ["-color_range", "pc"] if full else []
    given = ("-f", "rawvideo", "-pix_fmt", "yuv444p", "-s", f"{width}x{height}", "-i", "-")
    ffmpeg(*given, *tags, "-c:v", "ffv1", "-pix_fmt", pix_fmt, target, data=frame * 2)
    return target


def read_all(path: Path | MediaInfo) -> NDArray[np.uint8]:
    """Every frame of a video."""
    info = path if isinstance(path, MediaInfo) else probe(path)
    parts = []
    with FrameReader(info) as reader:
        while len(frames := reader.read(7)):
            parts.append(frames)
    return np.concatenate(parts)


def write_all(
    path: Path, frames: NDArray[np.uint8], fps: Fraction = Fraction(25), options: OutputOptions | None = None
) -> Path:
    """Write frames without sound."""
    with FrameWriter(path, frames.shape[2], frames.shape[1], fps, options=options) as writer:
        writer.write(frames)
    return path


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Over all pixels and channels, in dB."""
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def numbered(count: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """Frames that carry their number: eight vertical stripes, black or white, are its bits."""
    bits = (np.arange(count)[:, None] >> np.arange(8)) & 1
    stripes = (bits * 255).astype(np.uint8)[:, np.arange(width) * 8 // width]
    return np.ascontiguousarray(np.broadcast_to(stripes[:, None, :, None], (count, height, width, 3)))


def numbers(frames: NDArray[np.uint8]) -> list[int]:
    """The numbers that :func:`numbered` put into frames of any size."""
    _, height, width, _ = frames.shape
    centres = (np.arange(8) * width + width // 2) // 8
    bits = frames[:, height // 2, centres, 1] > 127
    return [int(value) for value in bits @ (1 << np.arange(8))]


def stream_line(path: Path, kind: str = "Video") -> str:
    """The line in which ffmpeg describes a stream."""
    told = subprocess.run(
        [executable(), "-hide_banner", "-i", f"file:{path}"], capture_output=True, text=True, check=False
    )
    return next((line for line in told.stderr.splitlines() if re.match(rf"\s*Stream #0:\d.*: {kind}:", line)), "")


def sound(path: Path) -> NDArray[np.float32]:
    """Mono samples at 48 kHz on the file's own clock, from time 0; silence where there is none."""
    chain = "aresample=48000:async=1:first_pts=0,aformat=channel_layouts=mono"
    raw = ffmpeg("-copyts", "-i", f"file:{path}", "-map", "0:a:0", "-af", chain, "-f", "f32le", "-")
    return np.frombuffer(raw, np.float32)


def first_picture(path: Path) -> float:
    """Seconds on the file's own clock at which its first frame is shown."""
    command = [executable(), "-hide_banner", "-copyts", "-i", f"file:{path}", "-map", "0:v:0", "-frames:v", "1"]
    told = subprocess.run([*command, "-vf", "showinfo", "-f", "null", "-"], capture_output=True, text=True, check=True)
    found = re.search(r"pts_time:(\S+)", told.stderr)
    assert found
    return float(found[1])


def onsets(samples: NDArray[np.float32], quiet: float = 0.3) -> list[float]:
    """Seconds at which a sound begins after at least ``quiet`` seconds of silence."""
    loud = np.flatnonzero(np.abs(samples) > 0.1 * np.abs(samples).max())
    first = np.concatenate([[True], np.diff(loud) > quiet * 48000])
    return [float(moment) for moment in loud[first] / 48000]


def stand_in(script: Path, lines: str) -> None:
    """Write a shell script that stands in for ffmpeg."""
    script.write_text(f"#!/bin/bash\n{lines}\n")
    script.chmod(0o755)
