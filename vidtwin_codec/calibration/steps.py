"""Calibration of base quantisation steps, from the posterior or the decoder, whichever takes fewer bytes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidtwin_codec.calibration import sensitivity
from vidtwin_codec.calibration.clock import Clock
from vidtwin_codec.calibration.scope import FULL, Scope, scope_for, spread
from vidtwin_codec.calibration.sensitivity import Channels
from vidtwin_codec.calibration.trial import DEFAULT_LOSS, RatePoint, Trial, change, factor_for_default
from vidtwin_codec.coding import Steps
from vidtwin_codec.model.vidtwin import LOG_VARIANCE_RANGE, Latents, VidTwin
from vidtwin_codec.reporter import Reporter

SPREAD_STEP = 0.25
"""Fallback step in standard deviations of the means, which takes about 4 bits a number for a Gaussian."""
NARROW = 1 / 64
"""Share of the means' spread below which sigma · sqrt(12) is not used. It would take 8 bits a number or more, because
the posterior has collapsed onto its mean and no longer tells what the decoder tolerates."""
LEAST_STEP, MOST_STEP = 2.0**-10, 2.0**10


class Moments:
    """Sums over clips and positions of one of the three latents, by channel.

    A uniform quantiser of step sigma · sqrt(12) adds noise of exactly the posterior's variance, which the decoder was
    trained with.
    """

    def __init__(self) -> None:
        self.count = 0
        self.sums: NDArray[np.float64] = np.zeros(())

    def add(self, mean: Tensor, log_variance: Tensor) -> None:
        """Add one posterior, ``[B, slot, h, w, channel]`` or ``[B, channel, T, position]``."""
        # what remains is (slot, channel) or (channel)
        axes = (0, 2, 3)
        means, logs = mean.cpu().double().numpy(), log_variance.cpu().double().numpy()
        low, high = LOG_VARIANCE_RANGE
        parts = (means, means**2, np.exp(logs), (logs <= low) | (logs >= high))
        sums = np.stack([part.sum(axis=axes, dtype=np.float64) for part in parts])
        self.sums = self.sums + sums
        self.count += means.size // sums[0].size

    def steps(self) -> tuple[NDArray[np.float64], int]:
        """Compute the step of each channel, and the number of channels whose sigma is of no use."""
        mean, square, variance, at_limit = self.sums / self.count
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        noise = np.sqrt(12 * variance)
        unusable = (at_limit > 0) | ~np.isfinite(noise) | (noise < NARROW * spread) | (noise < LEAST_STEP)
        # the value of a constant channel must survive, because it shifts what the decoder gets
        fallback = np.maximum(SPREAD_STEP * spread, np.sqrt(square) / 64)
        steps = np.where(unusable, np.where(fallback > 0, fallback, 1.0), noise)
        return np.clip(steps, LEAST_STEP, MOST_STEP), int(unusable.sum())


GRID = 8
"""Values an octave that steps are rounded to. Results in float32 differ a little between machines, but on so coarse a
grid the steps, and hence the digest of an imported file, are the same everywhere."""
ENCODING_SHARE, TRIAL_SHARE = 0.15, 0.4
"""Shares of the time limit for encoding clips, and for trying steps on them."""
LEAST_CLIPS, LEAST_TRIAL_CLIPS = 8, 4
"""Least numbers of clips, however short the time; steps from fewer clips would be of no use."""


@dataclass(frozen=True)
class Calibration:
    """The result of a calibration.

    Attributes:
        steps: one step for each channel.
        notes: lines for the user about fallbacks, the choice between sigma and the decoder's sensitivity, and a factor
            on the steps.
    """

    steps: Steps
    notes: list[str]


def calibrate(
    model: VidTwin,
    clips: Iterable[Tensor],
    *,
    trained: Channels | None = None,
    seconds: float | None = None,
    checks: int | None = None,
    reporter: Reporter | None = None,
) -> Calibration:
    """Calibrate base steps for a network.

    Two sets are made: from the posterior's sigma over the clips (:mod:`~vidtwin_codec.calibration.steps`), and from the
    decoder's sensitivity (:mod:`~vidtwin_codec.calibration.sensitivity`). The set that takes fewer bytes at equal PSNR
    on some of the clips is kept, and scaled so that the default quality loses :data:`DEFAULT_LOSS` there. Networks that
    take long for a clip are calibrated on fewer, see :mod:`~vidtwin_codec.calibration.scope`.

    Args:
        model: both halves of the network, which compute in their own precision.
        clips: clips ``[1, 3, T, H, W]`` in [-1, 1], of the network's size. Each takes a forward pass through both
            halves, and a backward pass through the decoder.
        trained: steps that the network was trained for, in place of those from sigma.
        seconds: approximate time limit, for which later clips, passes and checks are left out if necessary, so that
            steps differ between machines. None leaves out nothing that the same network has elsewhere.
        checks: most channels that are tried alone; None tries all that need it.
        reporter: receives progress.

    Raises:
        ValueError: there are no clips, or the network's output is not finite.
    """
    clock = Clock(seconds, reporter)
    scope = scope_for(model.config) if seconds is None else FULL  # a clock knows what is expensive here
    device = next(model.parameters()).device
    kept = [clip.to(device) for clip in spread(list(clips), scope.clips)]
    if not kept:
        raise ValueError("no clips to calibrate on")
    latents, from_sigma, notes = steps_from_sigma(model, kept, clock)
    kept = kept[: len(latents)]
    source = "sigma"
    if trained is not None:
        from_sigma, notes, source = trained, [], "training"
    trial, curve = _trial(model, kept, latents, _rounded(from_sigma), clock, scope)
    steps = _rounded(from_sigma)
    elements = [part[0].numel() // channels.size for part, channels in zip(latents[0], from_sigma, strict=True)]
    squares = sensitivity.measure(model, latents, clock, scope)
    from_decoder = sensitivity.steps(squares, elements, from_sigma)
    if from_decoder is None:
        notes.append(f"steps from {source}: the decoder's derivatives say nothing")
    else:
        other = _rounded(sensitivity.checked(model, latents, squares, from_decoder, from_sigma, clock, scope, checks))
        other_curve = trial.curve(other)
        gain = change(curve, other_curve)
        if gain is None:
            notes.append(f"steps from {source}: the decoder's sensitivity could not be compared")
        elif gain >= 0:
            notes.append(f"steps from {source}: the decoder's sensitivity takes {gain:+.1%} bytes at equal PSNR")
        else:
            steps, curve = other, other_curve
            notes.append(
                f"steps from the decoder's sensitivity: {gain:+.1%} bytes at equal PSNR against those of {source}"
            )
    factor = _on_grid(factor_for_default(curve, trial.unquantized, scope.octaves))
    if factor != 1:
        notes.append(f"steps times {factor:.2f}: the default quality is to cost {DEFAULT_LOSS:g} dB")
    if clock.late:
        notes.append(f"calibrated on {len(kept)} clips, {len(trial)} of them coded, within {seconds:g} seconds")
    return Calibration(steps.scaled(factor), notes)


def _trial(
    model: VidTwin, clips: list[Tensor], latents: list[Latents], steps: Steps, clock: Clock, scope: Scope
) -> tuple[Trial, list[RatePoint]]:
    """Choose few enough clips for two curves in a part of the time, and compute the curve of ``steps`` on them."""
    if clock.seconds is not None:
        began = time.monotonic()
        Trial(model, clips[:1], latents[:1]).curve(steps)
        each = time.monotonic() - began
        most = max(LEAST_TRIAL_CLIPS, int(TRIAL_SHARE * clock.seconds / (2 * each)))
        clock.late = clock.late or most < min(scope.trial_clips, len(clips))
    else:
        most = scope.trial_clips
    every = math.ceil(len(clips) / min(most, scope.trial_clips))
    trial = Trial(model, clips[::every], latents[::every], scope.octaves, clock.reporter)
    return trial, trial.curve(steps)


@torch.no_grad()  # not inference mode: the decoder is differentiated at these latents
def steps_from_sigma(
    model: VidTwin, clips: list[Tensor], clock: Clock | None = None
) -> tuple[list[Latents], Channels, list[str]]:
    """Compute steps from sigma, on as many clips as there is time for.

    Returns:
        The posterior means of each clip, the steps, and a note for each part with channels that need a fallback.

    Raises:
        ValueError: the posterior is not finite.
    """
    moments = {name: Moments() for name in Latents._fields}
    latents: list[Latents] = []
    for clip in clips if clock is None else clock.within(clips, ENCODING_SHARE, "encoding clips", LEAST_CLIPS):
        posterior = model.posterior(clip)
        latents.append(posterior.mean)
        for moment, mean, log_variance in zip(moments.values(), *posterior, strict=True):
            if not bool(torch.isfinite(mean).all()):
                raise ValueError("the posterior's means are not finite")
            moment.add(mean, log_variance)
    notes, found = [], []
    for name, moment in moments.items():
        steps, unusable = moment.steps()
        found.append(steps)
        if unusable:
            notes.append(
                f"{name}: the posterior sigma of {unusable} of {steps.size} channels says nothing; "
                f"in its place {SPREAD_STEP:g} of the standard deviation of the means"
            )
    return latents, tuple(found), notes


def _rounded(steps: Channels) -> Steps:
    limited = (np.clip(part, LEAST_STEP, sensitivity.SILENT_STEP) for part in steps)
    return Steps(*((2.0 ** (np.round(np.log2(part) * GRID) / GRID)).astype(np.float32) for part in limited))


def _on_grid(factor: float) -> float:
    return float(2.0 ** (round(math.log2(factor) * GRID) / GRID))
