"""Optimisers, their rates over a run, and the running average of the weights."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwin
from vidtwin_codec.training.options import TrainOptions

_BLOCK_MATRIX = re.compile(r"(encoder|decoder)\.transformer\.blocks\.\d+\..*\.weight")
_BETAS = (0.9, 0.98)
_MOMENTUM, _NEWTON_SCHULZ_STEPS = 0.95, 5


class Optimizers:
    """One or two optimisers that step together; the rate of each follows :func:`rate_factor`."""

    def __init__(self, model: VidTwin, options: TrainOptions) -> None:
        muon: list[Tensor] = []
        decayed: list[Tensor] = []
        plain: list[Tensor] = []
        for name, parameter in model.named_parameters():
            if options.optimizer == "muon" and _BLOCK_MATRIX.fullmatch(name):
                muon.append(parameter)
            elif name.endswith(".weight") and parameter.ndim >= 2:
                decayed.append(parameter)
            else:
                plain.append(parameter)
        groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        adam = AdamW(groups, lr=options.lr, betas=_BETAS)
        self._parts: list[tuple[Optimizer, float]] = [(adam, options.lr)]
        if muon:
            self._parts.append((_muon(muon, options), options.muon_lr))

    def step(self, factor: float) -> None:
        """Move the weights at ``factor`` times the full rates, and forget the gradients."""
        for optimizer, rate in self._parts:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> list[dict[str, Any]]:
        """What :meth:`load` puts back."""
        return [optimizer.state_dict() for optimizer, _ in self._parts]

    def load(self, state: Sequence[dict[str, Any]]) -> None:
        for (optimizer, _), saved in zip(self._parts, state, strict=True):
            optimizer.load_state_dict(saved)


def _muon(matrices: list[Tensor], options: TrainOptions) -> Optimizer:
    """Muon (Jordan et al. 2024), torch's own."""
    kind = getattr(torch.optim, "Muon", None)
    if kind is None:
        raise VidtwinError(
            f"torch {torch.__version__} has no Muon optimiser", "install torch 2.9 or newer, or use --optimizer adamw"
        )
    made: Optimizer = kind(
        matrices,
        lr=options.muon_lr,
        weight_decay=options.weight_decay,
        momentum=_MOMENTUM,
        ns_steps=_NEWTON_SCHULZ_STEPS,
    )
    return made


def rate_factor(step: int, progress: float, *, warmup: int, cooldown: float) -> float:
    """Share of the full rate: a linear rise over ``warmup`` steps, then constant, then a linear fall to zero.

    Args:
        step: steps done before this one.
        progress: share of the run done before this step, 0 to 1.
        warmup: steps.
        cooldown: share of the run.
    """
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    fall = min(1.0, (1 - progress) / cooldown) if cooldown else 1.0
    return rise * fall


class Average:
    """An exponential moving average of a network's weights, as a network of its own."""

    def __init__(self, model: VidTwin, decay: float) -> None:
        self.decay = decay
        self.model: VidTwin = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: VidTwin, step: int) -> None:
        """Take in the weights after step number ``step`` (from 0); the first steps count for more."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mine: list[Tensor] = list(self.model.parameters())
        theirs: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(mine, theirs, 1 - decay)
