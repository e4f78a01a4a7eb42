"""Everything a run needs to go on where it stopped, in one file that is always whole."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import atomic_path

VERSION = 1


@dataclass
class State:
    """A run between two steps. What is random follows from the seed and the step, so no generator is kept.

    Attributes:
        step: steps done.
        seconds: time they took, evaluations included.
        options: :meth:`~vidtwin_codec.training.options.TrainOptions.to_json` of the run.
        config: of the network, as a dictionary.
        footage: fingerprint of what it trains on.
        model, average: the network's tensors by name, and their moving average.
        optimizers: each optimiser's own state.
        rate: tensors of the model of the rate, if there is one.
    """

    step: int
    seconds: float
    options: dict[str, Any]
    config: dict[str, Any]
    footage: str
    model: dict[str, Any]
    average: dict[str, Any]
    optimizers: list[dict[str, Any]]
    rate: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it under its name when complete.

        Raises:
            VidtwinError: the disk is full or the folder cannot be written.
        """
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            torch.save({"version": VERSION, **{key: getattr(self, key) for key in self.__dataclass_fields__}}, stream)

    @classmethod
    def load(cls, path: Path) -> State:
        """Read it; tensors come to the CPU, and nothing in the file is executed.

        Raises:
            VidtwinError: there is none, or it cannot be read.
        """
        try:
            values = torch.load(path, map_location="cpu", weights_only=True)
            version = values.pop("version")
        except FileNotFoundError as error:
            raise VidtwinError(f"{path}: no state to resume from", "leave --resume out to start a new run") from error
        except (OSError, RuntimeError, EOFError, KeyError, AttributeError, pickle.UnpicklingError) as error:
            raise VidtwinError(f"{path}: the state is damaged", "pass --force to start anew") from error
        if version != VERSION:
            raise VidtwinError(f"{path}: a state of version {version}; this vidtwin resumes version {VERSION}")
        return cls(**values)
