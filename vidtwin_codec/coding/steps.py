"""Quantisation steps, one per channel, and the quality scale."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec.coding.layout import LatentLayout
from vidtwin_codec.errors import VidtwinError

# The quality scale: the quality at which the base steps are used as they are, and how many points of quality halve
# them. The default is about 3/4 of them; base steps that are calibrated make quantisation cost 0.07 dB there
# (calibration/trial.py). 100 is 1/10 of them, 0 is 14 times.
DEFAULT_QUALITY = 60.0
BASE_QUALITY = 54.0
QUALITY_PER_HALVING = 14.0

# Normal float16 numbers: below 2**-14 the relative precision of a stored step would fall off.
MIN_STEP = 2.0**-14
MAX_STEP = 65504.0


def quality_scale(quality: float) -> float:
    """Return the factor on the base steps for a quality of 0 (coarsest) to 100 (finest); 1.0 at `BASE_QUALITY`.

    Raises:
        VidtwinError: the quality is outside 0 to 100, or not a number.
    """
    if not 0.0 <= quality <= 100.0:
        raise VidtwinError(f"quality {quality:g} is out of range", "choose a number from 0 (smallest) to 100 (best)")
    return float(2.0 ** ((BASE_QUALITY - quality) / QUALITY_PER_HALVING))


@dataclass(frozen=True, eq=False)
class Steps:
    """One quantisation step per channel, float32 arrays that hold float16 values only.

    Rounding to float16 happens here, on construction: a file stores float16, so both ends quantise with exactly
    the same numbers.

    Attributes:
        structure: steps ``[n_q, d_S]``, in units of the latent.
        dynamics_x: steps ``[d_D]``, in units of the latent.
        dynamics_y: steps ``[d_D]``, in units of the latent.

    Raises:
        VidtwinError: a step is not finite or outside `MIN_STEP` to `MAX_STEP`.
    """

    structure: NDArray[np.float32]
    dynamics_x: NDArray[np.float32]
    dynamics_y: NDArray[np.float32]

    def __post_init__(self) -> None:
        for field, rank in zip(fields(self), (2, 1, 1), strict=True):
            value = np.asarray(getattr(self, field.name), dtype=np.float32)
            if value.ndim != rank or value.size == 0:
                raise VidtwinError(f"quantisation steps: {field.name} has shape {value.shape}, expected {rank} axes")
            # the comparison is written so that NaN fails it
            if not bool(np.all((value >= MIN_STEP) & (value <= MAX_STEP))):
                raise VidtwinError(f"quantisation steps: {field.name} must lie between {MIN_STEP:g} and {MAX_STEP:g}")
            rounded = value.astype(np.float16).astype(np.float32)
            rounded.flags.writeable = False
            object.__setattr__(self, field.name, rounded)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Steps) and self.shapes() == other.shapes() and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the three arrays."""
        return (self.structure.shape, self.dynamics_x.shape, self.dynamics_y.shape)

    def check(self, layout: LatentLayout) -> None:
        """Make sure that there is one step for each channel of ``layout``.

        Raises:
            VidtwinError: the numbers of channels disagree.
        """
        if self.shapes() != _shapes(layout):
            raise VidtwinError(f"quantisation steps of shapes {self.shapes()} do not fit latents of {_shapes(layout)}")

    def scaled(self, factor: float) -> Steps:
        """Return the steps multiplied by ``factor``, kept within `MIN_STEP` to `MAX_STEP`.

        Raises:
            VidtwinError: the factor is not a positive finite number.
        """
        if not (0.0 < factor < float("inf")):
            raise VidtwinError(f"quantisation steps cannot be scaled by {factor:g}")
        return Steps(*(_clamp(array, factor) for array in (self.structure, self.dynamics_x, self.dynamics_y)))

    def coarseness(self, base: Steps | None) -> float:
        """Return how many times as long the structure's steps are as ``base``, by their medians; 0 without ``base``."""
        # of medians, as nobody has made sure yet that both have as many channels
        return 0.0 if base is None else float(np.median(self.structure) / np.median(base.structure))

    def to_bytes(self) -> bytes:
        """Return the steps as little-endian float16: structure by query slot then channel, dynamics x, dynamics y."""
        arrays = (self.structure, self.dynamics_x, self.dynamics_y)
        return b"".join(array.astype("<f2").tobytes() for array in arrays)

    @classmethod
    def from_bytes(cls, data: bytes, layout: LatentLayout) -> Steps:
        """Read what `to_bytes` returned.

        Raises:
            VidtwinError: the length does not fit ``layout``, or a step is not allowed.
        """
        if len(data) != 2 * layout.channels:
            raise VidtwinError(f"quantisation steps: {len(data)} bytes, expected {2 * layout.channels}")
        flat = np.frombuffer(data, dtype="<f2").astype(np.float32)
        slots, channels = _shapes(layout)[0]
        split = np.split(flat, np.cumsum([slots * channels, layout.dynamics_x[0]]))
        return cls(split[0].reshape(slots, channels), split[1], split[2])

    def to_json(self) -> dict[str, Any]:
        """Return nested lists, as the metadata of our weights files hold them."""
        return {field.name: getattr(self, field.name).tolist() for field in fields(self)}

    @classmethod
    def from_json(cls, value: object) -> Steps:
        """Read what `to_json` returned.

        Raises:
            VidtwinError: the value is not an object of three arrays of numbers.
        """
        if not isinstance(value, dict):
            raise VidtwinError("quantisation steps: expected an object with structure, dynamics_x and dynamics_y")
        try:
            with np.errstate(over="ignore"):  # what is too large for float32 is too large for a step
                arrays = [np.asarray(value[field.name], dtype=np.float32) for field in fields(cls)]
            return cls(*arrays)
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise VidtwinError(f"quantisation steps: not three arrays of numbers ({error})") from error


def _shapes(layout: LatentLayout) -> tuple[tuple[int, int], tuple[int], tuple[int]]:
    return ((layout.structure[0], layout.structure[3]), (layout.dynamics_x[0],), (layout.dynamics_y[0],))


def _clamp(steps: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    return np.clip(steps.astype(np.float64) * factor, MIN_STEP, MAX_STEP).astype(np.float32)
