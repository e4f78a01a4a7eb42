"""The encoder's switches: from how much moves and how much detail there is to one decision each.

A hidden unit's gelu(x) + gelu(−x) is a smooth |x|. The votes are logistic regressions on these, a decision counting
as much as it matters.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vidtwin_codec.model.transformer import Block
from vidtwin_codec.training.closed_form.channels import EncoderChannels
from vidtwin_codec.training.closed_form.switches import SWITCH_ON
from vidtwin_codec.training.closed_form.wiring import STEP_WIDTH, Units, mlp_input, read

_VOTE = 0.25
"""Of a unit of log-odds in the stream: votes stay small beside the constants."""
_UNDECIDED = 0.01
"""Log-odds between which a switch is neither open nor shut."""
_DECAY = 1e-5
"""Of the regression's weights."""
_ITERATIONS = 200


def vote(block: Block, rooms: EncoderChannels, x: Tensor, gains: Tensor) -> None:
    """MLP: every frame's votes.

    Args:
        block: whose MLP to set.
        rooms: of the stream.
        x: the stream ``[B, T, S, D]``.
        gains: ``[B, S, switches]``, what a switch that is on gains.
    """
    if not rooms.votes:
        return
    seen, width = mlp_input(block, x), x.shape[3]
    sources = rooms.still + rooms.collected
    spread = seen[..., sources].flatten(0, 2).std(dim=0)
    scales = torch.where(spread > 0, 1 / spread, torch.zeros_like(spread))
    size = _smooth_size(seen[..., sources] * scales).mean(dim=1)
    units = Units(block.mlp.expand, block.mlp.contract)
    weights = torch.zeros(len(sources), len(rooms.votes))
    for switch, channel in enumerate(rooms.votes):
        weights[:, switch], constant = _regression(size, gains[..., switch])
        block.mlp.contract.bias[channel] += _VOTE * constant
    for source, scale, row in zip(sources, scales, weights, strict=True):
        for sign in (1, -1):
            unit = units.add(read(width, source, sign * scale))
            block.mlp.contract.weight[rooms.votes, unit] = _VOTE * row


def count_votes(block: Block, rooms: EncoderChannels) -> None:
    """MLP: switches go on where the verdict is positive."""
    units, width, number = Units(block.mlp.expand, block.mlp.contract), block.mlp.expand.in_features, len(rooms.votes)
    steepness = STEP_WIDTH / 4 / (_UNDECIDED * _VOTE) * torch.tensor([1.0, -1.0])
    for switch, channel in enumerate(rooms.switches):
        units.step(read(width, rooms.verdicts[switch::number], steepness), channel, SWITCH_ON)


def _smooth_size(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh") + functional.gelu(-x, approximate="tanh")


def _regression(features: Tensor, gains: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and constant of log-odds from ``features`` ``[B, S, F]``; every decision weighted by its gain."""
    flat, stakes = features.flatten(0, 1), gains.flatten()
    mean = flat.mean(dim=0)
    centred, sign = flat - mean, stakes.sign()
    stakes = stakes.abs() / stakes.abs().mean().clamp_min(torch.finfo(torch.float32).tiny)
    with torch.enable_grad():
        weights = torch.zeros(flat.shape[1], requires_grad=True)
        constant = torch.zeros((), requires_grad=True)
        optimizer = torch.optim.LBFGS([weights, constant], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            odds = centred @ weights + constant
            value = (stakes * functional.softplus(-sign * odds)).mean() + _DECAY * weights.square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(loss)  # type: ignore[no-untyped-call]
    found = weights.detach()
    return found, constant.detach() - mean @ found
