"""Names and shapes of the three latent arrays, without the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vidtwin_codec.coding.patterns import Patterns
from vidtwin_codec.errors import VidtwinError

MAX_DIMENSION = 0xFFFF
MAX_CLIP_ELEMENTS = 1 << 25  # 4000 times the released network's 8064; keeps every product of sizes far below 2**63
MAX_CHANNELS = 1 << 16  # steps are stored in the header, 2 bytes a channel


class LatentArrays(NamedTuple):
    """Latents or symbols of N = clips x tiles network inputs, clip-major (all tiles of clip 0, then of clip 1 …).

    Shapes: ``structure [N, n_q, h, w, d_S]``, ``dynamics_x [N, d_D, T, w_D]``, ``dynamics_y [N, d_D, T, h_D]``.
    """

    structure: NDArray[Any]
    dynamics_x: NDArray[Any]
    dynamics_y: NDArray[Any]

    def map(self, function: Callable[..., NDArray[Any]], *others: Iterable[Any]) -> LatentArrays:
        """Call ``function`` for each array, together with its counterpart in each of ``others``."""
        return LatentArrays(*(function(*parts) for parts in zip(self, *others, strict=True)))

    @staticmethod
    def concatenate(parts: Sequence[LatentArrays]) -> LatentArrays:
        """Join along the first axis; a single part is returned as it is."""
        return parts[0] if len(parts) == 1 else LatentArrays(*map(np.concatenate, zip(*parts, strict=True)))


@dataclass(frozen=True)
class LatentLayout:
    """Shapes of the latents of one network input (one tile of one clip).

    Attributes:
        structure: ``(n_q, h, w, d_S)``; a structure channel is a (query slot, channel) pair, so there are n_q * d_S.
        dynamics_x: ``(d_D, T, w_D)``; d_D channels.
        dynamics_y: ``(d_D, T, h_D)``; d_D channels.
        patterns: the cosine that each of the d_S structure channels stands for, query slots being temporal
            frequencies; None where channels have no such order. The sparse coder needs it.

    Raises:
        VidtwinError: a size is not an integer, not positive or absurdly large, the two dynamics disagree, or there are
            not as many patterns as channels.
    """

    structure: tuple[int, int, int, int]
    dynamics_x: tuple[int, int, int]
    dynamics_y: tuple[int, int, int]
    patterns: Patterns | None = None

    def __post_init__(self) -> None:
        for name, rank in zip(LatentArrays._fields, (4, 3, 3), strict=True):
            shape = getattr(self, name)
            if not isinstance(shape, tuple) or len(shape) != rank:
                raise VidtwinError(f"latent layout: {name} must have {rank} sizes, got {shape!r}")
            for size in shape:
                if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_DIMENSION:
                    raise VidtwinError(f"latent layout: {name} has size {size!r}, allowed are 1 to {MAX_DIMENSION}")
        if self.patterns is not None and self.patterns.channels != self.structure[3]:
            raise VidtwinError(
                f"latent layout: {self.patterns.channels} patterns for {self.structure[3]} structure channels"
            )
        if self.dynamics_x[:2] != self.dynamics_y[:2]:
            raise VidtwinError("latent layout: dynamics x and y must have the same channels and frames")
        if self.elements > MAX_CLIP_ELEMENTS:
            raise VidtwinError(
                f"latent layout: {self.elements} elements a clip, at most {MAX_CLIP_ELEMENTS} are allowed"
            )
        if self.channels > MAX_CHANNELS:
            raise VidtwinError(f"latent layout: {self.channels} channels, at most {MAX_CHANNELS} are allowed")

    @property
    def elements(self) -> int:
        """Number of elements in the latents of one network input."""
        return sum(prod(shape) for shape in self.shapes())

    @property
    def channels(self) -> int:
        """Number of quantisation steps: n_q * d_S for the structure, d_D for each of the dynamics."""
        return self.structure[0] * self.structure[3] + self.dynamics_x[0] + self.dynamics_y[0]

    def shapes(self) -> LatentShapes:
        """The three shapes, in the order of `LatentArrays`."""
        return LatentShapes(self.structure, self.dynamics_x, self.dynamics_y)

    def check(self, arrays: LatentArrays, count: int | None = None) -> int:
        """Return N after checking that the arrays have the shapes of this layout with a common leading N.

        Raises:
            ValueError: a shape disagrees (a caller's mistake, never a file's).
        """
        expected = arrays.structure.shape[0] if count is None else count
        for name, array, shape in zip(LatentArrays._fields, arrays, self.shapes(), strict=True):
            if array.shape != (expected, *shape):
                raise ValueError(f"{name} has shape {array.shape}, expected {(expected, *shape)}")
        return expected

    def to_json(self) -> dict[str, list[int]]:
        """Return a JSON object with one list of sizes for each array, and the patterns where there are any."""
        sizes = {name: list(shape) for name, shape in zip(LatentArrays._fields, self.shapes(), strict=True)}
        return sizes if self.patterns is None else {**sizes, "patterns": self.patterns.to_json()}

    @classmethod
    def from_json(cls, value: object) -> LatentLayout:
        """Read what `to_json` returned.

        Raises:
            VidtwinError: the value is not three lists of allowed sizes.
        """
        if not isinstance(value, dict) or not all(isinstance(value.get(name), list) for name in LatentArrays._fields):
            raise VidtwinError("latent layout: expected an object with lists structure, dynamics_x and dynamics_y")
        patterns = Patterns.from_json(value["patterns"]) if "patterns" in value else None
        structure, dynamics_x, dynamics_y = (tuple(value[name]) for name in LatentArrays._fields)
        return cls(structure, dynamics_x, dynamics_y, patterns)


class LatentShapes(NamedTuple):
    """Shapes of the three arrays for one network input."""

    structure: tuple[int, int, int, int]
    dynamics_x: tuple[int, int, int]
    dynamics_y: tuple[int, int, int]

    def zeros(self, count: int, *more: int, dtype: DTypeLike = np.int32) -> LatentArrays:
        """Return arrays of zeros for ``count`` inputs, or with ``more`` axes before those of an input."""
        return LatentArrays(*(np.zeros((count, *more, *shape), dtype) for shape in self))

    def sizes(self) -> Iterator[int]:
        """Number of elements of each array."""
        return (prod(shape) for shape in self)
