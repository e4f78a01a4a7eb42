"""Coder 4 read from docs/FORMAT.md alone: what it says must be enough."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from coder4_bits import L7, Coder, level, place_in
from coder4_tile import Reader, Record


class Canvas(NamedTuple):
    """Rows, columns, top and left in patches; each frame's place in pixels, from where top and left are counted."""

    canvas: list[int]
    path: list[tuple[int, int]]
    moved: bool

    def corners(self, size: int) -> list[tuple[int, int]]:
        return [(row - size * self.canvas[2], column - size * self.canvas[3]) for row, column in self.path]


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
