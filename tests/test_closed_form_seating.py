"""Seating coefficients in slots: the most valuable set that fits."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vidtwin_codec.training.closed_form.seating import Coefficient, Seats


@st.composite
def problems(draw: st.DrawFn) -> tuple[Seats, np.ndarray, list[int]]:
    slots = draw(st.integers(1, 3))
    tables = [draw(st.lists(st.integers(0, 2), min_size=slots, max_size=slots)) for _ in range(draw(st.integers(1, 2)))]
    components = sorted((draw(st.integers(1, 3)) for _ in tables), reverse=True)
    values = np.array(draw(st.lists(st.integers(-1, 9), min_size=9, max_size=9)), float).reshape(3, 3)
    capacity = draw(st.lists(st.integers(0, 2), min_size=slots, max_size=slots))
    return Seats(tables, components, draw(st.integers(0, 3))), values, capacity


def best_by_trying(seats: Seats, values: np.ndarray, capacity: list[int]) -> float:
    worth = [(Coefficient(*index), value) for index, value in np.ndenumerate(values) if value > 0]
    best = {tuple(capacity): 0.0}
    for one, value in worth:
        for left, total in list(best.items()):
            for slot in seats.allowed(one):
                if left[slot]:
                    after = (*left[:slot], left[slot] - 1, *left[slot + 1 :])
                    best[after] = max(best.get(after, 0.0), total + value)
    return max(best.values())


@given(problems())
@settings(max_examples=200, deadline=None)
def test_nothing_more_valuable_fits(problem: tuple[Seats, np.ndarray, list[int]]) -> None:
    seats, values, capacity = problem
    seating = seats.fill(values, capacity)
    held = list(itertools.chain(*seating.slots))
    assert len(held) == len(set(held))
    assert seating.value == sum(values[one] for one in held)
    for slot, (inside, room) in enumerate(zip(seating.slots, capacity, strict=True)):
        assert len(inside) <= room
        assert all(slot in seats.allowed(one) for one in inside)
    assert seating.value == best_by_trying(seats, values, capacity)


@given(problems())
@settings(max_examples=100, deadline=None)
def test_what_sat_somewhere_costs_nothing_to_keep_there(problem: tuple[Seats, np.ndarray, list[int]]) -> None:
    seats, values, capacity = problem
    before = seats.fill(values, capacity)
    again = seats.fill(values, capacity, {one: slot for slot, held in enumerate(before.slots) for one in held})
    assert again.value == before.value
    assert list(map(set, again.slots)) == list(map(set, before.slots))
