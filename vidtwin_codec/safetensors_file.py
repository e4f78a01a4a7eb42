"""The safetensors format: its header, read without torch, and a writer with reproducible bytes.

Layout: 8 bytes little-endian header length, a JSON header (tensor name → dtype, shape, byte range; and
``__metadata__``, text → text), then the numbers. https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import math
import stat
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error

_WRITTEN = {"float32": ("F32", 4), "float16": ("F16", 2), "bfloat16": ("BF16", 2), "int32": ("I32", 4)}
"""Dtypes by safetensors' name, and bytes of a number."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of the header: its dtype by safetensors' name, and its shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SafetensorsHeader:
    """The header of a safetensors file."""

    metadata: dict[str, str]
    tensors: dict[str, TensorEntry]


def check_file(path: Path) -> Path:
    """Return ``path`` if it is a file that can be opened and is not empty.

    Raises:
        VidtwinError: the file is missing, unreadable or empty, or not a file.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise VidtwinError(f"{path}: is a directory, not a weights file")
        if not stat.S_ISREG(status.st_mode):
            raise VidtwinError(f"{path}: not a regular file")
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            raise explain_os_error(error, path) from error
        raise VidtwinError(f"{path!r}: not a file name") from error
    if status.st_size == 0:
        raise VidtwinError(f"{path}: is empty")
    return path


def read_header(path: Path) -> SafetensorsHeader:
    """Read a header, which the library checks against the file's size.

    Raises:
        VidtwinError: the file is not a safetensors file, truncated, or inconsistent.
    """
    check_file(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(9)
        if start[8:] != b"{":
            raise VidtwinError(
                f"{path}: not a checkpoint (neither safetensors nor a PyTorch file)",
                "weights are .safetensors or .ckpt files",
            )
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            tensors = {name: TensorEntry(part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
            return SafetensorsHeader(file.metadata() or {}, tensors)
    except OSError as error:
        raise explain_os_error(error, path) from error
    except SafetensorError as error:
        raise VidtwinError(f"{path}: its safetensors are truncated or damaged", "get the file again") from error


def write_safetensors(
    path: Path,
    metadata: Mapping[str, str],
    layout: Sequence[tuple[str, str, tuple[int, ...]]],
    numbers: Iterable[bytes],
) -> None:
    """Write a file whose bytes depend on its contents alone (the safetensors library orders metadata at random).

    Args:
        path: the file to write.
        metadata: text by name.
        layout: tensor name, dtype (``float32``, ``float16``, ``bfloat16``, ``int32``) and shape, in file order.
        numbers: each tensor's bytes, little-endian, in the same order.

    Raises:
        OSError: the file cannot be written.
    """
    start, _ = build_header(metadata, layout)
    with path.open("wb") as stream:
        stream.write(start)
        for data in numbers:
            stream.write(data)


def build_header(
    metadata: Mapping[str, str], layout: Sequence[tuple[str, str, tuple[int, ...]]]
) -> tuple[bytes, list[int]]:
    """Return everything before the numbers, and the position of each tensor in the file.

    The arguments are those of `write_safetensors`.
    """
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    starts, position = [], 0
    for name, dtype, shape in layout:
        written, size = _WRITTEN[dtype]
        end = position + math.prod(shape) * size
        header[name] = {"dtype": written, "shape": list(shape), "data_offsets": [position, end]}
        starts.append(position)
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the numbers start at a multiple of 8 bytes
    return struct.pack("<Q", len(text)) + text, [8 + len(text) + start for start in starts]


def is_torch_file(path: Path) -> bool:
    """Return whether a file begins like one of ``torch.save``: a ZIP archive or a pickle."""
    with path.open("rb") as stream:
        start = stream.read(9)
    # safetensors begin with the header's length, whose first byte may be a pickle's, and then have the header's brace
    return start[:2] == b"PK" or (start[:1] == b"\x80" and start[8:] != b"{")
