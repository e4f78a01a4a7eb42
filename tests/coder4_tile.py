"""The structure of one tile of coder 4, from docs/FORMAT.md alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from coder4_bits import COARSE, L4, L5, L6, L7, L12, RINGS, Coder, level, measure, place_in


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
