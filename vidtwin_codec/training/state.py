"""The state of a run, with everything that resuming needs, in one file that is always complete."""

from __future__ import annotations

import contextlib
import math
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import atomic_path
from vidtwin_codec.model.torchfile import DAMAGE

VERSION = 1


@dataclass
class State:
    """The state of a run between two steps; random numbers follow from seed and step, so no generator is stored.

    Attributes:
        step: number of steps done.
        seconds: time they took, evaluations included.
        options: :meth:`~vidtwin_codec.training.options.TrainOptions.to_json` of the run.
        config: configuration of the network, as a dictionary.
        footage: fingerprint of the training footage.
        model: the network's tensors by name.
        average: moving average of these tensors.
        optimizers: state of each optimiser.
        rate: tensors of the rate model, if there is one.
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
        """Write the state, which appears under its name once it is complete.

        Raises:
            VidtwinError: the disk is full or the folder cannot be written.
        """
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            torch.save({"version": VERSION, **{key: getattr(self, key) for key in self.__dataclass_fields__}}, stream)

    @classmethod
    def load(cls, path: Path) -> State:
        """Read a state, with tensors on the CPU and without executing anything in the file.

        Raises:
            VidtwinError: there is no such file, or it cannot be read.
        """
        with undamaged(path):
            try:
                with zipfile.ZipFile(path) as archive:
                    torn = archive.testzip()  # torch does not look at checksums
            except FileNotFoundError as error:
                hint = "leave --resume out to start a new run"
                raise VidtwinError(f"{path}: no state to resume from", hint) from error
            if torn is not None:
                raise ValueError(f"{torn} is not what was written")
            with warnings.catch_warnings(action="ignore"):  # torch warns of what it meets before it refuses it
                values = torch.load(path, map_location="cpu", weights_only=True)
            version = values.pop("version")
            if type(version) is not int:
                raise ValueError("its version is no number")
            if version != VERSION:
                raise VidtwinError(f"{path}: a state of version {version}; this vidtwin resumes version {VERSION}")
            state = cls(**values)
            state._check()
        return state

    def _check(self) -> None:
        """Make sure that a state that was read is one.

        Raises:
            ValueError: an entry is of another type.
        """
        seconds = type(self.seconds) in (int, float) and 0 <= self.seconds < math.inf
        if type(self.step) is not int or self.step < 0 or not seconds or not isinstance(self.footage, str):
            raise ValueError("step, seconds or footage are of another type")
        for values in (self.options, self.config, self.model, self.average, self.rate, *self.optimizers):
            if not isinstance(values, dict):
                raise ValueError("something that should have names is of another type")


@contextlib.contextmanager
def undamaged(path: Path) -> Iterator[None]:
    """Within, all that damaged bytes make torch and Python raise becomes one clear error.

    Args:
        path: the state's file.

    Raises:
        VidtwinError: something was raised.
    """
    try:
        yield
    except VidtwinError:
        raise
    except (OSError, AssertionError, *DAMAGE) as error:
        raise VidtwinError(f"{path}: the state is damaged", "pass --force without --resume to start anew") from error
