"""Kernels that code one binary decision: they mix the chances of eight contexts, learn, and code arithmetically.

``work`` holds a decision: eight context numbers, their stretched probabilities, the three sets of weights, and the
probability.
``register`` holds the state of the arithmetic coder: its interval, the bits that the decoder has read, the position in
its buffer, how much was coded, in bits and in what takes as long as these, and how much may be decoded.
"""

from __future__ import annotations

from typing import Any

from vidtwin_codec.coding.sparse.fixed import COST, INDEX, INPUTS, RATE, REACH, SQUASH, STRETCH
from vidtwin_codec.coding.sparse.jit import kernel

# work
FIRST, SECOND, THIRD, CHANCE, MOST, PACE = (2 * INPUTS + i for i in range(6))
WORK = 2 * INPUTS + 6
# register
LOW, HIGH, VALUE, AT, END, DECODING, OVERRUN, CODED, ALLOWED = range(9)
REGISTERS = 9
TOP = 40  # bits of the arithmetic coder's interval
BYTES = TOP // 8
_ALL = (1 << TOP) - 1
_TOP_BYTE = TOP - 8
_ROUND = 1 << 19
_SHIFT = 20
_MASK = 511
_STATE = 2 * INDEX + 1
LEARNING = 16
LIMIT = 127  # the most decisions that a context counts: the slowest rate of learning is 1 / (LIMIT + 1.5)


@kernel
def predict(states: Any, weights: Any, fixed: Any, work: Any) -> Any:
    """Return the probability of a 1, in 65536ths, 8 to 65528, and keep it in ``work`` for `learn`."""
    total = 0
    first, second, third = work[FIRST] & INDEX, work[SECOND] & INDEX, work[THIRD] & INDEX
    for i in range(INPUTS):
        stretched = fixed[STRETCH + ((states[work[i] & INDEX] & _STATE) >> 19)]
        work[INPUTS + i] = stretched
        total += stretched * (weights[first + i] + weights[second + i] + weights[third + i])
    total = max(0, min(2 * REACH, (total >> 16) + REACH))
    chance = fixed[SQUASH + total] + 0
    work[CHANCE] = chance
    return chance


@kernel
def cost(states: Any, weights: Any, fixed: Any, work: Any, bit: int) -> Any:
    """Return the cost of coding this bit, in 256ths of a bit."""
    chance = predict(states, weights, fixed, work)
    if bit == 0:
        chance = 65536 - chance
    return fixed[COST + (chance >> 4)]


@kernel
def learn(states: Any, weights: Any, fixed: Any, work: Any, bit: int) -> None:
    """Move the six contexts and both sets of weights towards the bit that was coded."""
    first, second, third = work[FIRST] & INDEX, work[SECOND] & INDEX, work[THIRD] & INDEX
    most = work[MOST]
    error = ((bit << 16) - work[CHANCE]) * work[PACE]
    target = bit << 22
    for i in range(INPUTS):
        at = work[i] & INDEX
        state = states[at] & _STATE
        count = state & _MASK
        chance = state >> 9
        chance += ((target - chance) * fixed[RATE + count]) >> 16
        if count < most:
            count += 1
        states[at] = (chance << 9) | count
        change = (work[INPUTS + i] * error + _ROUND) >> _SHIFT
        weights[first + i] += change
        weights[second + i] += change
        weights[third + i] += change


@kernel
def code(register: Any, buffer: Any, chance: int, bit: int) -> int:
    """Write a bit of this probability, or read one, and return it."""
    low, high = register[LOW], register[HIGH]
    middle = low + (((high - low) * chance) >> 16)
    if register[DECODING] != 0:
        bit = 1 if register[VALUE] <= middle else 0
    if bit != 0:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) >> _TOP_BYTE == 0:
        at = register[AT]
        if register[DECODING] != 0:
            got = 0
            if at < register[END]:
                got = buffer[at] + 0
            else:
                register[OVERRUN] += 1
            register[VALUE] = ((register[VALUE] << 8) & _ALL) | got
        else:
            buffer[at] = low >> _TOP_BYTE
        register[AT] = at + 1
        low = (low << 8) & _ALL
        high = ((high << 8) & _ALL) | 255
    register[LOW] = low
    register[HIGH] = high
    register[CODED] += 1
    return bit


@kernel
def decide(states: Any, weights: Any, fixed: Any, work: Any, register: Any, buffer: Any, bit: int) -> int:
    """Code a bit in the contexts that ``work`` names, learn from it, and return it."""
    chance = predict(states, weights, fixed, work)
    bit = code(register, buffer, chance, bit)
    learn(states, weights, fixed, work, bit)
    return bit
