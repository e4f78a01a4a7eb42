"""Checkpoints that can be had from the Hugging Face hub, by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remote:
    """A checkpoint on the hub."""

    repository: str
    file: str
    description: str
    origin: str


SHARED_FILE = "vidtwin.safetensors"
"""What weights are called in a repository of their own."""

FETCHABLE = {
    "base": Remote(
        "microsoft/vidtwin",
        "checkpoints/vidtwin_structure_7_7_8_dynamics_7_8.ckpt",
        "the released VidTwin, 313 M parameters",
        "https://huggingface.co/microsoft/vidtwin (MIT licence)",
    )
}
