"""Hostile files of networks: weights, checkpoints, and the states of interrupted runs."""

from __future__ import annotations

import copy
import io
import json
import math
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch

from tests.micro import (
    micro_config,
    micro_model,
    pipeline_model,
    released_params,
    released_state,
    window_model,
    write_weights,
)
from tools.fuzz.archives import make_torch, saved
from tools.fuzz.changes import change_json
from tools.fuzz.tensor_files import make_safetensors
from vidtwin_codec.calibration.bounds import most_checks
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import QFormerConfig, TransformerConfig, VidTwin, open_checkpoint
from vidtwin_codec.training import TrainOptions
from vidtwin_codec.training.optimization import Optimizers
from vidtwin_codec.training.state import State, undamaged
from vidtwin_codec.weights.metadata import read_metadata


@cache
def _weights() -> tuple[bytes, ...]:
    """Our own files of dense, wide and sparse networks, and a released one."""
    from safetensors.torch import save

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.safetensors")
        own = [write_weights(path, model, 0.1).read_bytes() for model in (pipeline_model(), window_model(), _empty())]
    model = micro_model()
    metadata = {"config": json.dumps(released_params(model.config))}
    return (*own, save(_contiguous(model), metadata), save(_contiguous(_nameless())))


def _contiguous(model: VidTwin) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in released_state(model).items()}


def _nameless() -> VidTwin:
    """A network whose configuration follows from the shapes of its tensors."""
    side = TransformerConfig(hidden_size=64, depth=1, num_heads=1)
    former = QFormerConfig(num_queries=3, hidden_size=8, num_layers=1, intermediate_size=12, num_heads=8)
    return micro_model(encoder=side, decoder=side, qformer=former)


def _empty() -> VidTwin:
    """A network with matrices that are nearly all zeros, which are stored as places and values."""
    side = TransformerConfig(hidden_size=40, depth=1, num_heads=2, causal=False)
    model = micro_model(encoder=side, decoder=side, structure_blocks=0, dynamics_blocks=0)
    for number, parameter in enumerate(model.parameters()):
        if parameter.numel() >= 4096:
            parameter.zero_()
            if number % 2:
                parameter.view(-1)[::100] = 0.5
    return model


def make_weights(random: Random) -> bytes:
    """Weights in safetensors, ours and released ones."""
    return make_safetensors(random, _weights())


def read_weights(path: Path) -> bool:
    """Load a network, as `weights import` does before it calibrates."""
    model = open_checkpoint(path).load()
    most_checks(model, model.config, path.stat().st_size)
    if path.suffix == ".safetensors":
        try:
            metadata = read_metadata(path)
        except VidtwinError as error:
            if "own format" not in error.message:
                raise
        else:
            _ = metadata.steps
    return True


@cache
def _contents() -> tuple[dict[str, Any], ...]:
    model = micro_model()
    params = released_params(model.config)
    return (
        {"state_dict": released_state(model), "hyper_parameters": params},
        {"state_dict": released_state(model), "hyper_parameters": {"model": {"params": params}}},
        {"state_dict": released_state(_nameless()), "hyper_parameters": None},
    )


@cache
def _checkpoints() -> tuple[bytes, ...]:
    return tuple(map(saved, (*_contents(), _contents()[2]["state_dict"])))


_TENSORS = (
    *(torch.zeros(shape) for shape in ((), (0,), (1,), (16,), (16, 16), (1, 1, 1))),
    *(torch.zeros(16, dtype=kind) for kind in (torch.int64, torch.bool, torch.complex64, torch.float64)),
    *(torch.full((16,), value) for value in (math.nan, math.inf, -1.0)),
    *(torch.tensor(value) for value in (-1.0, math.nan, 1e30)),
    torch.zeros(2, 2).to_sparse(),
    torch.zeros(1).expand(1 << 40),
)
"""Tensors for places where another one is expected."""


def make_checkpoint(random: Random) -> bytes:
    """A checkpoint as torch and Lightning write them."""
    if random.random() < 0.7:
        return make_torch(random, _checkpoints())
    content = random.choice(_contents())
    part = random.choice(sorted(content))
    return saved({**content, part: change_json(random, content[part], _TENSORS)})


@cache
def _run() -> tuple[Any, TrainOptions]:
    """The network and the options of a run."""
    model = micro_model().requires_grad_(True)
    return model, TrainOptions(data=Path("data"), output=Path("a.safetensors"), steps=9, optimizer="adamw")


@cache
def _states() -> tuple[bytes, ...]:
    """States of a run before its first step and after one."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.pt")
        for steps in range(2):
            model, options = copy.deepcopy(_run()[0]), _run()[1]
            optimizers = Optimizers(model, options)
            for _ in range(steps):
                _step(model, optimizers)
            tensors = model.state_dict()
            State(
                *(steps, 1.5, options.to_json(), micro_config().to_dict(), "ab" * 32, tensors, tensors),
                optimizers.state(),
            ).save(path)
            made.append(path.read_bytes())
    return tuple(made)


def _step(model: Any, optimizers: Optimizers) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizers.step(1.0)


def make_state(random: Random) -> bytes:
    """A state as training saves it."""
    if random.random() < 0.7:
        return make_torch(random, _states())
    content = torch.load(io.BytesIO(random.choice(_states())), weights_only=True)
    part = random.choice(("optimizers", "optimizers", *sorted(content)))
    return saved({**content, part: change_json(random, content[part], _TENSORS)})


def read_state(path: Path) -> bool:
    """Resume from a state, and do a step."""
    state = State.load(path)
    model, options = copy.deepcopy(_run()[0]), _run()[1]
    optimizers = Optimizers(model, options)
    with undamaged(path):
        model.load_state_dict(state.average)
        model.load_state_dict(state.model)
        optimizers.load(state.optimizers)
    _step(model, optimizers)
    return True
