"""Latents as a decoder really gets them: through the codec's own choice of symbols.

Noise and rounding are like quantisation, but choosing symbols by rate and distortion leaves errors of its own: more
zeros, and more of them where bits are dear. What stands behind the latents learns to repair what it has seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vidtwin_codec.coding import LatentArrays, SparseGroupEncoder, Steps, dequantize
from vidtwin_codec.coding.effort import DEFAULT_EFFORT, choose_symbols
from vidtwin_codec.machine import cores
from vidtwin_codec.model import Latents, VidTwinConfig
from vidtwin_codec.network.geometry import window_layout


class Coded:
    """Quantises latents of single clips as `vidtwin encode` does.

    Args:
        config: configuration of the network; clips have its size.
        steps: the weights' own quantisation steps: structure ``[n_q, d_S]``, dynamics x and y ``[d_D]``.
    """

    def __init__(self, config: VidTwinConfig, steps: Iterable[NDArray[np.floating]]) -> None:
        self._layout = window_layout(config, config.height, config.width)
        self._steps = Steps(*(part.astype(np.float32) for part in steps))
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="coding")

    def __call__(self, means: Latents, factor: Tensor | float) -> Latents:
        """Return what a decoder gets for these means; the gradient passes straight through.

        Args:
            means: posterior means of B clips.
            factor: factor on the steps, a number or one for each clip, ``[B]``.
        """
        clips = range(len(means.structure))
        factors = [float(factor)] * len(clips) if not isinstance(factor, Tensor) else factor.tolist()
        arrays = LatentArrays(*means.map(lambda part: part.detach().float().cpu()).numpy())

        def coded(clip: int) -> LatentArrays:
            steps = self._steps.scaled(factors[clip])
            latents = arrays.map(lambda part: part[clip : clip + 1])
            return LatentArrays(*dequantize(self._symbols(latents, steps), steps))

        found = Latents.concatenate([Latents.from_numpy(each) for each in self._pool.map(coded, clips)])
        return means.map(lambda mean, seen: mean + (seen.to(mean.device) - mean).detach(), found)

    def _symbols(self, latents: LatentArrays, steps: Steps) -> LatentArrays:
        """Choose the symbols of a clip that has a group to itself."""
        if self._layout.patterns is None:
            return choose_symbols(latents, steps, self._layout, clips=1, tiles=1, effort=DEFAULT_EFFORT)
        return SparseGroupEncoder(self._layout, 1, steps).add(latents)
