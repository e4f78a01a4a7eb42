"""Changes to safetensors files, whose header is made right again."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from random import Random
from typing import Any

from tools.fuzz.changes import INTEGERS, change_bytes, change_json, to_text

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}

_DTYPES = (*_BYTES, "F8_E4M3", "C64", "", "f32")

_MOST_DATA = 4 << 20

Tensors = tuple[dict[str, Any], bytes]
"""The header of a safetensors file, and its numbers."""


def make_safetensors(random: Random, samples: Sequence[bytes]) -> bytes:
    """A safetensors file that was changed: its header, the JSON within its metadata, its numbers, or its bytes."""
    data = random.choice(samples)
    kind = random.randrange(10)
    if kind == 0:
        return change_bytes(random, data, samples)
    header, numbers = _apart(data)
    if kind == 1:
        other, more = _apart(random.choice(samples))
        header = {**header, **dict(random.sample(sorted(other.items()), random.randint(1, len(other))))}
        numbers = random.choice((numbers, more))
    elif kind <= 5:
        _change_metadata(random, header)
    elif kind == 6:
        header = change_json(random, header)
    elif kind == 7:
        numbers = change_bytes(random, numbers)
    else:
        _resize(random, header)
    if random.random() < 0.8:
        numbers = _lay_out(header, numbers)
    text = to_text(random, header)
    length = len(text) if random.random() < 0.97 else random.choice(INTEGERS) % (1 << 64)
    return struct.pack("<Q", length) + text + numbers


def _apart(data: bytes) -> Tensors:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _change_metadata(random: Random, header: dict[str, Any]) -> None:
    """Change the JSON within the metadata's texts."""
    metadata = header.setdefault("__metadata__", {})
    if not metadata:
        return
    key = random.choice(sorted(metadata))
    try:
        value = json.loads(metadata[key])
    except ValueError:
        metadata[key] = change_bytes(random, metadata[key].encode()).decode("utf-8", "replace")
        return
    changed = change_json(random, value)
    metadata[key] = to_text(random, changed).decode("utf-8", "replace")


def _resize(random: Random, header: dict[str, Any]) -> None:
    for name in random.sample(sorted(header), min(len(header), random.choice((1, 1, 3)))):
        entry = header[name]
        if "shape" not in entry:
            continue
        shape = entry["shape"]
        kind = random.randrange(5)
        if kind == 0:
            entry["dtype"] = random.choice(_DTYPES)
        elif kind == 1 and shape:
            shape[random.randrange(len(shape))] = random.choice((0, 1, 2, 3, 7, 64, 1000, 1 << 31, 1 << 62))
        elif kind == 2:
            entry["shape"] = shape[::-1]
        elif kind == 3:
            entry["shape"] = random.choice(([], [1, *shape], [*shape, 1], shape[1:], [1] * 65))
        else:
            header[random.choice(("a", "encoder.a", name + "#places", name + "#values", name[:-1]))] = header.pop(name)


def _lay_out(header: dict[str, Any], numbers: bytes) -> bytes:
    """Give each tensor the place that its shape and type need, as the library wants it; return so many numbers."""
    position = 0
    for name, entry in header.items() if isinstance(header, dict) else ():
        if name == "__metadata__" or not isinstance(entry, dict):
            continue
        shape, size = entry.get("shape"), _BYTES.get(str(entry.get("dtype")))
        if size is None or not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
            continue
        end = position + size * math.prod(shape)
        if end <= _MOST_DATA:
            entry["data_offsets"] = [position, end]
            position = end
    return numbers[:position].ljust(position, b"\0")
