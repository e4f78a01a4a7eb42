from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vidtwin_codec.training.centred import CentredAdam


def badly_conditioned() -> tuple[nn.Linear, Tensor, Tensor]:
    """A layer, inputs with large means and very different sizes, and targets a little off what the layer gives."""
    torch.manual_seed(0)
    inputs = torch.randn(64, 4) * torch.tensor([1.0, 0.1, 5.0, 1.0]) + torch.tensor([60.0, -40.0, 0.0, 3.0])
    layer = nn.Linear(4, 3)
    with torch.no_grad():
        targets = layer(inputs) + 0.1 * (inputs - inputs.mean(0)) @ torch.randn(4, 3)
    return layer, inputs, targets


def train(layer: nn.Linear, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> list[float]:
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (layer(inputs) - targets).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_learns_where_plain_adam_destroys() -> None:
    layer, inputs, targets = badly_conditioned()
    start = (layer(inputs) - targets).square().mean().item()
    plain = train(layer, torch.optim.Adam(layer.parameters(), lr=0.02), inputs, targets)
    layer, _, _ = badly_conditioned()
    optimizer = CentredAdam(layer, lr=0.02)
    optimizer.measure([lambda: (layer(inputs) - targets).square().mean().backward()])
    centred = train(layer, optimizer, inputs, targets)
    assert max(plain) > 2 * start
    assert max(centred) <= start * 1.01
    assert centred[-1] < 0.05 * start


def test_the_response_to_the_mean_input_moves_with_the_bias_alone() -> None:
    layer, inputs, targets = badly_conditioned()
    optimizer = CentredAdam(layer, lr=0.01)
    optimizer.measure([lambda: (layer(inputs) - targets).square().mean().backward()])
    before = layer(inputs.mean(0))
    (layer(inputs) - targets).square().mean().backward()
    weight = layer.weight.detach().clone()
    optimizer.step()
    assert not torch.allclose(layer.weight, weight, atol=1e-5)
    assert (layer(inputs.mean(0)) - before).abs().max() <= 0.0101


def test_constant_inputs_keep_their_weights() -> None:
    layer, inputs, targets = badly_conditioned()
    inputs[:, 1] = 7.0
    optimizer = CentredAdam(layer, lr=0.01)
    optimizer.measure([lambda: (layer(inputs) - targets).square().mean().backward()])
    weight = layer.weight.detach().clone()
    (layer(inputs) - targets).square().mean().backward()
    optimizer.step()
    assert torch.equal(layer.weight[:, 1], weight[:, 1])
    assert not torch.equal(layer.weight[:, 0], weight[:, 0])


def test_it_must_be_measured_first() -> None:
    layer, inputs, targets = badly_conditioned()
    optimizer = CentredAdam(layer, lr=0.01)
    (layer(inputs) - targets).square().mean().backward()
    with pytest.raises(ValueError, match="not been measured"):
        optimizer.step()
