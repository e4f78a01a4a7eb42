"""Changes to bytes and to JSON, drawn from a random generator."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

INTEGERS = (0, 1, 2, 3, 7, 16, 127, 255, 256, 4096, 65535, 65536, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, -1)
"""Where counts, signs and widths change."""
_VALUES: tuple[Any, ...] = (
    *INTEGERS, -(1 << 31), 1 << 63, 1 << 64, 10**30, -0.0, 0.5, 1e308, float("nan"), float("inf"), None, True, False,
    "", "a", "-1", "../a", "\x1b[2J", "\ud800", "é" * 2000, [], [0], [[]], {}, {"": 0},
)  # fmt: skip
_MOST_GROWTH = 4096


def change_bytes(random: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Return ``data`` with one to four changes; ``others`` are what parts may come from."""
    found = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        change = random.choice(_CHANGES)
        change(random, found, others)
    return bytes(found)


def _flip(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    for _ in range(random.choice((1, 1, 2, 8))):
        if data:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _overwrite(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    at, size = random.randrange(len(data) + 1), random.randint(1, 64)
    data[at : at + size] = random.randbytes(size)[: len(data) - at]


def _number(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    size = random.choice((1, 2, 4, 8))
    if len(data) >= size:
        at = random.randrange(len(data) - size + 1)
        value: int = random.choice(INTEGERS) + random.choice((0, 0, 1, -1))
        data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, random.choice(("little", "little", "big")))


def _truncate(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    del data[random.randrange(len(data) + 1) :]


def _delete(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    del data[at : at + random.choice((1, 4, random.randint(1, 300)))]


def _insert(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    size = random.choice((1, 4, 30, 300, _MOST_GROWTH))
    piece = random.choice((random.randbytes(size), bytes(size), b"\xff" * size))
    at = random.randrange(len(data) + 1)
    data[at:at] = piece


def _repeat(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    piece = data[at : at + random.randint(1, 200)]
    data[at:at] = piece * random.choice((1, 2, 20))


def _splice(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = random.choice(others) if others else bytes(data)
    at, start = random.randrange(len(data) + 1), random.randrange(len(other) + 1)
    if random.random() < 0.5:
        data[at:] = other[start:]
    else:
        size = random.randint(1, 500)
        data[at : at + size] = other[start : start + size]


_CHANGES: tuple[Callable[[Random, bytearray, Sequence[bytes]], None], ...] = (
    *(_flip, _overwrite, _number, _number, _truncate, _delete, _insert, _repeat, _splice),
)


def change_json(random: Random, value: Any, values: Sequence[Any] = ()) -> Any:
    """Return a copy of a tree of lists and dictionaries with one to three changes, anywhere in it.

    Places get values that are seldom expected there, of JSON and of ``values``.
    """
    root = [copy.deepcopy(value)]
    for _ in range(random.choice((1, 1, 2, 3))):
        places = _places(root)
        holder, key = random.choice(places)
        _change_place(random, holder, key, places, (*_VALUES, *values))
    return root[0]


def _places(holder: Any) -> list[tuple[Any, Any]]:
    """All places of a tree, as what holds them and the key there."""
    found: list[tuple[Any, Any]] = []
    waiting = [holder]
    while waiting:
        one = waiting.pop()
        keys: list[Any] = list(one) if isinstance(one, dict) else list(range(len(one)))
        for key in keys[:200]:
            found.append((one, key))
            if isinstance(one[key], dict | list):
                waiting.append(one[key])
    return found


def _change_place(random: Random, holder: Any, key: Any, places: list[tuple[Any, Any]], values: Sequence[Any]) -> None:
    value, kind = holder[key], random.randrange(8)
    if kind == 0 and isinstance(holder, dict):
        del holder[key]
    elif kind == 1 and isinstance(value, list):
        holder[key] = random.choice((value * 2, value[:-1], [*value, random.choice(INTEGERS)], value * 300, [value]))
    elif kind == 2 and isinstance(value, dict):
        value[random.choice(("", "a", "patterns", "camera", "audio"))] = random.choice(values)
    elif kind <= 4 and isinstance(value, int) and not isinstance(value, bool):
        holder[key] = random.choice((value + 1, value - 1, 2 * value, -value, value // 2, random.choice(INTEGERS)))
    elif kind == 5:
        other, name = random.choice(places)
        if name in other if isinstance(other, dict) else name < len(other):
            holder[key] = copy.deepcopy(other[name])
    elif kind == 6 and isinstance(value, str) and value:
        holder[key] = change_bytes(random, value.encode("utf-8", "replace")).decode("utf-8", "replace")
    else:
        holder[key] = random.choice(values)


def to_text(random: Random, value: Any) -> bytes:
    """JSON as bytes; sometimes nested deeply, or no JSON at all."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    kind = random.randrange(40)
    if kind == 0:
        return change_bytes(random, text)
    if kind == 1:
        return text.replace(b"{}", b"[" * 3000 + b"]" * 3000)
    return text
