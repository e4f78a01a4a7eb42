"""Latents to integers and back: uniform quantisation with one step per channel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.layout import LatentArrays
from vidtwin_codec.coding.steps import Steps
from vidtwin_codec.errors import VidtwinError

# Integers up to 2**24 are exact in float32, so symbol * step is one correctly rounded product on every platform.
MAX_SYMBOL = (1 << 23) - 1


def quantize(latents: LatentArrays, steps: Steps) -> LatentArrays:
    """Return symbols ``round(latent / step)``, ties to even, int32, clipped to +-`MAX_SYMBOL`.

    Args:
        latents: floats of any precision in the shapes of `LatentArrays`; the computation is in float32.
        steps: one step per channel.

    Raises:
        VidtwinError: a latent is NaN or infinite (broken weights, or a precision that overflows).
    """
    return latents.map(_divide, broadcast_steps(steps))


def dequantize(symbols: LatentArrays, steps: Steps) -> LatentArrays:
    """Return latents ``symbol * step`` in float32, the same to the bit on every machine."""
    return symbols.map(lambda array, step: np.multiply(array, step, dtype=np.float32), broadcast_steps(steps))


def requantize(latents: LatentArrays, steps: Steps) -> LatentArrays:
    """Return the symbols of dequantised latents, exactly; other latents go to the nearest symbol.

    It computes in float64: the float32 product is within 2**-24 of symbol * step, less than half a symbol, but a
    float32 quotient could round that up to a whole one.

    Args:
        latents: floats whose last axes are those of `LatentArrays`.
        steps: one step per channel.

    Raises:
        VidtwinError: a latent is NaN or infinite.
    """

    def divide(array: NDArray[np.floating], step: NDArray[np.float32], name: str) -> NDArray[np.int32]:
        with np.errstate(invalid="ignore"):  # some NaNs make numpy warn
            values = np.asarray(array, dtype=np.float64)
        if not bool(np.isfinite(values).all()):
            raise VidtwinError(f"{name} latents hold numbers that are not finite")
        with np.errstate(over="ignore"):  # an overflow is an infinity, which the next line clips
            ratio = values / step
        symbols: NDArray[np.int32] = np.clip(np.rint(ratio), -MAX_SYMBOL, MAX_SYMBOL).astype(np.int32)
        return symbols

    return latents.map(divide, broadcast_steps(steps), LatentArrays._fields)


def broadcast_steps(steps: Steps) -> tuple[NDArray[np.float32], ...]:
    """Return the steps of the three parts, shaped to broadcast against `LatentArrays`."""
    return (
        steps.structure[:, None, None, :],
        steps.dynamics_x[:, None, None],
        steps.dynamics_y[:, None, None],
    )


def _divide(latents: NDArray[np.floating], step: NDArray[np.float32]) -> NDArray[np.int32]:
    values = np.asarray(latents, dtype=np.float32)
    if not bool(np.isfinite(values).all()):
        raise VidtwinError(
            "the network produced latents that are not finite numbers",
            "check the weights with `vidtwin weights verify`, or try `--device cpu`",
        )
    with np.errstate(over="ignore"):  # an overflow is an infinity, which the next line clips
        ratio = values / step
    symbols: NDArray[np.int32] = np.clip(np.rint(ratio), -MAX_SYMBOL, MAX_SYMBOL).astype(np.int32)
    return symbols
