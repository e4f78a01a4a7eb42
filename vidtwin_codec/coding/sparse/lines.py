"""Kernel that codes the dynamics: rows of a few numbers a frame, nearly all zero."""

from __future__ import annotations

from typing import Any

from vidtwin_codec.coding.sparse.binary import ALLOWED, BYTES, CODED, DECODING, OVERRUN, code, decide
from vidtwin_codec.coding.sparse.contexts import DYNAMICS, DYNAMICS_0, STEPS_UP, one_context
from vidtwin_codec.coding.sparse.fixed import INPUTS, LEVEL
from vidtwin_codec.coding.sparse.jit import entry
from vidtwin_codec.coding.sparse.walk import EVEN, code_rest

_FRAME = 32
_ZERO = 64
_SUM = 96
_BOTH = 160
_MORE = 192


@entry
def walk_lines(
    fixed: Any, states: Any, weights: Any, work: Any, register: Any, buffer: Any, symbols: Any, some_before: Any,
    part: int, channels: int, frames: int, length: int, limit: int,
) -> Any:  # fmt: skip
    """Code ``symbols [channels, frames, length]`` of one tile and return how many are out of range.

    ``some_before [channels]`` tells whether the channel held anything in the clip before; it is set for the next one.
    """
    first = DYNAMICS_0 + part * DYNAMICS
    wrong = 0
    for channel in range(channels):
        begin = channel * frames * length
        some = 0
        if register[DECODING] == 0:
            for i in range(begin, begin + frames * length):
                if symbols[i] != 0:
                    some = 1
                    break
        one_context(first + some_before[channel], work)
        for i in range(1, INPUTS, 2):
            work[i] = first + 2 + 2 * min(channel, 7) + some_before[channel]
        some = decide(states, weights, fixed, work, register, buffer, some)
        some_before[channel] = some
        if some == 0:
            continue
        last = 0
        for frame in range(frames):
            at = begin + frame * length
            some = 0
            if register[DECODING] == 0:
                for i in range(at, at + length):
                    if symbols[i] != 0:
                        some = 1
                        break
            one_context(first + _FRAME + min(last, 3) * 8 + min(channel, 7), work)
            work[1] = first + 18 + min(last, 3)
            some = decide(states, weights, fixed, work, register, buffer, some)
            last = (last * 2 + some) & 3
            if some == 0:
                continue
            for i in range(length):
                left, up, right, corner = 0, 0, 0, 0
                if i > 0:
                    left = min(7, abs(symbols[at + i - 1]))
                if frame > 0:
                    up = min(7, abs(symbols[at + i - length]))
                    if i > 0:
                        corner = min(7, abs(symbols[at + i - length - 1]))
                    if i < length - 1:
                        right = min(7, abs(symbols[at + i - length + 1]))
                total = fixed[LEVEL + 2 * (left + up) + right + corner] + 0
                one_context(first + _ZERO + (min(left, 2) * 3 + min(up, 2)) * 3 + min(right, 2), work)
                work[1] = first + _SUM + total * 8 + min(channel, 7)
                work[2] = first + _BOTH + total
                value = symbols[at + i] + 0
                some = decide(states, weights, fixed, work, register, buffer, 1 if value != 0 else 0)
                if some == 0:
                    continue
                given, magnitude = abs(value), 1
                while magnitude <= STEPS_UP:
                    one_context(first + _MORE + min(magnitude - 1, 3) * 7 + total, work)
                    work[1] = first + _MORE + 28 + magnitude - 1
                    if decide(states, weights, fixed, work, register, buffer, 1 if given > magnitude else 0) == 0:
                        break
                    magnitude += 1
                if magnitude > STEPS_UP:
                    magnitude += code_rest(states, weights, fixed, work, register, buffer, given - magnitude)
                if magnitude > limit:
                    wrong += 1
                    magnitude = limit
                negative = code(register, buffer, EVEN, 1 if value < 0 else 0)
                symbols[at + i] = -magnitude if negative != 0 else magnitude
            if register[DECODING] != 0 and (register[OVERRUN] > BYTES or register[CODED] > register[ALLOWED]):
                return wrong + 1
    return wrong
