"""The reference frames that every codec gets, read once and kept without loss."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import FrameReader, MediaInfo, probe
from vidtwin_codec.media.color import to_yuv
from vidtwin_codec.media.excerpt import pieces, write_lossless
from vidtwin_codec.media.ffmpeg import Child
from vidtwin_codec.media.source import file_url
from vidtwin_codec.metrics import Frames


@dataclass(frozen=True)
class Reference:
    """The frames of a stretch of a source.

    Attributes:
        rgb: file of lossless 8-bit RGB, which vidtwin encodes and all metrics compare with.
        yuv: file of the same as raw 4:2:0 (BT.709, limited range), which conventional codecs encode; an odd side is
            padded to an even one by repeating the last row or column.
        width: width of ``rgb`` in pixels.
        height: height of ``rgb`` in pixels.
        frames: number of frames.
        fps: frame rate, in frames a second.
        coded_width: width of ``yuv`` in pixels.
        coded_height: height of ``yuv`` in pixels.
        digest: SHA-256 over the frames, their size and rate, which does not depend on the file.
        warnings: warnings while reading the source.
    """

    rgb: Path
    yuv: Path
    width: int
    height: int
    frames: int
    fps: Fraction
    coded_width: int
    coded_height: int
    digest: str
    warnings: tuple[str, ...]

    @property
    def pixels(self) -> int:
        """Number of pixels of all frames together."""
        return self.width * self.height * self.frames

    def read(self) -> Iterator[Frames]:
        """Read the frames, uint8 ``[n, height, width, 3]``, a few at a time."""
        with closing(FrameReader(self._info)) as reader:
            yield from pieces(reader)

    @cached_property
    def _info(self) -> MediaInfo:
        return probe(self.rgb)


def prepare(source: str | Path, folder: Path, *, frames: int | None, seconds: float, start: float = 0.0) -> Reference:
    """Write a stretch of a source into ``folder``, in both forms.

    Args:
        source: the video.
        folder: where both files are written.
        frames: most frames; None takes ``seconds``.
        seconds: most seconds.
        start: seconds to skip.

    Raises:
        VidtwinError: the source cannot be read or ends before the stretch begins, or the disk is full.
    """
    info = probe(source, start=start)
    limit = frames or max(1, round(info.fps * Fraction(seconds)))
    rgb, yuv = folder / "reference.mkv", folder / "reference.y4m"
    digest = hashlib.sha256(f"{info.width}x{info.height} {info.fps} ".encode())
    count, warnings = _write_rgb(info, rgb, limit, lambda frames: digest.update(frames.data))
    width, height = info.width + info.width % 2, info.height + info.height % 2
    _write_yuv(rgb, yuv, width, height)
    return Reference(*(rgb, yuv, info.width, info.height, count, info.fps, width, height, digest.hexdigest(), warnings))


def _write_rgb(
    info: MediaInfo, target: Path, limit: int, seen: Callable[[Frames], None]
) -> tuple[int, tuple[str, ...]]:
    with FrameReader(info, max_frames=limit) as reader:
        count = write_lossless(pieces(reader), target, width=info.width, height=info.height, fps=info.fps, seen=seen)
        return count, tuple(reader.warnings)


def _write_yuv(rgb: Path, target: Path, width: int, height: int) -> None:
    # the padding repeats the edge, because black would take bytes
    info = probe(rgb)
    right, bottom = width - info.width, height - info.height
    even = f"pad=w={width}:h={height},fillborders=right={right}:bottom={bottom}:mode=smear," if right or bottom else ""
    chain = even + to_yuv("yuv420p", Fraction(1))
    with Child(["-y", *info.source.arguments, "-vf", chain, "-fps_mode", "passthrough", file_url(target)]) as child:
        while child.stdout.read(1 << 16):
            pass
        if child.wait():
            raise _failure(target, child.reason())


def _failure(target: Path, reason: str) -> VidtwinError:
    if reason == "No space left on device":
        return VidtwinError(f"{target.parent}: the disk is full", "free some space, or compare fewer --seconds")
    return VidtwinError(f"the frames cannot be kept for comparing ({reason})")


def frame_indices(frames: int, count: int) -> list[int]:
    """Choose ``count`` or fewer evenly spread frames by index, none at the very ends."""
    return sorted({int(position) for position in (np.arange(count) + 0.5) / count * frames})
