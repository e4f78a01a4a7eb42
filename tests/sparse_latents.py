"""Wide latents for the sparse coder, and what becomes of them."""

from __future__ import annotations

import numpy as np

from vidtwin_codec.coding import MAX_SYMBOL, LatentArrays, LatentLayout, Steps
from vidtwin_codec.coding.patterns import Patterns

LAYOUT = LatentLayout((4, 2, 3, 26), (2, 4, 3), (2, 4, 2), Patterns(8, (16, 6, 4)))
VIDEO = LatentLayout((16, 4, 5, 96), (3, 16, 5), (3, 16, 4), Patterns(32, (60, 20, 16)))


def steps(layout: LatentLayout, size: float = 1.0) -> Steps:
    slots, _, _, channels = layout.structure
    return Steps(np.full((slots, channels), size), *np.full((2, layout.dynamics_x[0]), size))


def some_latents(layout: LatentLayout, count: int, seed: int = 0, spread: float = 0.5) -> LatentArrays:
    values = np.random.default_rng(seed)
    return LatentArrays(*(values.laplace(0, spread, (count, *shape)).astype(np.float32) for shape in layout.shapes()))


def like_video(clips: int, seed: int = 0) -> LatentArrays:
    """Latents that fall off with frequency, and stay alike from clip to clip."""
    assert VIDEO.patterns is not None
    frequencies = VIDEO.patterns.frequencies
    fall = 30 / (1 + frequencies[:, 1] + frequencies[:, 2]) ** 1.3 / (1 + np.arange(16)[:, None]) ** 0.8
    first = some_latents(VIDEO, 1, seed, 1.0).structure * fall[:, None, None, :].astype(np.float32)
    clipwise = [first + 0.2 * some_latents(VIDEO, 1, seed + 1 + clip, 1.0).structure for clip in range(clips)]
    lines = some_latents(VIDEO, clips, seed, 0.2)
    return lines._replace(structure=np.concatenate(clipwise))


def one(latents: LatentArrays, clip: int, tiles: int = 1) -> LatentArrays:
    return LatentArrays(*(array[clip * tiles : (clip + 1) * tiles] for array in latents))


def rounded(latents: LatentArrays) -> LatentArrays:
    return LatentArrays(*(np.clip(np.rint(a), -MAX_SYMBOL, MAX_SYMBOL).astype(np.int32) for a in latents))


def equal(a: LatentArrays, b: LatentArrays) -> bool:
    return all(x.dtype == y.dtype == np.int32 and np.array_equal(x, y) for x, y in zip(a, b, strict=True))
