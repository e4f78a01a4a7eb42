"""The safetensors format: its header, read without torch, and a writer with reproducible bytes.

Layout: 8 bytes little-endian header length, a JSON header (tensor name → dtype, shape, byte range; and
``__metadata__``, text → text), then the numbers. https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error

MAX_HEADER = 16 << 20
"""Most bytes of a header; a VidTwin's has tens of kilobytes."""
_MAX_RANK, _MAX_SIZE = 16, 1 << 63
_SIZES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
_SIZES |= {"F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1}
_WRITTEN = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int32": "I32"}


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
    """Read and check a header: every length against the file's size before anything is allocated.

    Raises:
        VidtwinError: the file is not a safetensors file, truncated, or inconsistent.
    """
    check_file(path)
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            start = stream.read(9)
            length = struct.unpack("<Q", start[:8])[0] if len(start) == 9 else 0
            if not 2 <= length <= MAX_HEADER or start[8:] != b"{":
                raise VidtwinError(
                    f"{path}: not a checkpoint (neither safetensors nor a PyTorch file)",
                    "weights are .safetensors or .ckpt files",
                )
            if length > size - 8:
                raise _truncated(path, size, 8 + length)
            stream.seek(8)
            text = stream.read(length)
    except OSError as error:
        raise explain_os_error(error, path) from error
    try:
        metadata, tensors, end = _parse(text)
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        raise VidtwinError(f"{path}: its safetensors header is damaged", "get the file again") from error
    if size < 8 + length + end:
        raise _truncated(path, size, 8 + length + end)
    if size > 8 + length + end:
        raise VidtwinError(f"{path}: has {size - 8 - length - end} bytes too many; it is damaged", "get the file again")
    return SafetensorsHeader(metadata, tensors)


def _truncated(path: Path, size: int, expected: int) -> VidtwinError:
    return VidtwinError(f"{path}: truncated: {size} of at least {expected} bytes are there", "get the file again")


def _parse(text: bytes) -> tuple[dict[str, str], dict[str, TensorEntry], int]:
    header = json.loads(text)
    metadata = header.pop("__metadata__", {})
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("metadata must be text")
    tensors: dict[str, TensorEntry] = {}
    ranges: list[tuple[int, int]] = []
    for name, entry in header.items():
        shape, (start, end) = tuple(entry["shape"]), entry["data_offsets"]
        if not all(type(number) is int and number >= 0 for number in (*shape, start, end)):
            raise ValueError("sizes must be whole numbers")
        if len(shape) > _MAX_RANK or max((*shape, end), default=0) >= _MAX_SIZE:
            raise ValueError("sizes must be those of a tensor")
        if end - start != math.prod(shape) * _SIZES[entry["dtype"]]:
            raise ValueError("a byte range does not fit its shape")
        tensors[name] = TensorEntry(entry["dtype"], shape)
        ranges.append((start, end))
    position = 0
    for start, end in sorted(ranges):
        if start != position:
            raise ValueError("byte ranges must follow each other")
        position = end
    return metadata, tensors, position


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
        end = position + math.prod(shape) * _SIZES[_WRITTEN[dtype]]
        header[name] = {"dtype": _WRITTEN[dtype], "shape": list(shape), "data_offsets": [position, end]}
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
