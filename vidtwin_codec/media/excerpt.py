"""Lossless copies of frames, which measurements compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.media.formats import OutputOptions
from vidtwin_codec.media.reader import FrameReader
from vidtwin_codec.media.writer import FrameWriter

_CHUNK = 16
"""Number of frames in memory at once."""


def pieces(reader: FrameReader) -> Iterator[NDArray[np.uint8]]:
    """Yield all remaining frames of ``reader``, uint8 ``[n, height, width, 3]``, a few at a time.

    Raises:
        VidtwinError: no frame can be read.
    """
    while len(frames := reader.read(_CHUNK)):
        yield frames


def write_lossless(
    frames: Iterable[NDArray[np.uint8]],
    target: Path,
    *,
    width: int,
    height: int,
    fps: Fraction,
    seen: Callable[[NDArray[np.uint8]], object] = lambda _: None,
) -> int:
    """Write frames as lossless 8-bit RGB (FFV1 in Matroska).

    Args:
        frames: pieces of any length.
        target: a ``.mkv`` file, which is replaced if it exists.
        width: width of a frame in pixels.
        height: height of a frame in pixels.
        fps: exact frame rate.
        seen: is called with each piece.

    Returns:
        The number of frames that were written.

    Raises:
        VidtwinError: the disk is full.
    """
    options = OutputOptions("ffv1", lossless=True)
    with FrameWriter(target, width, height, fps, options=options) as writer:
        for piece in frames:
            writer.write(piece)
            seen(piece)
        return writer.frames
