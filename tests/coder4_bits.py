"""Coder 4's contexts, weights and arithmetic decoder, one decision at a time, from docs/FORMAT.md alone."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

L7, L5, L4 = (0, 1, 2, 3, 5, 9, 17), (0, 1, 3, 6, 12), (0, 1, 3, 7)
L12 = (0, 1, 2, 3, 4, 6, 9, 13, 20, 30, 45, 70)
RINGS = (4, 8, 12, 16, 24, 32, 44, 56, 72, 88, 108, 128)
COARSE = (0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5)
TABLES = {
    "zero": [
        *((24, 7, 5), (24, 13, 5), (4, 4, 4, 3, 3, 3), (6, 3072), (24, 4, 4, 4)),
        *((3, 3, 3, 6, 6, 3), (12, 12, 6, 2), (5, 5, 5, 5, 2)),
    ],
    "more": [
        *((14, 24), (14, 7, 3), (14, 7, 11), (14, 18, 3), (14, 3, 6, 6), (4, 4, 4, 11), (6, 12, 12)),
        (4, 5, 5, 5, 5),
    ],
    "band": [(24, 5, 5), (24, 5, 5), (117, 6, 3), (4, 3, 2, 4, 12), (3, 3, 3, 3, 3, 3), (3, 4, 4, 13)],
    "reach": [(16, 3, 16), (5, 5, 5, 3, 2), (5, 5, 5, 3, 2), (16, 5, 5, 3), (24, 5, 6), (5, 5, 5, 3, 8)],
    "slot": [(16, 3, 2), (16, 4, 2), (2, 2, 2, 2, 4, 2), (24, 7), (5, 5, 5), (5, 5, 6)],
}
SIGNS = [(6, 3, 11), (16, 11, 11), (3, 3, 3, 3, 6), (3, 3, 3, 6), (6, 3, 11), (6, 2, 11), (3, 3, 3, 11), (3072, 3)]
L6 = (0, 1, 3, 6, 12, 24)
WEIGHTS = [(24, 2, 3), (4, 4, 3), (14,), (6, 3), (24,), (4, 4), (16, 3), (6, 2), (16,), (4,), (1,), (1,)]
WEIGHTS += [(6, 3, 6), (24, 2), (6, 3), (5, 5), (3, 2)]
WEIGHTS += [(16,), (6, 2), (6, 3)]
SETS = {
    "zero": (0, 1, 12),
    "more": (2, 3, 13),
    "band": (4, 5, 14),
    "reach": (6, 7, 15),
    "slot": (8, 9, 16),
    "sign": (17, 18, 19),
}
TABLES["sign"] = SIGNS  # the last of all


def measure(u: int, v: int) -> int:
    return 4 * (u + v) + min(u, v)


def level(starts: Sequence[int], value: int) -> int:
    return bisect_right(starts, value) - 1


def place_in(sizes: Sequence[int], values: Iterable[int]) -> int:
    """Number within a table, each value kept below its size."""
    number = 0
    for size, value in zip(sizes, values, strict=True):
        number = number * size + min(value, size - 1)
    return number


def starts_of(tables: Sequence[Sequence[int]], first: int = 0) -> list[int]:
    starts = [first]
    for sizes in tables:
        starts.append(starts[-1] + math.prod(sizes))
    return starts


class Coder:
    """Contexts, weights and the arithmetic decoder."""

    def __init__(self, body: bytes, prior: Path) -> None:
        with np.load(prior) as data:
            self.sizes = data["sizes"].tolist()
            self.p = [chance << 6 for chance in data["chances"].tolist()]
            self.n = data["counts"].tolist()
            self.w = data["weights"].tolist()
        self.starts, at = {}, 0
        for name, tables in list(TABLES.items())[:-1]:
            *self.starts[name], at = starts_of(tables, at)
        self.flags = at
        self.escapes = at + 128
        self.dynamics = at + 160
        self.weights_at = starts_of(WEIGHTS)
        self.motion = at + 672
        *self.starts["sign"], end = starts_of(SIGNS, at + 928)
        assert len(self.p) == end
        assert len(self.w) == 8 * self.weights_at[-1]
        exact = [65536 / (1 + math.exp(-x / 256)) for x in range(-3071, 3072)]
        self.squash = [max(8, min(65528, round(value))) for value in exact]
        self.stretch = [min(bisect_right(exact, 16 * j + 8 - 1e-9), 6142) - 3071 for j in range(4096)]
        self.body, self.at = body, 5
        self.low, self.high = 0, 2**40 - 1
        self.v = int.from_bytes(body[:5].ljust(5, b"\0"), "big")

    def bit(self, chance: int) -> int:
        middle = self.low + ((self.high - self.low) * chance >> 16)
        y = int(middle >= self.v)
        if y:
            self.high = middle
        else:
            self.low = middle + 1
        while self.low >> 32 == self.high >> 32:
            self.low, self.high = self.low % 2**32 * 256, self.high % 2**32 * 256 + 255
            self.v = self.v % 2**32 * 256 + (self.body[self.at] if self.at < len(self.body) else 0)
            self.at += 1
        return y

    def decide(self, contexts: Sequence[int], sets: Sequence[int]) -> int:
        s = [self.stretch[self.p[i] >> 10] for i in contexts]
        x = sum(s[i] * sum(self.w[8 * k + i] for k in sets) for i in range(8)) >> 16
        chance = self.squash[max(-3071, min(3071, x)) + 3071]
        y = self.bit(chance)
        for i, c in enumerate(contexts):
            self.p[c] += (y * 2**22 - self.p[c]) * (131072 // (2 * self.n[c] + 3)) >> 16
            self.n[c] += self.n[c] < 127
            d = s[i] * (65536 * y - chance) * 16 + 2**19 >> 20
            for k in sets:
                self.w[8 * k + i] += d
        return y

    def choose(self, name: str, contexts: Sequence[Sequence[int]], sets: Sequence[Sequence[int]]) -> int:
        numbers = [
            start + place_in(sizes, values)
            for start, sizes, values in zip(self.starts[name], TABLES[name], contexts, strict=True)
        ]
        numbers = (numbers + numbers[:2])[:8]
        which = [self.weights_at[k] + place_in(WEIGHTS[k], values) for k, values in zip(SETS[name], sets, strict=True)]
        return self.decide(numbers, which)

    def other(self, contexts: Sequence[int]) -> int:
        return self.decide(contexts, [self.weights_at[10], self.weights_at[11], self.weights_at[11]])

    def rest(self) -> int:
        e = 0
        while e < 25 and self.other([self.escapes + e] * 8):
            e += 1
        value = 1
        for _ in range(e):
            value = 2 * value + self.bit(32768)
        return value - 1

    def finish(self) -> None:
        for count in range(6):
            unit = 2 ** (40 - 8 * count)
            value = -(-self.low // unit) * unit
            if value <= self.high:
                break
        assert self.body[self.at - 5 :] == value.to_bytes(5, "big")[:count]
