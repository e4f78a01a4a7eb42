"""Optimisers, their learning rates over a run, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwin, postfilter
from vidtwin_codec.training.options import TrainOptions

_BLOCK_MATRIX = re.compile(r"(encoder|decoder)\.transformer\.blocks\.\d+\..*\.weight")
_IN_BLOCK = re.compile(r"(encoder|decoder)\.transformer\.")
_LAST_MAP = re.compile(r"\.(projection|contract)\.")
_OF_ZEROS = 1 / 8
RATE_MODEL_LR = 1e-2
"""Learning rate of the rate model, with which some hundred steps cross the range of its scales."""
_BETAS = (0.9, 0.98)
_KEPT = (frozenset(("step", "exp_avg", "exp_avg_sq")), frozenset(("momentum_buffer",)))
"""What AdamW and Muon keep for a parameter."""
_MOMENTUM, _NEWTON_SCHULZ_STEPS = 0.95, 5


class Optimizers:
    """One or two optimisers that step together; the learning rate of each follows :func:`rate_factor`.

    Networks that were constructed from orthonormal maps and identities have many small numbers in large matrices, which
    a learning rate for networks of random numbers would change too much. So outside of blocks, which start at random
    numbers, a tensor's learning rate is multiplied by the size of its numbers (as in Shazeer and Stern, "Adafactor",
    2018). The last maps in blocks, which start at zeros and sum a thousand inputs, have an eighth of the learning rate.

    Args:
        model: the network as the run begins, before a state is loaded into it; frozen parameters are left out.
        options: options of the run.
        rate: the rate model, which has a learning rate of its own.
    """

    def __init__(self, model: VidTwin, options: TrainOptions, rate: nn.Module | None = None) -> None:
        muon: list[Tensor] = []
        groups: dict[tuple[float, float], list[Tensor]] = {}
        by_size = options.init is not None and model.config.linear
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            if options.optimizer == "muon" and _BLOCK_MATRIX.fullmatch(name):
                muon.append(parameter)
                continue
            decay = options.weight_decay if name.endswith(".weight") and parameter.ndim >= 2 else 0.0
            scale = _scale(name, parameter) if by_size else 1.0
            groups.setdefault((decay, scale), []).append(parameter)
        if rate is not None:
            own: list[Tensor] = [parameter for parameter in rate.parameters() if parameter.requires_grad]
            groups[0.0, RATE_MODEL_LR / options.lr] = own
        adam = AdamW(
            [{"params": group, "weight_decay": decay, "scale": scale} for (decay, scale), group in groups.items()],
            lr=options.lr,
            betas=_BETAS,
            **_kernels(next(model.parameters()).device),
        )
        self._parts: list[tuple[Optimizer, float]] = [(adam, options.lr)]
        if muon:
            self._parts.append((_muon(muon, options), options.muon_lr))

    def step(self, factor: float) -> None:
        """Update the weights with ``factor`` times the full learning rates, and clear the gradients."""
        for optimizer, rate in self._parts:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor * group.get("scale", 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> list[dict[str, Any]]:
        """Return the state that :meth:`load` restores."""
        return [optimizer.state_dict() for optimizer, _ in self._parts]

    def load(self, state: Sequence[dict[str, Any]]) -> None:
        """Restore a state, but keep this run's choices, and the kernels that suit this device.

        Raises:
            ValueError, or what torch raises: the state is not that of optimisers of this network.
        """
        for (optimizer, _), saved in zip(self._parts, state, strict=True):
            ours = optimizer.state_dict()["param_groups"]
            groups = [
                {**group, "params": theirs["params"]} for group, theirs in zip(ours, saved["param_groups"], strict=True)
            ]
            optimizer.load_state_dict({**saved, "param_groups": groups})
            for parameter, values in optimizer.state.items():
                _check_values(parameter, values)
                # a tensor whose elements share memory cannot be written to
                values.update({name: value.contiguous() for name, value in values.items()})


def _check_values(parameter: object, values: Mapping[str, object]) -> None:
    """Refuse what an optimiser does not keep for a parameter: torch would fail in its next step."""
    for name, value in values.items():
        if not isinstance(parameter, Tensor) or not isinstance(value, Tensor):
            raise ValueError("values that belong to no parameter")
        if value.layout != torch.strided or value.shape != (() if name == "step" else parameter.shape):
            raise ValueError(f"{name} is of another shape than its parameter")
    steps = values.get("step")
    if frozenset(values) not in _KEPT or (isinstance(steps, Tensor) and not 0 <= float(steps) < math.inf):
        raise ValueError("not what an optimiser keeps for a parameter")


def _kernels(device: torch.device) -> dict[str, bool]:
    """Ask for fused kernels where torch has them; elsewhere torch chooses."""
    return {"fused": True} if device.type in ("cuda", "mps") else {}


def _scale(name: str, tensor: Tensor) -> float:
    """Choose the factor on a tensor's learning rate.

    It goes by the tensor's place in a block, or else is its root mean square, rounded to a power of two. A post-filter
    is never written down, but learns from random numbers.
    """
    if name.startswith(postfilter.PREFIX):
        return 1.0
    if _IN_BLOCK.match(name):
        return _OF_ZEROS if _LAST_MAP.search(name) else 1.0
    square = float(tensor.detach().square().mean())
    return 2.0 ** round(math.log2(square) / 2) if square else _OF_ZEROS


def _muon(matrices: list[Tensor], options: TrainOptions) -> Optimizer:
    """Make torch's Muon optimiser (Jordan et al. 2024)."""
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
    """Compute the share of the full learning rate, which rises linearly, stays constant, and falls linearly to zero.

    Args:
        step: number of steps before this one.
        progress: share of the run before this step, 0 to 1.
        warmup: steps over which it rises.
        cooldown: share of the run over which it falls, 0 to 1.
    """
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    fall = min(1.0, (1 - progress) / cooldown) if cooldown else 1.0
    return rise * fall


class Average:
    """An exponential moving average of a network's weights, which is a network itself."""

    def __init__(self, model: VidTwin, decay: float) -> None:
        self.decay = decay
        self.model: VidTwin = copy.deepcopy(model).requires_grad_(False).eval()
        # walking through a network takes longer than averaging, and frozen parameters need no average
        pairs = [
            (mine, theirs)
            for mine, theirs in zip(self.model.parameters(), model.parameters(), strict=True)
            if theirs.requires_grad
        ]
        self._mine: list[Tensor] = [mine for mine, _ in pairs]
        self._theirs: list[Tensor] = [theirs for _, theirs in pairs]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Average in the weights after step number ``step`` (from 0), with less decay in the first steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._mine, self._theirs, 1 - decay)
