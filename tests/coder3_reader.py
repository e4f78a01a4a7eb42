"""Coder 3 read one symbol at a time, written from docs/FORMAT.md alone: what it says must be enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator

LEVELS = sorted(top << k for k in range(4, 21) for top in (2, 3))
TOKENS = 58
Sizes = tuple[int, ...]


def first_number(token: int) -> int:
    """Least folded number of a token."""
    if token < 16:
        return token
    n, bit = 4 + (token - 16) // 2, (token - 16) % 2
    return (2 + bit) << (n - 1)


def starting_table(level: int) -> list[int]:
    m = 16 if level == 0 else LEVELS[level - 1] + LEVELS[level - 1] // 5
    beta = 6 * m
    t = [2**40 * beta**4 // (beta + 1024 * first_number(token)) ** 4 for token in range(TOKENS)] + [0]
    return [4096 * (t[token] - t[token + 1]) // 2**40 for token in range(TOKENS)]


class Stream:
    """States, words and plain bits."""

    def __init__(self, body: bytes, channels: int) -> None:
        packed = body[1 : 1 + (channels + 1) // 2]
        indices = [body[0] + (packed[c // 2] >> 4 * (c % 2) & 15) for c in range(channels)]
        self.scales = [(2 + i % 2) << i // 2 for i in indices]
        at = 1 + len(packed)
        count, words = 1 << body[at], int.from_bytes(body[at + 1 : at + 5], "little")
        at += 5
        self.states = [int.from_bytes(body[at + 4 * i : at + 4 * i + 4], "little") for i in range(count)]
        at += 4 * count
        self.words = [int.from_bytes(body[at + 2 * i : at + 2 * i + 2], "little") for i in range(words)]
        self.bits = int.from_bytes(body[at + 2 * words :], "little")

    def token(self, place: int, counts: list[int]) -> int:
        state = place % len(self.states)
        x = self.states[state]
        y, total, running, start = x % 2**15, sum(counts), 0, 0
        for token, count in enumerate(counts):
            running += count
            end = running * (2**15 - TOKENS) // total + token + 1
            if y < end:
                break
            start = end
        x = (end - start) * (x // 2**15) + y - start
        self.states[state] = x * 2**16 + self.words.pop(0) if x < 2**16 else x
        return token

    def residual(self, token: int) -> int:
        z = first_number(token)
        if token >= 16:
            width = 3 + (token - 16) // 2
            z += self.bits % 2**width
            self.bits >>= width
        return -(z + 1) // 2 if z % 2 else z // 2


def read_plane(stream: Stream, shape: Sizes, lags: Sizes, scale_of: Callable[[int, int], int]) -> Iterator[int]:
    """Symbols of a plane of ``(steps, channels, places)`` in coding order."""
    steps, channels, places = shape
    known: dict[tuple[int, int, int], int] = {}
    errors = {len(lags): [256] * places}
    tables: dict[tuple[int, int, int], list[int]] = {}
    seen = []
    for row in range(steps * channels):
        step, channel = divmod(row, channels)
        for way, lag in enumerate(lags):
            if step == lag and channel == 0:
                errors[way] = [e // 4 for e in errors[len(lags)]]
        coded = []
        for place in range(places):
            q = scale_of(channel, place)
            guesses = {way: known[step - lags[way], channel, place] if way < len(lags) else 0 for way in errors}
            way = min(sorted(errors), key=lambda each, at=place: errors[each][at])
            e, g = errors[way][place], 1024 * abs(guesses.get(0, 0)) // q
            level = sum(low <= e * q for low in LEVELS)
            context = (level, way, 0 if 2 * g <= e else 2 if g > 2 * e else 1)
            token = stream.token(place, tables.setdefault(context, starting_table(level)))
            coded.append((place, token, guesses, way, q))
            seen.append((context, token))
        for place, token, guesses, way, q in coded:
            symbol = guesses[way] + stream.residual(token)
            known[step, channel, place] = symbol
            yield symbol
            for each, guess in guesses.items():
                e = errors[each][place]
                errors[each][place] = e + (1024 * abs(guess - symbol) // q - e) // 8
        if row % 8 == 7:
            for context, token in seen:
                tables[context][token] += 32
            for context in {context for context, _ in seen}:
                while sum(tables[context]) > 2**17:
                    tables[context] = [count // 2 for count in tables[context]]
            seen = []


def read(body: bytes, structure: Sizes, dynamics_x: Sizes, dynamics_y: Sizes, clips: int, tiles: int) -> list[int]:
    """Symbols of both planes, each in coding order."""
    slots, height, width, depth = structure
    channels, frames, columns = dynamics_x
    rows = dynamics_y[2]
    stream = Stream(body, slots * depth + 2 * channels)

    def dynamics_scale(channel: int, place: int) -> int:
        return stream.scales[slots * depth + channel + channels * (place >= tiles * columns)]

    shape = (clips, slots * depth, tiles * height * width)
    found = list(read_plane(stream, shape, (1,), lambda channel, _: stream.scales[channel]))
    shape = (clips * frames, channels, tiles * (columns + rows))
    found += read_plane(stream, shape, (frames, 1), dynamics_scale)
    assert not stream.words
    assert not stream.bits
    assert set(stream.states) == {2**16}
    return found
