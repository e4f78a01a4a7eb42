"""How much a calibration computes, and who is told how far it is.

The scope follows from the network alone, never from a clock: the same checkpoint then gets the same steps, hence the
same digest, on a fast machine and on a slow one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vidtwin_codec.calibration.trial import FEW_OCTAVES, OCTAVES
from vidtwin_codec.model.config import VidTwinConfig
from vidtwin_codec.model.vidtwin import VidTwin

EXPENSIVE = 3e11
"""Operations of a decoded clip from which calibration is sparing: a third of what the released network takes."""


@dataclass(frozen=True)
class Scope:
    """How much a calibration computes.

    Attributes:
        clips: most clips, spread over all that there are; None for all.
        trial_clips: most clips on which steps are tried.
        octaves: scales of the points of a curve of trials.
        passes: least number of backward passes over all clips together. Each samples every element, and a channel has
            dozens of them: 16 passes reduce the error of a step to about 3 %, 4 to about 6 %, within the grid of 9 %.
        checked_clips: clips on which channels without a say are tried.
        checks: most trials of such channels, which are then tried together, and apart where they err; None tries each.
        precision_clips: clips on which precisions are compared.
    """

    clips: int | None = None
    trial_clips: int = 12
    octaves: tuple[float, ...] = OCTAVES
    passes: int = 16
    checked_clips: int = 3
    checks: int | None = None
    precision_clips: int = 2

    def runs(self, clips: int) -> int:
        """Return how often a half of the network is run, forwards or backwards, to calibrate on so many clips.

        Where each channel is tried, their number is not known before, and not counted.
        """
        clips = min(clips, self.clips or clips)
        trial_clips = len(range(0, clips, math.ceil(clips / min(self.trial_clips, clips))))
        sensitivity = clips * (1 + math.ceil(self.passes / clips))
        checks = min(self.checked_clips, clips) * (1 + (self.checks or 0))
        return clips + trial_clips * (1 + 2 * len(self.octaves)) + sensitivity + checks


FULL = Scope()
SPARING = Scope(clips=6, trial_clips=2, octaves=FEW_OCTAVES, passes=4, checked_clips=1, checks=8, precision_clips=1)


def spread(clips: list[Tensor], most: int | None) -> list[Tensor]:
    """Take at most so many of the clips, spread over all."""
    if most is None or len(clips) <= most:
        return clips
    return [clips[number * len(clips) // most] for number in range(most)]


def scope_for(config: VidTwinConfig) -> Scope:
    """Return the scope for a network: sparing where a decoded clip takes :data:`EXPENSIVE` operations or more."""
    decoder = config.decoder
    # four matrices in each of two attentions, and eight in the MLP
    operations = 2 * config.frames * config.tokens * decoder.depth * 16 * decoder.hidden_size**2
    return SPARING if operations >= EXPENSIVE else FULL


@contextlib.contextmanager
def counted(model: VidTwin, ran: Callable[[], None]) -> Iterator[None]:
    """While the block lasts, call ``ran`` for each run through a half of the network, forwards or backwards.

    On a CPU a signal is heard on the way back through a transformer, too, between two blocks: torch goes that way in
    one call, which takes seconds, and hears none in between unless it comes through Python.
    """

    def finished(half: nn.Module, inputs: Any, out: Any) -> None:
        ran()
        if isinstance(out, Tensor) and out.requires_grad:
            out.register_hook(lambda gradient: ran())  # type: ignore[no-untyped-call]

    def passed(block: nn.Module, inputs: Any, out: Tensor) -> None:
        if out.requires_grad:
            out.register_hook(_listen)  # type: ignore[no-untyped-call]

    halves = [half for half in (model.encoder, model.decoder) if half is not None]
    blocks = [block for half in halves for block in half.transformer.blocks]
    handles = [half.register_forward_hook(finished) for half in halves]
    handles += [block.register_forward_hook(passed) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _listen(gradient: Tensor) -> None:
    """Pass through Python, which is where signals are heard."""
