"""Encoding with conventional codecs to elementary streams, and decoding to frames, with the time of each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.compare.codecs import ConventionalCodec, Gop
from vidtwin_codec.evaluation.compare.reference import Reference
from vidtwin_codec.media.ffmpeg import Child, thread_count
from vidtwin_codec.media.source import file_url
from vidtwin_codec.metrics import Frames

_TO_RGB = (
    "scale=flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp:"
    "in_color_matrix=bt709:in_range=limited:out_range=full,format=rgb24"
)

_CHUNK = 16
"""Number of frames in memory at once."""


@dataclass(frozen=True)
class Encoded:
    """An elementary stream.

    Attributes:
        path: its file.
        bytes: its size without the overhead that containers do not store.
        seconds: wall time of encoding.
    """

    path: Path
    bytes: int
    seconds: float


def encode_stream(
    codec: ConventionalCodec, reference: Reference, target: Path, *, preset: str, gop: Gop, clip_frames: int, crf: float
) -> Encoded:
    """Encode the reference's 4:2:0 frames.

    Raises:
        VidtwinError: the encoder failed; the message holds its reason.
    """
    arguments = codec.arguments(preset, gop, clip_frames, crf)
    began = time.perf_counter()
    _run(["-y", "-i", file_url(reference.yuv), *arguments, file_url(target)], f"{codec.label} cannot encode this")
    seconds = time.perf_counter() - began
    size = target.stat().st_size - codec.frame_overhead * reference.frames
    if size <= 0:
        raise VidtwinError(f"{codec.label} gave an empty stream")
    return Encoded(target, size, seconds)


def decode_seconds(codec: ConventionalCodec, stream: Path) -> float:
    """Measure the seconds that decoding takes, to 4:2:0 frames that are discarded.

    Raises:
        VidtwinError: this ffmpeg cannot decode it.
    """
    began = time.perf_counter()
    _run([*_input(codec, stream), "-f", "null", "-"], f"{codec.label} cannot be decoded")
    return time.perf_counter() - began


def decode_stream(codec: ConventionalCodec, stream: Path, reference: Reference) -> Iterator[Frames]:
    """Decode all frames to RGB of the reference's size, uint8 ``[n, height, width, 3]``, a few at a time."""
    crop = f"crop={reference.width}:{reference.height}:0:0:exact=1"
    size = reference.height * reference.width * 3
    to_rgb = ["-vf", f"{_TO_RGB},{crop}", "-fps_mode", "passthrough"]
    with Child([*_input(codec, stream), *to_rgb, "-f", "rawvideo", "pipe:1"]) as child:
        while data := _exactly(child, _CHUNK * size):
            whole = np.frombuffer(data, np.uint8, len(data) // size * size)
            yield whole.reshape(-1, reference.height, reference.width, 3)


def _input(codec: ConventionalCodec, stream: Path) -> list[str]:
    return ["-threads", str(thread_count()), "-f", codec.muxer, "-i", file_url(stream)]


def _exactly(child: Child, count: int) -> bytes:
    """Read ``count`` bytes, or fewer at the end."""
    parts = []
    while count and (part := child.stdout.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _run(arguments: Sequence[str], what: str) -> None:
    with Child(arguments) as child:
        while child.stdout.read(1 << 16):
            pass
        if child.wait():
            raise VidtwinError(f"{what} ({child.reason()})")
