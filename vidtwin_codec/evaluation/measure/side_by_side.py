"""A video for looking at: source, decoded frames and their amplified difference, side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.files import atomic_path
from vidtwin_codec.media import FrameWriter
from vidtwin_codec.metrics import Frames
from vidtwin_codec.metrics.frames import as_levels

DIFFERENCE_GAIN = 4
"""Factor on differences: an error of 8 levels is hard to see, but 32 levels beside grey are not. Errors of 32 levels
and more are clipped."""
_GREY = 128


def panels(reference: Frames, decoded: Frames) -> NDArray[np.uint8]:
    """Put frames ``[n, H, W, 3]`` side by side to ``[n, H, 3 · W, 3]``: source, decoded, 4 · difference + grey."""
    one, other = as_levels(reference), as_levels(decoded)
    shown = np.clip((other.astype(np.int16) - one) * DIFFERENCE_GAIN + _GREY, 0, 255).astype(np.uint8)
    return np.concatenate([one, other, shown], axis=2)


class SideBySide:
    """A writer of pairs of frames, made by :func:`side_by_side`."""

    def __init__(self, writer: FrameWriter | None) -> None:
        self._writer = writer

    def add(self, reference: Frames, decoded: Frames) -> None:
        """Append some frames, ``[n, H, W, 3]`` each.

        Raises:
            VidtwinError: the video cannot be written.
        """
        if self._writer is not None:
            self._writer.write(panels(reference, decoded))


@contextmanager
def side_by_side(
    output: str | os.PathLike[str] | None,
    width: int,
    height: int,
    fps: Fraction,
    sample_aspect: Fraction = Fraction(1),
    *,
    force: bool = True,
) -> Iterator[SideBySide]:
    """Open a side-by-side video, which appears at ``output`` once it is complete; without one, frames are discarded.

    Args:
        output: the video to write; None for none.
        width: width of one panel in pixels.
        height: height of one panel in pixels.
        fps: frame rate of the video, in frames a second.
        sample_aspect: aspect ratio of its pixels.
        force: whether to replace ``output`` if it exists.

    Raises:
        VidtwinError: no video has this extension, or it cannot be written.
    """
    if output is None:
        yield SideBySide(None)
        return
    with (
        atomic_path(output, force=force) as temporary,
        FrameWriter(temporary, 3 * width, height, fps, sample_aspect=sample_aspect) as writer,
    ):
        yield SideBySide(writer)
