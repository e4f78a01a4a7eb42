"""Coder 4 read one decision at a time, written from docs/FORMAT.md alone: what it says must be enough."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

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


class Canvas(NamedTuple):
    """Rows, columns, top and left in patches; each frame's place in pixels, from where top and left are counted."""

    canvas: list[int]
    path: list[tuple[int, int]]
    moved: bool

    def corners(self, size: int) -> list[tuple[int, int]]:
        return [(row - size * self.canvas[2], column - size * self.canvas[3]) for row, column in self.path]


class Record:
    """What is kept of a place: 0 wherever nothing was coded."""

    def __init__(self) -> None:
        self.magnitudes: dict[tuple[int, int, int, int], int] = {}
        self.bands: dict[tuple[int, int], int] = {}
        self.reach: dict[tuple[int, int], int] = {}
        self.total: dict[int, int] = {}
        self.flags = [0, 0]
        self.there = 0

    def size(self, slot: int, colour: int, u: int, v: int) -> int:
        return self.magnitudes.get((slot, colour, u, v), 0)


class Reader:
    """One tile of one group."""

    def __init__(self, coder: Coder, steps: Sequence[int], slots: int, size: int, counts: Sequence[int]) -> None:
        self.c, self.steps, self.slots, self.size = coder, steps, slots, size
        grid = [(u, v) for u in range(size) for v in range(size)]
        zonal = sorted(grid, key=lambda uv: (measure(*uv), uv[0]))
        self.channels = [(colour, u, v) for colour in range(3) for u, v in zonal[: counts[colour]]]
        self.number_of = {channel: n for n, channel in enumerate(self.channels)}
        self.starts = [round(64 * math.cos(math.pi * slot / 2 / slots)) for slot in range(slots)]
        first, other = ((8 + step % 8) * 2 ** (step // 8) for step in steps)
        self.starts[0] = min(1023, (181 * first + 2 * other) // (4 * other))
        self.order: dict[int, dict[int, dict[int, list[int]]]] = {}
        for number, (colour, u, v) in enumerate(self.channels):
            ring = level((0, *RINGS), measure(u, v) * 32 // size)
            sector = 0 if ring < 4 or v >= 2 * u else 1 if u >= 2 * v else 2
            bands = self.order.setdefault(colour, {}).setdefault(ring, {})
            bands.setdefault(sector, []).append(number)

    def expected(self, slot: int, band: int) -> int:
        return min(23, max(0, (self.c.sizes[min(slot, 15)][band] - self.steps[slot > 0] + 40) >> 2))

    def place(
        self,
        around: Sequence[Record],
        past: Sequence[Record],
        symbols: Sequence[list[list[int]] | None],
        known: int,
        guesses: Sequence[int],
        slot0: list[int],
        ends: list[int],
    ) -> tuple[Record, list[list[int]]]:
        """Record and symbols of a place.

        ``symbols``: of left and up. ``slot0``, ``ends``: of the clip before, its slot 0 and where it ended.
        """
        self.symbols = symbols
        self.left, self.up, self.up_left, self.up_right = around
        self.past, self.right, self.below = past
        self.own, self.known = Record(), known
        own = self.own
        own.there = 1
        values = [[0] * len(self.channels) for _ in range(self.slots)]
        own.flags[0] = self.flag(0)
        if own.flags[0]:
            own.flags[1] = known
        else:
            own.flags[1] = self.flag(1) if known else 0
            self.begin(guesses, slot0, ends)
            for slot in range(self.slots):
                self.slot(slot, values)
        for number, (colour, u, v) in enumerate(self.channels):
            if own.flags[1]:
                values[0][number] += slot0[number]
            elif u == v == 0:
                values[0][number] += guesses[colour]
        return own, values

    def begin(self, guesses: Sequence[int], slot0: list[int], ends: list[int]) -> None:
        count = len(self.channels)
        self.before = [clip14(x) for x in slot0] if self.known else [0] * count
        self.missing = [0] * count
        for n, (colour, u, v) in enumerate(self.channels if self.known else []):
            guess = slot0[n] if self.own.flags[1] else guesses[colour] if u == v == 0 else 0
            self.missing[n] = ends[n] - self.starts[0] * clip14(guess)

    def ends(self, symbols: list[list[int]]) -> list[int]:
        signs = [(-1) ** slot * start for slot, start in enumerate(self.starts)]
        return [sum(a * clip14(b) for a, b in zip(signs, column, strict=True)) for column in zip(*symbols, strict=True)]

    def sign(self, slot: int, group: int, n: int, d: int, p: int, values: list[list[int]]) -> int:
        colour, u, v = self.channels[n]
        left, up = (0 if near is None else kind(near[slot][n]) for near in self.symbols)
        if not (d or p or left or up):
            return self.c.bit(32768)

        def at(slot: int, colour: int, u: int, v: int) -> int:
            n = self.number_of.get((colour, u, v))
            return 0 if n is None or slot < 0 else kind(values[slot][n])

        row, column = (32 * w // self.size for w in (u, v))
        third = self.own.flags[1] if slot == 0 else 2
        coarse = COARSE[level((0, *RINGS), measure(u, v) * 32 // self.size)]
        contexts = [
            (group, third, 5 + d),
            (slot, 5 + p, 5 + d),
            (row and 1 + row % 2, column and 1 + column % 2, left, up, group),
            (at(slot - 2, colour, u, v), at(slot - 1, colour, u, v - 1), at(slot - 1, colour, u, v + 1), group),
            (coarse, third, 5 + d),
            (group, self.known, 5 + p),
            (colour, *(at(slot, other, u, v) if other < colour else 0 for other in (0, 1)), 5 + d),
            ((colour * 32 + row) * 32 + column, kind(d)),
        ]
        return self.c.choose("sign", contexts, [(slot,), (abs(d), int(third == 1)), (coarse, colour)])

    def flag(self, which: int) -> int:
        left, up, up_left, up_right, past, right, below = (
            r.flags[which] for r in (self.left, self.up, self.up_left, self.up_right, self.past, self.right, self.below)
        )
        first, around = self.c.flags + 64 * which, right + below
        a = first + 50 + self.known
        return self.c.other(
            [
                first + place_in((2, 2, 2), (left, up, past)),
                first + 8 + place_in((2, 2, 2, 2), (up_left, up_right, left, up)),
                first + 24 + place_in((2, 3), (past, around)),
                first + 30 + place_in((5, 2, 2), (left + up + up_left + up_right, past, self.known)),
                a,
                first + 52 + place_in((3, 2, 2), (left + up, past + around > 1, self.known)),
                a,
                a,
            ]
        )

    def slot(self, slot: int, values: list[list[int]]) -> None:
        left, up, up_left, up_right, past, right, below = (
            r.total.get(slot, 0)
            for r in (self.left, self.up, self.up_left, self.up_right, self.past, self.right, self.below)
        )
        b, b2 = self.own.total.get(slot - 1, 0), self.own.total.get(slot - 2, 0)
        group = level((0, 1, 2, 4, 7, 11), slot)
        first = min(self.order)
        ring = min(self.order[first])
        e = self.expected(slot, (first * 13 + ring) * 3 + min(self.order[first][ring]))
        sides, lower = (left > 0) + (up > 0), 2 * (b > 0) + (b2 > 0)
        a5 = level(L5, past)
        contexts = [
            (slot, sides, past),
            (slot, lower, past),
            (left, up, up_left, up_right, lower, past),
            (e, level(L7, left + up + past)),
            (level(L5, 2 * b + b2), level(L5, left + up + (up_left + up_right) // 2), a5),
            (a5, level(L5, right + below), group),
        ]
        if not self.c.choose("slot", contexts, [(slot,), (lower,), (sides, past)]):
            return
        total = 0
        for colour in self.order:
            must = colour == max(self.order) and total == 0
            total += self.colour(slot, group, colour, must, values)
        self.own.total[slot] = min(total, 60)

    def colour(self, slot: int, group: int, colour: int, must: bool, values: list[list[int]]) -> int:
        left, up, up_left, up_right, past = (
            r.reach.get((slot, colour), 0) for r in (self.left, self.up, self.up_left, self.up_right, self.past)
        )
        b, b2 = (self.own.reach.get((slot - k, colour), 0) for k in (1, 2))
        o = self.own.reach.get((slot, 0), 0) if colour else 0
        rings = list(self.order[colour].items())
        k = 0
        while k < len(rings):
            ring, bands = rings[k]

            def d(reach: int, k: int = k) -> int:
                return min(4, max(0, reach - k + 1))

            begin, near = int(k == 0), d(max(left, up))
            contexts = [
                (k, colour, slot),
                (d(left), d(up), d(b), colour, begin),
                (d(past), d(b), d(o), colour, begin),
                (k, near, d(past), colour),
                (self.expected(slot, (colour * 13 + ring) * 3 + min(bands)), d(b), group),
                (d(up_left), d(up_right), d(b2), colour, k),
            ]
            if not (must and k == 0) and not self.c.choose(
                "reach", contexts, [(k, colour), (group, self.known), (near, d(b))]
            ):
                break
            k += 1
        self.own.reach[slot, colour] = reach = k
        total = 0
        for number, (ring, bands) in enumerate(rings[:reach]):
            some = 0
            for sector in sorted(bands):
                last = number == reach - 1 and sector == max(bands) and not some
                band = (colour * 13 + ring) * 3 + sector
                if last or self.band(slot, group, band, reach - 1 - number, some):
                    some += self.numbers(slot, group, band, bands[sector], reach - 1 - number, values)
            total += some
        return total

    def band_values(self, slot: int, band: int) -> tuple[int, ...]:
        left, up, up_left, up_right, past = (
            r.bands.get((slot, band), 0) for r in (self.left, self.up, self.up_left, self.up_right, self.past)
        )
        ring, sector = band // 3 % 13, band % 3
        inner = band - 3 if ring > 4 else band - 3 - sector
        i = self.own.bands.get((slot, inner), 0) if ring else 0
        return left, up, up_left + up_right, i, self.own.bands.get((slot - 1, band), 0), past

    def band(self, slot: int, group: int, band: int, beyond: int, some: int) -> int:
        left, up, corners, i, b, a = self.band_values(slot, band)
        colour, ring, sector = band // 39, band // 3 % 13, band % 3
        o = self.own.bands.get((slot, band % 39), 0) if colour else 0
        e, i5, b5 = self.expected(slot, band), level(L5, i), level(L5, b)
        contexts = [
            (e, level(L5, 2 * (left + up) + corners), i5),
            (e, b5, level(L5, a)),
            (band, group, (left > 0) + (up > 0)),
            (beyond, sector, some, i5, e // 2),
            (left, up, corners, b, a, colour),
            (o, b5, i5, ring),
        ]
        return self.c.choose("band", contexts, [(e,), (beyond, i5), (group, colour)])

    def numbers(
        self, slot: int, group: int, band: int, channels: list[int], beyond: int, values: list[list[int]]
    ) -> int:
        left, up, corners, i, b, a = self.band_values(slot, band)
        energy = (level(L5, 2 * (left + up) + corners), level(L5, i), level(L5, b), level(L5, a))
        e, ring, own = self.expected(slot, band), band // 3 % 13, self.own
        seen = total = 0
        for at, channel in enumerate(channels):
            colour, u, v = self.channels[channel]
            le, t, ul, ur = (r.size(slot, colour, u, v) for r in (self.left, self.up, self.up_left, self.up_right))
            c = ul + ur
            near = 2 * (le + t) + c
            low = 2 * (own.size(slot, colour, u - 1, v) + own.size(slot, colour, u, v - 1))
            low += sum(own.size(slot, colour, u - du, v - dv) for du, dv in ((1, 1), (2, 0), (0, 2)))
            time = self.five(own, slot - 1, colour, u, v) + own.size(slot - 2, colour, u, v)
            past = self.five(self.past, slot, colour, u, v)
            past += self.right.size(slot, colour, u, v) + self.below.size(slot, colour, u, v)
            others = sum(own.size(slot, each, u, v) for each in range(min(colour, 2)))
            third = own.flags[1] if slot == 0 else 2
            remaining = level((0, 3, 7, 17), len(channels) - at)
            near4, low4, past5 = level(L4, near), level(L4, low), level(L5, past)
            d = trend_level(abs(self.missing[channel]) // 16, self.missing[channel])
            p = 0 if slot else trend_level(4 * abs(self.before[channel]), self.before[channel])
            sums = (level(L12, low + near), level(L12, time + past))
            cell = (colour * 32 + 32 * u // self.size) * 32 + 32 * v // self.size
            contexts = [
                (e, level(L7, low), level(L5, near)),
                (e, level(L7, time) if slot else 7 + abs(p), past5),
                (near4, low4, level(L4, time), past5, others, colour),
                (group, cell),
                (e, beyond, seen, remaining),
                (le, t, c, abs(d), COARSE[ring], third),
                (*sums, abs(d), seen),
                (*energy, seen),
            ]
            sets = [(e, int(third == 1), (abs(d) + 1) // 2), (near4, low4, past5), (group, colour, COARSE[ring])]
            must = seen == 0 and at == len(channels) - 1
            if not must and not self.c.choose("zero", contexts, sets):
                continue
            sign = -1 if self.sign(slot, group, channel, d, p, values) else 1
            agree = 5 + sign * d
            k = 1
            while k <= 14:
                m = k - 1
                contexts = [
                    (m, e),
                    (m, level(L7, low), others),
                    (m, level(L7, near), agree),
                    (m, level(L7, time) if slot else 12 + sign * p, past5),
                    (m, colour, group, COARSE[ring]),
                    (m, near4, low4, agree),
                    (m, *sums),
                    (m, *energy),
                ]
                if not self.c.choose("more", contexts, [(m,), (group, colour), (e, m)]):
                    break
                k += 1
            if k == 15:
                k += self.c.rest()
            values[slot][channel] = sign * k
            if self.known:
                self.missing[channel] -= self.starts[slot] * clip14(sign * k)
            own.magnitudes[slot, colour, u, v] = min(k, 15)
            seen += 1
            total += min(k, 15)
        own.bands[slot, band] = min(total, 40)
        return seen

    @staticmethod
    def five(record: Record, slot: int, colour: int, u: int, v: int) -> int:
        around = ((-1, 0), (0, -1), (1, 0), (0, 1))
        return 2 * record.size(slot, colour, u, v) + sum(record.size(slot, colour, u + a, v + b) for a, b in around)


def kind(value: int) -> int:
    return 0 if value == 0 else 1 if value > 0 else 2


def clip14(value: int) -> int:
    return max(-(2**14), min(2**14, value))


def trend_level(quarters: int, sign: int) -> int:
    return level(L6, quarters) * (1 if sign > 0 else -1)


def read_lines(c: Coder, part: int, channels: int, frames: int, length: int, before: list[int]) -> list[int]:
    """Symbols of one of the dynamics of a tile."""
    first = c.dynamics + 256 * part
    result = []
    for channel in range(channels):
        b, h = before[channel], min(channel, 7)
        before[channel] = c.other([first + b, first + 2 + 2 * h + b] * 4)
        rows = [[0] * (length + 2) for _ in range(frames + 1)]
        did = 0
        for frame in range(frames if before[channel] else 0):
            some = c.other(line(first + 32 + 8 * did + h, first + 18 + did))
            did = did % 2 * 2 + some
            for i in range(1, length + 1 if some else 0):
                row, old = rows[frame + 1], rows[frame]
                near, t, corner, r = (min(7, abs(x)) for x in (row[i - 1], old[i], old[i - 1], old[i + 1]))
                s = level(L7, 2 * (near + t) + r + corner)
                zero = line(first + 64 + place_in((3, 3, 3), (near, t, r)), first + 96 + 8 * s + h, first + 160 + s)
                if not c.other(zero):
                    continue
                k = 1
                while k <= 14 and c.other(line(first + 192 + place_in((4, 7), (k - 1, s)), first + 219 + k)):
                    k += 1
                if k == 15:
                    k += c.rest()
                row[i] = -k if c.bit(32768) else k
        result += [x for row in rows[1:] for x in row[1:-1]]
    return result


def number(c: Coder, kind: int, last: int) -> int:
    """One of the differences of a canvas."""
    length = 0
    first = c.motion + 2
    while length < 24 and c.other([first + place_in((4, 5, 8), (kind, last.bit_length(), length))] * 8):
        length += 1
    if not length:
        return 0
    negative = c.other([first + 160 + 3 * kind + (0 if last == 0 else 1 if last > 0 else 2)] * 8)
    size = 1
    for i in range(length - 1):
        node = first + 172 + 3 * place_in((4, 6), (kind, length - 2)) + (0 if i == 0 else size - 1)
        size = 2 * size + (c.other([node] * 8) if i < 2 else c.bit(32768))
    return -size if negative else size


def read_canvas(c: Coder, before: Canvas, layout: Canvas, frames: int) -> Canvas:
    """The next clip's canvas and path."""
    if not c.other([c.motion + int(before.moved)] * 8):
        return layout
    canvas = [value + number(c, i // 2, 0) for i, value in enumerate(before.canvas)]
    last, at, path = (0, 0), before.path[-1], []
    for _ in range(frames):
        last = (number(c, 2, last[0]), number(c, 3, last[1]))
        at = (at[0] + last[0], at[1] + last[1])
        path.append(at)
    return Canvas(canvas, path, True)


def line(common: int, *second_and_third: int) -> list[int]:
    return [common, *second_and_third, *[common] * (7 - len(second_and_third))]


def read(
    body: bytes,
    prior: Path,
    structure: Sequence[int],
    dynamics_x: Sequence[int],
    dynamics_y: Sequence[int],
    patterns: Sequence[int],
    clips: int,
    tiles: int,
) -> tuple[list[int], list[int], list[int]]:
    """Symbols of the three arrays, flat, N = clips * tiles."""
    parts = [part for part, _ in read_clips(body, prior, structure, dynamics_x, dynamics_y, patterns, clips, tiles)]
    return tuple([x for part in parts for x in part[i]] for i in range(3))  # type: ignore[return-value]


def read_clips(
    body: bytes,
    prior: Path,
    structure: Sequence[int],
    dynamics_x: Sequence[int],
    dynamics_y: Sequence[int],
    patterns: Sequence[int],
    clips: int,
    tiles: int,
) -> list[tuple[tuple[list[int], list[int], list[int]], Canvas]]:
    """Symbols of the three arrays, flat, N = tiles, and the canvas of each clip."""
    slots, height, width, depth = structure
    c = Coder(body[2:], prior)
    reader = Reader(c, body[:2], slots, patterns[0], patterns[1:])
    firsts = {colour: n for n, (colour, u, v) in enumerate(reader.channels) if u == v == 0}
    outside, frames = Record(), dynamics_x[1]
    rest = Canvas([height, width, 0, 0], [(0, 0)] * frames, False)
    canvas = rest
    found = []
    records: list[dict[tuple[int, int], Record]] = [{} for _ in range(tiles)]
    means: list[dict[tuple[int, int], list[int]]] = [{} for _ in range(tiles)]
    ends: list[dict[tuple[int, int], list[int]]] = [{} for _ in range(tiles)]
    lines = [[[0] * dynamics_x[0] for _ in range(2)] for _ in range(tiles)]
    for _ in range(clips):
        arrays: tuple[list[int], list[int], list[int]] = ([], [], [])
        if tiles == 1:
            canvas = read_canvas(c, canvas, rest, frames)
        rows, columns, top, left = canvas.canvas
        for tile in range(tiles):
            old, new = records[tile], {}
            values: dict[tuple[int, int], list[list[int]]] = {}
            for row in range(top, top + rows):
                for column in range(left, left + columns):
                    near = [(row, column - 1), (row - 1, column), (row - 1, column - 1), (row - 1, column + 1)]
                    later = [(row, column), (row, column + 1), (row + 1, column)]
                    guesses = [0, 0, 0]
                    for colour, n in firsts.items():
                        known = [values[p][0][n] if p in values else None for p in near[:3]]
                        at_left, above, corner = known
                        if at_left is None or above is None or corner is None:
                            guesses[colour] = at_left if at_left is not None else above if above is not None else 0
                        else:
                            guesses[colour] = sorted((at_left, above, at_left + above - corner))[1]
                    new[row, column], values[row, column] = reader.place(
                        [new.get(p, outside) for p in near],
                        [inside(old, p, canvas.canvas) for p in later],
                        [values.get(p) for p in near[:2]],
                        inside(old, later[0], canvas.canvas).there,
                        guesses,
                        means[tile].get((row, column), [0] * depth),
                        ends[tile].get((row, column), [0] * depth),
                    )
            records[tile] = new
            means[tile] = {p: v[0] for p, v in values.items()}
            ends[tile] = {p: reader.ends(v) for p, v in values.items()}
            arrays[0].extend(x for slot in range(slots) for v in values.values() for x in v[slot])
            for part, length in enumerate((columns, rows)):
                arrays[1 + part].extend(read_lines(c, part, dynamics_x[0], frames, length, lines[tile][part]))
        found.append((arrays, canvas))
    c.finish()
    return found


def inside(records: dict[tuple[int, int], Record], place: tuple[int, int], canvas: Sequence[int]) -> Record:
    """A record of the clip before, if this clip's canvas has its place."""
    rows, columns, top, left = canvas
    row, column = place[0] - top, place[1] - left
    return records.get(place, Record()) if 0 <= row < rows and 0 <= column < columns else Record()
