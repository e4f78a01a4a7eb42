"""The path of the camera over the frames of a clip, in whole pixels.

Phase correlation of small pictures proposes shifts; differences of full-size pixels choose among them and refine them
to the pixel. In doubt a frame stands still: a wrong shift costs more than a missed one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Shift = tuple[int, int]

_SMALL = 160
"""Longer side of the pictures that are correlated, roughly, in pixels."""
_SAMPLES = 6000
"""Number of pixels of a frame whose differences are taken, roughly."""
_REACH = 0.3
"""No shift is longer than this part of a side."""
_LEAST_SIDE = 16
_NO_WORSE = 1.03
"""A shift has to lower the difference by this factor to be preferred to standing still, or to the neighbour's shift."""
_OUTLIER = 6
"""Pixels by which a frame may leave the line between its neighbours without a check."""
_ALIKE = 0.5
"""Consecutive frames of one scene correlate at least this much once they are aligned."""
_FLAT = 1.0
"""Standard deviation, in levels of a small picture, below which there is nothing to see."""


@dataclass(frozen=True, eq=False)
class Path:
    """The shifts of a clip's frames against its middle frame, the one of index ``T // 2``.

    Attributes:
        shifts: pixels down and to the right, int16 ``[T, 2]``: the content at ``(y, x)`` in the middle frame is at
            ``(y + shifts[t, 0], x + shifts[t, 1])`` in frame t.
    """

    shifts: NDArray[np.int16]

    @property
    def moves(self) -> bool:
        """Whether any frame is shifted."""
        return bool(self.shifts.any())


def estimate_path(frames: NDArray[np.uint8]) -> Path:
    """Find the shifts of a clip ``[T, H, W, 3]``, which are zero across a scene cut and in a picture without detail.

    Raises:
        ValueError: the frames are not uint8.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[0] == 0 or frames.shape[3] != 3:
        raise ValueError(f"expected uint8 frames [T, H, W, 3], got {frames.dtype} {frames.shape}")
    still = Path(np.zeros((len(frames), 2), np.int16))
    if len(frames) == 1 or min(frames.shape[1:3]) < _LEAST_SIDE:
        return still
    search = _Search(frames)
    if search.flat:
        return still
    shifts = search.path()
    return Path(shifts.astype(np.int16)) if search.holds(shifts) else still


def displacement(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Shift | None:
    """Return the shift between two frames ``[H, W, 3]``, from the first to the second; None if their scenes differ.

    Raises:
        ValueError: the frames are not uint8 frames of one size.
    """
    if before.shape != after.shape or before.dtype != np.uint8 or after.dtype != np.uint8:
        raise ValueError(f"expected two uint8 frames of one size, got {before.shape} and {after.shape}")
    if min(before.shape[:2]) < _LEAST_SIDE:
        return None
    search = _Search(np.stack([after, before]))  # the second of two is the middle one
    if search.flat:
        return None
    shift = search.path()[0]
    return (int(shift[0]), int(shift[1])) if search.alike(1, 0, shift) else None


class _Search:
    """The search for shifts on green pixels of a clip: small pictures and a grid of full-size pixels."""

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        self.full = np.ascontiguousarray(frames[..., 1])
        self.count, self.height, self.width = self.full.shape
        self.middle = self.count // 2
        self.factor = 1
        while self.factor < 8 and max(self.height, self.width) >= 1.5 * self.factor * _SMALL:
            self.factor *= 2
        self.small = _reduced(self.full, self.factor)
        self.flat = float(self.small[self.middle].std()) < _FLAT
        self.pitch = max(1, round((self.height * self.width / _SAMPLES) ** 0.5))
        self.grid = self.full[self.middle, :: self.pitch, :: self.pitch].astype(np.int16)
        self.known: dict[tuple[int, Shift], float] = {}
        self.limit = int(self.height * _REACH), int(self.width * _REACH)

    def path(self) -> NDArray[np.int64]:
        """Return the best shift of each frame, outwards from the middle, ``[T, 2]``."""
        direct, steps = self._peaks()
        shifts = np.zeros((self.count, 2), np.int64)
        for t in range(self.middle + 1, self.count):
            shifts[t] = self._best(t, direct[t], shifts[t - 1], steps[t])
        for t in range(self.middle - 1, -1, -1):
            shifts[t] = self._best(t, direct[t], shifts[t + 1], -steps[t + 1])
        self._repair(shifts)
        return shifts

    def holds(self, shifts: NDArray[np.int64]) -> bool:
        """Return whether the frames show one scene and match better along the shifts than standing still."""
        moved = sum(self.difference(t, _pair(shift)) for t, shift in enumerate(shifts))
        stood = sum(self.difference(t, (0, 0)) for t in range(self.count))
        if moved * _NO_WORSE > stood:
            return False
        broken: list[bool] = [not self.alike(t, t + 1, shifts[t + 1] - shifts[t]) for t in range(self.count - 1)]
        for t, cut in enumerate(broken):
            # one frame that fell out of line (a flash, a fault) is no cut: those around it go on
            around = [(a, a + 2) for a in (t - 1, t) if a >= 0 and a + 2 < self.count]
            if cut and not any(self.alike(a, b, shifts[b] - shifts[a]) for a, b in around):
                return False
        return bool(broken.count(True) <= self.count // 4)

    def alike(self, one: int, other: int, shift: NDArray[np.int64]) -> bool:
        """Return whether two small pictures correlate if the second is shifted back by ``shift`` full-size pixels."""
        dy, dx = (int(v) for v in np.rint(np.asarray(shift) / self.factor))
        a, b = _overlap(self.small[one], self.small[other], dy, dx)
        if a.size == 0:
            return False
        a, b = a - a.mean(), b - b.mean()
        scale = float(np.sqrt(np.vdot(a, a) * np.vdot(b, b)))
        return scale > 0 and float(np.vdot(a, b)) >= _ALIKE * scale

    def difference(self, t: int, shift: Shift) -> float:
        """Return the mean absolute difference of frame t, shifted back, to the middle one, where both overlap."""
        if (t, shift) not in self.known:
            pitch, (rows, columns) = self.pitch, self.grid.shape
            r0, c0 = max(0, -(shift[0] // pitch)), max(0, -(shift[1] // pitch))
            r1 = min(rows, (self.height - 1 - shift[0]) // pitch + 1)
            c1 = min(columns, (self.width - 1 - shift[1]) // pitch + 1)
            y, x = r0 * pitch + shift[0], c0 * pitch + shift[1]
            there = self.full[t, y::pitch, x::pitch][: r1 - r0, : c1 - c0]
            gap = np.subtract(there, self.grid[r0:r1, c0:c1], dtype=np.int16)
            self.known[t, shift] = float(np.abs(gap, out=gap).sum(dtype=np.int64)) / max(1, gap.size)
        return self.known[t, shift]

    def _peaks(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return full-size shifts: two for each frame, ``[T, 2, 2]``, and one from the frame before, ``[T, 2]``."""
        rows, columns = self.small.shape[1:]
        window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1]).astype(np.float32)
        spectra = torch.fft.rfft2(torch.from_numpy((self.small - self.small.mean((1, 2), keepdims=True)) * window))
        spectra = spectra / (spectra.abs() + 1e-6)
        products = torch.cat([spectra * spectra[self.middle].conj(), spectra[1:] * spectra[:-1].conj()])
        reach = [max(1, min(size // 2 - 1, round(size * _REACH))) for size in (rows, columns)]
        surface = torch.fft.fftshift(torch.fft.irfft2(products, s=(rows, columns)), dim=(1, 2)).numpy()
        y0, x0 = rows // 2 - reach[0], columns // 2 - reach[1]
        surface = np.ascontiguousarray(surface[:, y0 : y0 + 2 * reach[0] + 1, x0 : x0 + 2 * reach[1] + 1])
        first = self._peak(surface, reach)
        second = self._peak(surface, reach)
        steps = np.concatenate([np.zeros((1, 2), np.int64), first[self.count :]])
        return np.stack([first, second], axis=1)[: self.count], steps

    def _peak(self, surface: NDArray[np.float32], reach: list[int]) -> NDArray[np.int64]:
        """Return full-size shifts of the highest points, by a parabola between small pixels, and clear these points."""
        columns = surface.shape[2]
        found = np.zeros((len(surface), 2), np.int64)
        for n, flat in enumerate(surface.reshape(len(surface), -1).argmax(1)):
            y, x = divmod(int(flat), columns)
            place = surface[n, :, x], surface[n, y, :]
            exact = [at + _between(line, at) - r for line, at, r in zip(place, (y, x), reach, strict=True)]
            found[n] = np.rint(np.array(exact) * self.factor)
            surface[n, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = -1
        return found

    def _best(self, t: int, direct: NDArray[np.int64], near: NDArray[np.int64], step: NDArray[np.int64]) -> Shift:
        """Return the shift of frame t: from the best of all proposals downhill, but no further than pays."""
        neighbour = _pair(near)
        proposals = {self._within(p) for p in (_pair(direct[0]), _pair(direct[1]), _pair(near + step))}
        start = min(sorted(proposals | {neighbour, (0, 0)}), key=lambda shift: self._coarse(t, shift))
        best = self._downhill(t, start)
        for plain in ((0, 0), neighbour):
            if self.difference(t, plain) <= _NO_WORSE * self.difference(t, best):
                return plain
        return best

    def _coarse(self, t: int, shift: Shift) -> float:
        """Return the difference of small pixels, which are precise enough to choose."""
        dy, dx = round(shift[0] / self.factor), round(shift[1] / self.factor)
        a, b = _overlap(self.small[self.middle], self.small[t], dy, dx)
        return float(np.abs(a - b).mean()) if a.size else float("inf")

    def _downhill(self, t: int, start: Shift) -> Shift:
        best = start
        stride = max(1, self.factor // 2)
        while stride:
            around = [(best[0] + a * stride, best[1] + b * stride) for a in (-1, 0, 1) for b in (-1, 0, 1)]
            better = min((self._within(s) for s in around), key=lambda shift: self.difference(t, shift))
            if self.difference(t, better) < self.difference(t, best):
                best = better
            else:
                stride //= 2
        return best

    def _within(self, shift: Shift) -> Shift:
        (y, x), (dy, dx) = self.limit, shift
        return max(-y, min(y, dy)), max(-x, min(x, dx))

    def _repair(self, shifts: NDArray[np.int64]) -> None:
        """Put frames that leave the line between their neighbours back on it, unless they clearly belong elsewhere."""
        for t in range(1, self.count - 1):
            line = (shifts[t - 1] + shifts[t + 1]) // 2
            if t != self.middle and np.abs(shifts[t] - line).max() > _OUTLIER:
                here, there = self.difference(t, _pair(shifts[t])), self.difference(t, _pair(line))
                if there * 0.8 <= here:
                    shifts[t] = line


def _reduced(full: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """Return means of squares of ``factor`` pixels, ``[T, h, w]``."""
    height, width = (size // factor * factor for size in full.shape[1:])
    rows = full[:, 0:height:factor, :width].astype(np.uint16)
    for i in range(1, factor):
        rows += full[:, i:height:factor, :width]
    small = rows[:, :, ::factor].copy()  # 64 pixels of 255 at most: far from full
    for i in range(1, factor):
        small += rows[:, :, i::factor]
    return small.astype(np.float32) / np.float32(factor**2)


def _overlap(
    one: NDArray[np.float32], other: NDArray[np.float32], dy: int, dx: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the parts of two pictures that overlap if the second is shifted by ``(dy, dx)``."""
    rows, columns = one.shape
    a = one[max(0, -dy) : rows - max(0, dy), max(0, -dx) : columns - max(0, dx)]
    b = other[max(0, dy) : rows - max(0, -dy), max(0, dx) : columns - max(0, -dx)]
    return a, b


def _between(line: NDArray[np.float32], at: int) -> float:
    """Return the offset of the vertex of a parabola through a peak and its two neighbours, -0.5 to 0.5."""
    if not 0 < at < len(line) - 1:
        return 0.0
    left, top, right = (float(line[at + k]) for k in (-1, 0, 1))
    bend = left - 2 * top + right
    return max(-0.5, min(0.5, 0.5 * (left - right) / bend)) if bend < 0 else 0.0


def _pair(shift: NDArray[np.int64]) -> Shift:
    return int(shift[0]), int(shift[1])
