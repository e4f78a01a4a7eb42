"""Checkpoints that can be fetched from the Hugging Face hub, by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Remote:
    """A checkpoint on the hub.

    Attributes:
        repository: owner and name of the repository.
        file: path of the file in the repository.
        description: description in a few words.
        origin: origin that is noted in the weights.
    """

    repository: str
    file: str
    description: str
    origin: str


SHARED_FILE = "vidtwin.safetensors"
"""Name of a weights file in a repository of its own."""

FETCHABLE = {
    "base": Remote(
        "microsoft/vidtwin",
        "checkpoints/vidtwin_structure_7_7_8_dynamics_7_8.ckpt",
        "the released VidTwin, 313 M parameters",
        "https://huggingface.co/microsoft/vidtwin (MIT licence)",
    )
}


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep the hub library's own bars away, where progress is told otherwise."""
    try:
        from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    except ImportError:  # what needs the library says so
        yield
        return
    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
