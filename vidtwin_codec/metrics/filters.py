"""VMAF and XPSNR, computed by filters of ffmpeg, which takes the frames through a pipe.

Both use luma alone, so ffmpeg gets luma, made exactly as for :func:`~vidtwin_codec.metrics.luma.psnr_y`. The decoded
frame lies above its reference in one tall picture, since only some systems have two pipes at once, and one pipe cannot
run ahead of the other. The filters cut the picture apart again.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.closing import Closing
from vidtwin_codec.media.ffmpeg import Child, has_filters, thread_count
from vidtwin_codec.metrics.frames import Frames, check_pair
from vidtwin_codec.metrics.luma import DEFAULT_MATRIX, MAX_DECIBELS, luma

FILTERS = {"vmaf": "libvmaf", "xpsnr": "xpsnr"}
"""ffmpeg's filter by metric."""
VMAF_MODEL = "vmaf_v0.6.1"
"""libvmaf's own default: television at three times the picture's height."""
FILTERS_LEAST_SIDE = 32
"""VMAF uses four scales; below this the coarsest one is empty, and XPSNR has not a single block."""
_SAID = {"vmaf": re.compile(r"VMAF score: (\S+)"), "xpsnr": re.compile(r"XPSNR.*\by: (\S+)")}
_NEUTRAL = 128


def missing_filter(metric: str) -> str | None:
    """Return why this ffmpeg cannot compute ``vmaf`` or ``xpsnr``, or None if it can."""
    name = FILTERS[metric]
    return None if has_filters(name) else f"this ffmpeg was built without the filter {name}"


class FilterMeter(Closing):
    """Computes mean VMAF and XPSNR over frames that come in pieces; a context manager.

    Args:
        metrics: ``vmaf``, ``xpsnr`` or both; :func:`missing_filter` returns None for each.
        width: width of a frame in pixels, at least 32.
        height: height of a frame in pixels, at least 32.
        fps: frames a second, by which XPSNR weighs motion.
        matrix: the matrix that makes luma of RGB, one of :data:`~vidtwin_codec.metrics.luma.MATRICES`.

    Raises:
        VidtwinError: ffmpeg cannot be started.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        width: int,
        height: int,
        *,
        fps: Fraction = Fraction(25),
        matrix: str = DEFAULT_MATRIX,
    ) -> None:
        self.metrics = tuple(metrics)
        self._matrix = matrix
        self._shape = (height, width)
        self._chroma = np.full((2, 2 * height, width), _NEUTRAL, np.uint8).data
        self._child = Child(
            [
                *("-f", "rawvideo", "-pixel_format", "yuv444p", "-video_size", f"{width}x{2 * height}"),
                *("-framerate", f"{fps.numerator}/{fps.denominator}", "-i", "pipe:0"),
                *("-filter_complex", _graph(self.metrics, width, height)),
                *(part for name in self.metrics for part in ("-map", f"[{name}]")),
                *("-fps_mode", "passthrough", "-f", "null", "-"),
            ],
            feed=True,
            level="info",
        )

    def add(self, reference: Frames, decoded: Frames) -> None:
        """Add some frames, ``[n, H, W, 3]`` each; block while ffmpeg is busy.

        Raises:
            ValueError: the shapes differ, or are not those announced.
        """
        check_pair(reference, decoded)
        self.add_luma(luma(reference, self._matrix), luma(decoded, self._matrix))

    def add_luma(self, reference: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> None:
        """Add some frames as luma, ``[n, H, W]`` each, which :func:`~vidtwin_codec.metrics.luma.luma` computes.

        Raises:
            ValueError: the shapes are not those announced.
        """
        if not reference.shape[1:] == decoded.shape[1:] == self._shape:
            raise ValueError(f"frames of shape {reference.shape} do not have the size announced, {self._shape}")
        # an ffmpeg that gave up says why when it is asked for the result
        with contextlib.suppress(BrokenPipeError):
            for one, other in zip(decoded, reference, strict=True):
                self._child.stdin.write(one.data)
                self._child.stdin.write(other.data)
                self._child.stdin.write(self._chroma)

    def finish(self) -> dict[str, float | str]:
        """Return the mean over all frames by metric (XPSNR: luma, in dB, at most 100), or why there is none."""
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        failed = self._child.wait() != 0
        said = "\n".join(message.text for message in self._child.messages)
        found: dict[str, float | str] = {}
        for name in self.metrics:
            scores = _SAID[name].findall(said)
            value = float(scores[-1]) if scores else math.nan
            if failed or math.isnan(value):
                found[name] = f"ffmpeg's filter {FILTERS[name]} gave no result ({self._child.reason()})"
            else:
                found[name] = min(value, MAX_DECIBELS)  # VMAF ends at 100 anyway
        self.close()
        return found

    def close(self) -> None:
        """End ffmpeg; harmless to repeat."""
        self._child.kill()


def _graph(metrics: Sequence[str], width: int, height: int) -> str:
    """Return the filter graph from the tall picture to one labelled output for each metric."""
    options = {"vmaf": f"=model=version={VMAF_MODEL}:n_threads={thread_count()}", "xpsnr": ""}
    count = len(metrics)
    uppers, lowers = ("".join(f"[{side}{number}]" for number in range(count)) for side in ("d", "r"))
    parts = [
        "[0:v]setparams=range=limited,split=2[above][below]",
        f"[above]crop={width}:{height}:0:0,split={count}{uppers}",
        f"[below]crop={width}:{height}:0:{height},split={count}{lowers}",
    ]
    parts += [f"[d{n}][r{n}]{FILTERS[name]}{options[name]}[{name}]" for n, name in enumerate(metrics)]
    return ";".join(parts)
