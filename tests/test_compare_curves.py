"""Hulls, interpolation and Bjøntegaard deltas of curves whose answers are known."""

from __future__ import annotations

from itertools import pairwise

import pytest
from comparisons import SEQUENCE, clip, curve, point
from hypothesis import given
from hypothesis import strategies as st

from vidtwin_codec.evaluation.compare.bd import ascending, clip_delta, delta, hull, interpolate, mean_delta, value
from vidtwin_codec.evaluation.compare.results import Point

SIZES = [500, 1000, 2000, 4000, 8000]


def test_hull_drops_what_mixing_two_settings_beats() -> None:
    points = [point(1000, 20), point(2000, 20.5), point(3000, 24), point(3500, 23), point(5000, 25)]
    assert [p.bytes for p in hull(points, "psnr")] == [1000, 3000, 5000]


@given(st.lists(st.tuples(st.integers(100, 10**6), st.floats(15, 50)), min_size=1, max_size=30))
def test_nothing_lies_above_the_hull(pairs: list[tuple[int, float]]) -> None:
    points = [point(size, psnr) for size, psnr in pairs]
    corners = hull(points, "psnr")
    assert corners[0].bytes == min(size for size, _ in pairs)
    assert value(corners[-1], "psnr") == max(psnr for _, psnr in pairs)
    for p in points:
        for a, b in pairwise(corners):
            if a.bytes <= p.bytes <= b.bytes:
                share = (p.bytes - a.bytes) / (b.bytes - a.bytes)
                limit = value(a, "psnr") + share * (value(b, "psnr") - value(a, "psnr"))
                assert value(p, "psnr") <= limit + 1e-9


def test_a_curve_only_rises_and_skips_what_was_not_measured() -> None:
    lost = Point("", 3000, 0.1, 1, {"psnr": None}, 1, 1)
    points = [point(2000, 25), lost, point(1000, 20), point(4000, 24), point(5000, 26)]
    assert [p.bytes for p in ascending(points, "psnr")] == [1000, 2000, 5000]


def test_interpolation_is_linear_over_the_logarithm_and_ends_with_the_points() -> None:
    points = curve([1000, 4000], 20)
    assert interpolate(points, "psnr", 2000) == pytest.approx(22)
    assert interpolate(points, "psnr", 1000) == pytest.approx(20)
    assert interpolate(points, "psnr", 999) is None
    assert interpolate(points, "psnr", 4001) is None


def test_twice_the_bytes_is_a_bd_rate_of_100_percent() -> None:
    anchor, test = curve(SIZES, 25), curve([2 * size for size in SIZES], 23)
    found = delta(anchor, test, "psnr")
    assert found.rate == pytest.approx(100, abs=1e-6)
    assert found.quality == pytest.approx(-2, abs=1e-9)
    assert found.rate_overlap is not None
    assert found.rate_overlap.share == pytest.approx(1)
    assert found.quality_overlap is not None
    assert found.quality_overlap.share == pytest.approx(7000 / 15500)
    assert delta(test, anchor, "psnr").rate == pytest.approx(-50, abs=1e-6)


def test_no_overlap_is_said_and_which_side_is_better() -> None:
    low, high = curve(SIZES, 20), curve(SIZES, 60)
    found = delta(high, low, "psnr")
    assert (found.rate, found.rate_overlap, found.outside) == (None, None, "better")
    assert found.quality == pytest.approx(-40)
    assert delta(low, high, "psnr").outside == "worse"
    apart = delta(curve([10**5, 2 * 10**5, 4 * 10**5, 8 * 10**5], 20), low, "psnr")
    assert apart.quality is None
    assert apart.reason == "no overlap"


def test_too_few_points_give_no_value() -> None:
    found = delta(curve(SIZES[:3], 20), curve(SIZES, 20), "psnr")
    assert found.rate is None
    assert found.quality is None
    assert found.reason is not None
    assert "its curve has too few points" in found.reason


def test_means_count_the_clips_they_rest_on() -> None:
    near, far = clip("near", 1.0), clip("far", 40.0)
    one = clip_delta(near, "x265", SEQUENCE, "psnr")
    both = mean_delta([near, far], "x265", SEQUENCE, "psnr")
    assert one is not None
    assert both is not None
    assert (both.clips, both.rate_clips, both.quality_clips, both.all_better) == (2, 1, 2, 1)
    assert both.rate == pytest.approx(one.rate)
    assert mean_delta([near], "vvenc", SEQUENCE, "psnr") is None
