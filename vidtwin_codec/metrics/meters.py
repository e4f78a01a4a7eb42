"""Several metrics over one stream of frames, each a number or a reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.closing import Closing
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.metrics import lpips
from vidtwin_codec.metrics.filters import FILTERS, FILTERS_LEAST_SIDE, FilterMeter, missing_filter
from vidtwin_codec.metrics.frames import Frames, check_pair
from vidtwin_codec.metrics.luma import DEFAULT_MATRIX, luma, psnr_of_planes
from vidtwin_codec.metrics.psnr import psnr
from vidtwin_codec.metrics.ssim import MS_SSIM_LEAST_SIDE, SSIM_LEAST_SIDE, ms_ssim, ssim, ssim_and_ms_ssim

METRICS = ("psnr", "psnr_y", "ssim", "ms_ssim", "vmaf", "xpsnr", "lpips")
_LEAST_SIDE = {
    "ssim": SSIM_LEAST_SIDE,
    "ms_ssim": MS_SSIM_LEAST_SIDE,
    "lpips": lpips.LPIPS_LEAST_SIDE,
    **dict.fromkeys(FILTERS, FILTERS_LEAST_SIDE),
}
Measure = Callable[[Frames, Frames], NDArray[np.float64] | tuple[NDArray[np.float64], ...]]


@dataclass(frozen=True)
class Scores:
    """The results of a measurement.

    Attributes:
        frames: number of pairs that were compared.
        means: mean over frames by metric; None where it cannot be computed.
        reasons: the reason by metric, for each that is None.
        per_frame: values ``[frames]`` by metric, for those that are computed frame by frame (VMAF and XPSNR are not).
    """

    frames: int
    means: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    per_frame: dict[str, NDArray[np.float64]] = field(default_factory=dict)


class MetricSet(Closing):
    """Takes frames in pieces and keeps one number per frame and metric; a context manager.

    >>> with MetricSet(("psnr", "vmaf"), width, height) as metrics:
    ...     metrics.add(reference, decoded)
    ...     scores = metrics.finish()

    Args:
        names: names of metrics, from :data:`METRICS`.
        width: width of a frame in pixels.
        height: height of a frame in pixels.
        fps: frames a second, for XPSNR.
        matrix: the matrix that makes luma of RGB, for ``psnr_y``, ``vmaf`` and ``xpsnr``: one of
            :data:`~vidtwin_codec.metrics.luma.MATRICES`.

    Raises:
        ValueError: a name is unknown.
        VidtwinError: ffmpeg cannot be started.
    """

    def __init__(
        self,
        names: Iterable[str],
        width: int,
        height: int,
        *,
        fps: Fraction = Fraction(25),
        matrix: str = DEFAULT_MATRIX,
    ) -> None:
        self.names = tuple(dict.fromkeys(names))
        unknown = set(self.names) - set(METRICS)
        if unknown:
            raise ValueError(f"no metric is called {', '.join(sorted(unknown))}; there are {', '.join(METRICS)}")
        self.frames = 0
        self._shape = (height, width, 3)
        self._reasons = {name: reason for name in self.names if (reason := why_not(name, width, height))}
        self._measures = self._frame_by_frame()
        self._values: dict[str, list[NDArray[np.float64]]] = {name: [] for names in self._measures for name in names}
        if "psnr_y" in self.names:
            self._values["psnr_y"] = []
        filters = [name for name in self.names if name in FILTERS and name not in self._reasons]
        self._filters = FilterMeter(filters, width, height, fps=fps, matrix=matrix) if filters else None
        # made once for all that need it
        self._luma, self._matrix = bool(filters) or "psnr_y" in self.names, matrix

    def add(self, reference: Frames, decoded: Frames) -> None:
        """Add some frames, ``[n, H, W, 3]`` each: uint8, or float32 in [0, 1] (rounded for metrics that need 8 bits).

        Raises:
            ValueError: the shapes differ, or are not those announced.
        """
        check_pair(reference, decoded)
        if reference.shape[1:] != self._shape:
            raise ValueError(f"frames of shape {reference.shape} do not have the size announced, {self._shape}")
        if self._luma:
            planes = luma(reference, self._matrix), luma(decoded, self._matrix)
            if self._filters is not None:
                self._filters.add_luma(*planes)  # first: ffmpeg works on them at the same time
            if "psnr_y" in self._values:
                self._values["psnr_y"].append(psnr_of_planes(*planes))
        for names, measure in self._measures.items():
            found = measure(reference, decoded)
            for name, values in zip(names, found if isinstance(found, tuple) else (found,), strict=True):
                self._values[name].append(values)
        self.frames += len(reference)

    def finish(self) -> Scores:
        """Return the means over all frames added. Nothing can be added afterwards.

        Raises:
            ValueError: nothing was added.
        """
        if not self.frames:
            raise ValueError("no frames were compared")
        per_frame = {name: np.concatenate(parts) for name, parts in self._values.items()}
        means: dict[str, float | None] = dict.fromkeys(self.names)
        means |= {name: float(values.mean()) for name, values in per_frame.items()}
        reasons = dict(self._reasons)
        for name, result in (self._filters.finish() if self._filters else {}).items():
            if isinstance(result, str):
                reasons[name] = result
            else:
                means[name] = result
        return Scores(self.frames, means, reasons, per_frame)

    def close(self) -> None:
        """Stop without a result; harmless after :meth:`finish`."""
        if self._filters is not None:
            self._filters.close()

    def _frame_by_frame(self) -> dict[tuple[str, ...], Measure]:
        """Return the functions to call on each piece, by the metrics that they give; those of luma are apart."""
        wanted = [name for name in self.names if name not in self._reasons]
        measures: dict[tuple[str, ...], Measure] = {
            ("psnr",): psnr,
            ("ssim", "ms_ssim"): ssim_and_ms_ssim,
        }
        if "ssim" not in wanted or "ms_ssim" not in wanted:
            del measures["ssim", "ms_ssim"]
            measures |= {("ssim",): ssim, ("ms_ssim",): ms_ssim}
        if "lpips" in wanted:
            try:
                measures["lpips",] = lpips.Lpips()
            except VidtwinError as error:
                self._reasons["lpips"] = error.message
        return {names: measure for names, measure in measures.items() if set(names) <= set(wanted)}


def why_not(metric: str, width: int, height: int) -> str | None:
    """Return why ``metric`` cannot be computed here on frames of this size, or None if it can."""
    least = _LEAST_SIDE.get(metric, 1)
    if min(width, height) < least:
        return f"frames of {width} x {height} are too small: no side may be shorter than {least} pixels"
    if metric in FILTERS:
        return missing_filter(metric)
    return lpips.missing_package() if metric == "lpips" else None
