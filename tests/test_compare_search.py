"""Finding the CRFs that cover a range of bytes."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidtwin_codec.evaluation.compare.search import TOLERANCE, TRIES, RateSearch, choose_rates, log_spaced


def encoder(first: float, halving: float, floor: int = 0) -> Callable[[float], int]:
    return lambda crf: max(floor, round(first * 2 ** (-crf / halving)))


def make_search(encode: Callable[[float], int], step: float = 0.25) -> RateSearch:
    return RateSearch(encode, coarsest=51, step=step, halving=6)


@given(first=st.floats(1e5, 1e8), halving=st.floats(3, 12), crf=st.floats(5, 45))
def test_a_size_is_found_in_a_few_encodings(first: float, halving: float, crf: float) -> None:
    encode = encoder(first, halving)
    wanted = encode(crf)
    search = make_search(encode)
    found = search.sizes[search.nearest(wanted)]
    assert len(search.sizes) <= TRIES
    # half a step of CRF, or the rounding of a handful of bytes, may lie between
    assert abs(math.log(found / wanted)) < TOLERANCE + 1 / wanted


def test_known_sizes_are_not_encoded_again() -> None:
    calls: list[float] = []

    def encode(crf: float) -> int:
        calls.append(crf)
        return encoder(1e6, 6)(crf)

    search = make_search(encode)
    assert search.nearest(20_000) == search.nearest(20_000)
    assert len(calls) == len(set(calls))


def test_whole_numbers_are_kept_to_and_the_ends_are_not_passed() -> None:
    search = make_search(encoder(1e6, 6), step=1)
    assert search.nearest(1e12) == 1
    assert search.nearest(1e-3) == 51
    assert all(crf == int(crf) for crf in search.sizes)


def test_rates_cover_the_range_evenly() -> None:
    search = make_search(encoder(1e6, 6))
    included = search.nearest(7_000)
    chosen = choose_rates(search, 5_000, 80_000, 6, included)
    sizes = [search.sizes[crf] for crf in chosen]
    assert included in chosen
    assert len(chosen) >= 6
    # what lies at the ends of the range can be compared too
    assert 5_000 / 1.06 <= min(sizes) <= 5_000
    assert 80_000 <= max(sizes) <= 80_000 * 1.06
    assert max(a / b for a, b in pairwise(sizes)) < 2.4


def test_a_range_below_reach_gives_a_curve_above_it() -> None:
    search = make_search(encoder(1e6, 6, floor=9_000))
    chosen = choose_rates(search, 1_000, 5_000, 6, search.nearest(3_000))
    assert len(chosen) == 6
    assert min(search.sizes[crf] for crf in chosen) == search.fewest == 9_000


def test_a_codec_that_cannot_vary_ends_the_search() -> None:
    search = make_search(lambda crf: 5_000)
    assert choose_rates(search, 1_000, 9_000, 5, 51.0)


def test_spacing_has_equal_ratios() -> None:
    assert log_spaced(10, 1000, 3) == pytest.approx([10, 100, 1000])
    assert log_spaced(10, 10, 5) == [10]
