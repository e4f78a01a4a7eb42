"""Adam for networks whose layers are badly conditioned, such as weights that were set by hand.

A linear layer whose inputs have large means, or very different sizes, makes any step of ordinary Adam a large one:
plain Adam at a rate of 1e-4 destroys such a network in a few steps. Here each layer is seen as ``W = W0 + D / s`` over
inputs that are centred and divided by their spread ``s``, and it is ``D`` that Adam moves: a step then changes the
response to what varies in the input, and by a bounded amount. Rows that the loss is very sensitive to take smaller
steps still. Inputs and sensitivities are measured once, on the first batches. What is stored and saved is the ordinary
``W`` and ``b``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_SMALL = 0.1
"""Inputs that vary less than this share of a layer's typical spread are treated as if they varied that much."""
_CONSTANT = 1e-3
"""Those that vary less than this share do not vary: their weights stay."""
_MOST_CHANGE = 0.3
"""What a unit step of one row may change the loss, to first order; rows above that are slowed down to it."""


class CentredAdam(Optimizer):
    """Adam (Kingma and Ba 2015) on weights over centred, unit-size inputs.

    Args:
        model: trains all its parameters that require gradients.
        lr: rate; 5e-5 to 1e-4 suits hand-set weights.
        betas: decay of the first and second moments.
        epsilon: keeps the division finite.
    """

    def __init__(
        self, model: nn.Module, lr: float, betas: tuple[float, float] = (0.9, 0.98), epsilon: float = 1e-9
    ) -> None:
        self._layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        inside = {id(parameter) for layer in self._layers for parameter in layer.parameters()}
        rest = [parameter for parameter in model.parameters() if id(parameter) not in inside]
        pairs = [parameter for layer in self._layers for parameter in (layer.weight, layer.bias)]
        groups: list[dict[str, Any]] = [{"params": pairs}, {"params": rest}]
        super().__init__(groups, {"lr": lr, "betas": betas, "epsilon": epsilon})

    def measure(self, backward: Iterable[Callable[[], Any]]) -> None:
        """Look at the layers' inputs and at the loss's sensitivity before the first step.

        Args:
            backward: each computes the loss of one batch and its gradients. The gradients are forgotten afterwards.
        """
        sums: dict[nn.Linear, list[Tensor]] = {}

        def look(layer: nn.Module, inputs: tuple[Tensor, ...], _: Any) -> None:
            flat = inputs[0].detach().flatten(0, -2).float()
            assert isinstance(layer, nn.Linear)
            sums.setdefault(layer, []).append(torch.stack([flat.mean(0), flat.square().mean(0)]))

        hooks = [layer.register_forward_hook(look) for layer in self._layers]
        count = 0
        for step in backward:
            step()
            count += 1
        for hook in hooks:
            hook.remove()
        for layer in self._layers:
            state = self.state[layer.weight]
            # a layer whose weights are used without calling it is trained as it is
            mean, square = torch.stack(sums[layer]).mean(0) if layer in sums else _plain_inputs(layer)
            spread = (square - mean.square()).clamp(min=0).sqrt()
            typical = spread.square().mean().sqrt()
            inverse = 1 / spread.clamp(min=float(_SMALL * typical) + 1e-6)
            state["mean"] = mean
            state["inverse"] = torch.where(spread > _CONSTANT * typical, inverse, 0.0)
        for parameter, gradient in self._gradients():
            flat = gradient.abs().flatten(1).sum(1) if gradient.ndim > 1 else gradient.abs()
            share = (_MOST_CHANGE * count / (flat + 1e-9)).clamp(max=1)
            self.state[parameter]["share"] = share.view(-1, *[1] * (gradient.ndim - 1))
        self.zero_grad(set_to_none=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move the parameters.

        Raises:
            ValueError: :meth:`measure` was not called, or a closure is given.
        """
        if closure is not None:
            raise ValueError("this optimiser takes no closure")
        group = self.param_groups[0]
        if any("mean" not in self.state[layer.weight] for layer in self._layers):
            raise ValueError("the layers' inputs have not been measured")
        (fast, slow), rate = group["betas"], group["lr"]
        moves: dict[Tensor, Tensor] = {}
        for parameter, gradient in self._gradients():
            state = self.state[parameter]
            if "share" not in state:
                state["share"] = torch.ones(())  # had no gradient when sensitivities were measured
            if "step" not in state:
                state["step"] = 0
                state["first"], state["second"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            state["step"] += 1
            state["first"].lerp_(gradient, 1 - fast)
            state["second"].mul_(slow).addcmul_(gradient, gradient, value=1 - slow)
            size = (state["second"] / (1 - slow ** state["step"])).sqrt_().add_(group["epsilon"])
            moves[parameter] = (state["first"] / size) * state["share"] * (-rate / (1 - fast ** state["step"]))
        for layer in self._layers:
            if layer.weight in moves:
                state = self.state[layer.weight]
                moves[layer.weight] *= state["inverse"]
                layer.bias.sub_(moves[layer.weight] @ state["mean"])
        for parameter, move in moves.items():
            parameter.add_(move)

    @torch.no_grad()
    def _gradients(self) -> list[tuple[Tensor, Tensor]]:
        """Gradients of ``D`` for layers' weights, the ordinary ones for everything else."""
        found = []
        for layer in self._layers:
            weight, bias = layer.weight.grad, layer.bias.grad
            if weight is None or bias is None:
                continue
            state = self.state[layer.weight]
            found += [(layer.weight, (weight - torch.outer(bias, state["mean"])) * state["inverse"])]
            found += [(layer.bias, bias)]
        rest = self.param_groups[1]["params"]
        return found + [(parameter, parameter.grad) for parameter in rest if parameter.grad is not None]


def _plain_inputs(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(layer.weight[0]), torch.ones_like(layer.weight[0])
