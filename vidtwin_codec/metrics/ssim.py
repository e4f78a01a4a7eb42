"""Structural similarity, at one scale (Wang et al. 2004) and at five (Wang et al. 2003).

Windows are Gaussian, 11 pixels wide with a sigma of 1.5, and lie wholly inside the frame; red, green and blue are
measured apart and averaged. No library is used because this is most of the cost of measuring: both
metrics come from one pass that is several times faster than the libraries. The tests compare it with scikit-image and
pytorch-msssim.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.metrics.frames import Frames, as_unit, check_pair

Plane = NDArray[np.float32]
WINDOW = 11
SIGMA = 1.5
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first."""
SSIM_LEAST_SIDE = WINDOW
MS_SSIM_LEAST_SIDE = (WINDOW - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
"""Room for the window after four halvings; the limit that implementations agree on."""
_C1, _C2 = 0.01**2, 0.03**2
_TAPS = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
_TAPS = (_TAPS / _TAPS.sum()).astype(np.float32)
_PIXELS_AT_ONCE = 1 << 18
"""So many stay in a processor's cache."""


def ssim(reference: Frames, decoded: Frames) -> NDArray[np.float64]:
    """Compute the SSIM of each frame, at most 1.

    Args:
        reference: uint8 ``[n, H, W, 3]`` RGB (or float32 in [0, 1]).
        decoded: the same shape.

    Returns:
        ``[n]``.

    Raises:
        ValueError: the shapes differ, or a side is shorter than 11 pixels.
    """
    return _measure(reference, decoded, 1)[0]


def ms_ssim(reference: Frames, decoded: Frames) -> NDArray[np.float64]:
    """Compute the MS-SSIM of each frame, 0 to 1.

    An odd side is halved with its last pixel repeated, as in the authors' code.

    Args:
        reference: uint8 ``[n, H, W, 3]`` RGB (or float32 in [0, 1]).
        decoded: the same shape.

    Returns:
        ``[n]``.

    Raises:
        ValueError: the shapes differ, or a side is shorter than 161 pixels.
    """
    return _measure(reference, decoded, len(SCALE_WEIGHTS))[1]


def ssim_and_ms_ssim(reference: Frames, decoded: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute SSIM and MS-SSIM in one pass; arguments and errors are those of :func:`ms_ssim`."""
    return _measure(reference, decoded, len(SCALE_WEIGHTS))


def _measure(reference: Frames, decoded: Frames, scales: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    check_pair(reference, decoded)
    height, width = reference.shape[1:3]
    least = SSIM_LEAST_SIDE if scales == 1 else MS_SSIM_LEAST_SIDE
    if min(height, width) < least:
        raise ValueError(f"frames of {width} x {height} are too small: no side may be shorter than {least} pixels")
    found = np.empty((len(reference), 3, 2))
    for frame, (one, other) in enumerate(zip(reference, decoded, strict=True)):
        a, b = (np.ascontiguousarray(as_unit(part).transpose(2, 0, 1)) for part in (one, other))
        for channel in range(3):
            found[frame, channel] = _plane(a[channel], b[channel], scales)
    single, multiple = found.mean(axis=1).T
    return single, multiple


def _plane(a: Plane, b: Plane, scales: int) -> tuple[float, float]:
    """Return the SSIM at the finest scale, and the weighted product over ``scales``."""
    # around 0, where float32 is finest: the variances are small differences of squares
    center = np.float32(a.mean(dtype=np.float64))
    a, b = a - center, b - center
    single, product = 0.0, 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS[:scales]):
        if scale:
            a, b = _halved(a), _halved(b)
        whole, structure = _similarity(a, b, center, with_whole=scale in (0, scales - 1))
        single = single if scale else whole
        # a negative similarity has no such power
        product *= max(0.0, whole if scale == scales - 1 else structure) ** weight
    return single, product


def _similarity(a: Plane, b: Plane, center: np.float32, *, with_whole: bool) -> tuple[float, float]:
    """Return mean SSIM and the mean of its part without luminance, of two planes less ``center``."""
    mean_a, mean_b, squares, products = _blurred(np.stack([a, b, a * a + b * b, a * b]))
    cross, power = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    structure = (2 * (products - cross) + np.float32(_C2)) / (squares - power + np.float32(_C2))
    whole = 0.0
    if with_whole:
        # luminance compares the means themselves
        mean_a, mean_b = mean_a + center, mean_b + center
        power = mean_a * mean_a + mean_b * mean_b
        luminance = (2 * mean_a * mean_b + np.float32(_C1)) / (power + np.float32(_C1))
        whole = float(np.mean(luminance * structure, dtype=np.float64))
    return whole, float(np.mean(structure, dtype=np.float64))


def _blurred(planes: Plane) -> Plane:
    """Blur ``[k, H, W]`` to ``[k, H - 10, W - 10]``, only with windows that lie inside."""
    count, height, width = planes.shape
    blurred = np.empty((count, height - WINDOW + 1, width - WINDOW + 1), np.float32)
    rows = max(1, _PIXELS_AT_ONCE // width)
    for plane, target in zip(planes, blurred, strict=True):
        for start in range(0, len(target), rows):
            strip = target[start : start + rows]
            strip[:] = _weighted(_weighted(plane[start : start + len(strip) + WINDOW - 1]).T).T
    return blurred


def _weighted(plane: Plane) -> Plane:
    """Return weighted sums of 11 rows at a time, ``[n, m]`` to ``[n - 10, m]``.

    These are plain additions on one thread: as convolutions or matrix products, windows so small make threads wait for
    each other most of the time, and beside the network there are enough threads already.
    """
    size, half = len(plane) - WINDOW + 1, WINDOW // 2
    total: Plane = plane[half : half + size] * _TAPS[half]
    pair = np.empty_like(total)
    for row in range(half):
        last = WINDOW - 1 - row
        np.add(plane[row : row + size], plane[last : last + size], out=pair)
        pair *= _TAPS[row]
        total += pair
    return total


def _halved(plane: Plane) -> Plane:
    """Return means of 2 x 2 pixels; an odd side is padded with its last row or column."""
    height, width = plane.shape
    if height % 2 or width % 2:
        plane = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    total = plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]
    mean: Plane = total * np.float32(0.25)
    return mean
