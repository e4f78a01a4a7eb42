"""Frames kept without loss: what a measurement compares with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.media.formats import OutputOptions
from vidtwin_codec.media.reader import FrameReader
from vidtwin_codec.media.writer import FrameWriter

_CHUNK = 16
"""Frames in memory at once."""


def copy_lossless(
    reader: FrameReader, target: Path, seen: Callable[[NDArray[np.uint8]], object] = lambda _: None
) -> int:
    """Write every frame that ``reader`` still gives, as lossless 8-bit RGB (FFV1 in Matroska).

    Args:
        reader: its size and rate are the target's.
        target: a ``.mkv``; replaced if it exists.
        seen: is shown the frames as they pass, uint8 ``[n, height, width, 3]``.

    Returns:
        How many frames were written.

    Raises:
        VidtwinError: no frame can be read, or the disk is full.
    """
    options = OutputOptions("ffv1", lossless=True)
    with FrameWriter(target, reader.width, reader.height, reader.fps, options=options) as writer:
        while len(frames := reader.read(_CHUNK)):
            writer.write(frames)
            seen(frames)
        return writer.frames
