"""The parts of rate control that need no network: targets, the search, short sides, samples."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidtwin_codec import EncodeOptions, VidtwinError
from vidtwin_codec.encoding.rate.sample import sample_runs
from vidtwin_codec.encoding.rate.search import candidate_sides, choose_for_bytes, choose_for_score, climb, find
from vidtwin_codec.encoding.rate.steering import why_missed
from vidtwin_codec.network.geometry import Geometry, scaled_size
from vidtwin_codec.options.target import NAMES, Band, FrameSize, Target, parse_size

QUALITIES = st.floats(0, 100)
FRAME = FrameSize(640, 360, 250, Fraction(25), 30_000)


@given(
    wanted=QUALITIES,
    start=QUALITIES,
    steps=st.lists(st.floats(0.005, 0.1), min_size=4, max_size=4),
    width=st.floats(0.005, 0.05),
)
def test_a_rising_curve_is_hit_in_few_tries(wanted: float, start: float, steps: list[float], width: float) -> None:
    """Whatever the slopes of its four stretches: they differ by up to twenty times."""

    def curve(quality: float) -> float:
        return sum(step * min(max(quality - 25 * number, 0), 25) for number, step in enumerate(steps))

    aim = curve(wanted)
    band = Band(aim - width, aim, aim + width)
    known: dict[float, float] = {}
    found = find(curve, band, known, start=start, slope=0.025, tries=16)
    assert band.holds(curve(found))
    assert found == round(found, 2)


@given(values=st.lists(st.floats(-10, 10), min_size=1, max_size=40), aim=st.floats(-12, 12), start=QUALITIES)
def test_any_curve_ends_with_the_best_that_was_seen(values: list[float], aim: float, start: float) -> None:
    """Noise, plateaus, falling curves: no more tries than allowed, none twice, none outside the dial."""
    asked: list[float] = []

    def curve(quality: float) -> float:
        asked.append(quality)
        return values[len(asked) % len(values)]

    known: dict[float, float] = {}
    found = find(curve, Band(aim - 0.01, aim, aim + 0.01), known, start=start, slope=0.1, tries=8)
    assert 1 <= len(asked) == len(set(asked)) <= 8
    assert all(0 <= quality <= 100 for quality in asked)
    assert abs(known[found] - aim) == min(abs(value - aim) for value in known.values())


def test_the_ends_of_the_dial_are_tried_once_and_kept() -> None:
    for aim, end in ((-5, 0), (500, 100)):
        known: dict[float, float] = {}
        assert find(lambda quality: quality, Band(aim, aim, aim), known, start=50, slope=1) == end
        assert len(known) <= 3


def test_what_is_known_is_not_measured_again() -> None:
    def never(quality: float) -> float:
        raise AssertionError("measured")

    assert find(never, Band(9, 10, 11), {40.0: 10.5, 60.0: 20.0}, start=0, slope=1) == 40.0


@given(scores=st.lists(st.integers(0, 9), min_size=1, max_size=8), start=st.integers(0, 7))
def test_the_climb_ends_on_a_peak(scores: list[int], start: int) -> None:
    def better(one: int, other: int) -> bool:
        return scores[one] > scores[other]

    best = climb(better, len(scores), min(start, len(scores) - 1))
    assert all(scores[best] >= scores[near] for near in (best - 1, best + 1) if 0 <= near < len(scores))


@given(width=st.integers(1, 2500), height=st.integers(1, 2500))
def test_candidate_sides_differ_in_tiles_and_end_with_the_video_itself(width: int, height: int) -> None:
    def tiles(side: int) -> int:
        return len(Geometry(*scaled_size(width, height, side), 16, 224, 224, 16).tiles)

    sides = candidate_sides(min(width, height), tiles)
    assert sides[-1] == min(width, height)
    assert sides == sorted(set(sides))
    assert tiles(sides[0]) == 1 or sides[0] == 1
    for smaller, larger in itertools.pairwise(sides):
        assert tiles(smaller) <= 0.7 * tiles(larger)
        assert tiles(smaller + 1) > 0.7 * tiles(larger)


@given(frames=st.integers(16, 5000), clips=st.integers(1, 8))
def test_a_sample_is_of_whole_clips_apart_and_inside(frames: int, clips: int) -> None:
    if frames // 16 <= clips + clips // 2:
        return
    runs = sample_runs(frames, 16, clips)
    assert len(runs) == clips
    assert all(first % 16 == 0 and count == 16 and first + count <= frames for first, count in runs)
    assert all(one + 16 <= other for (one, _), (other, _) in itertools.pairwise(runs))


class Network:
    """Sizes and PSNRs of a made-up video: bytes go with tiles, and a smaller picture loses ``lost`` dB for good."""

    def __init__(self, tiles: int, lost: float) -> None:
        self.tiles, self.lost, self.decoded = tiles, lost, 0

    def video_bytes(self, quality: float) -> float:
        return self.tiles * 1000 * math.exp(0.03 * quality)

    def score(self, quality: float) -> float:
        self.decoded += 1
        return 26 - self.lost - 10 * math.exp(-quality / 20)


class Networks:
    def __init__(self) -> None:
        self.sides = [Network(1, 4.0), Network(2, 1.5), Network(6, 0.0)]

    def at(self, index: int) -> Network:
        return self.sides[index]


@pytest.mark.parametrize(
    ("wanted", "side"),
    [(1_500, 0), (10_000, 1), (80_000, 2), (1e9, 2), (10, 0)],
)
def test_the_short_side_is_the_best_at_the_bytes(wanted: float, side: int) -> None:
    networks = Networks()
    choice = choose_for_bytes(networks, [1, 2, 6], Band(0.98 * wanted, wanted, 1.02 * wanted))
    assert choice.side == side
    taken = networks.at(side).video_bytes(choice.quality)
    assert abs(taken / wanted - 1) < 0.03 or choice.quality in (0, 100)
    if not 1_000 < wanted < 120_000:
        assert not any(network.decoded for network in networks.sides)  # bytes alone decide


@pytest.mark.parametrize(("wanted", "side"), [(17.0, 0), (23.0, 1), (25.5, 2), (40.0, 2)])
def test_the_short_side_takes_the_fewest_bytes_at_the_psnr(wanted: float, side: int) -> None:
    networks = Networks()
    choice = choose_for_score(networks, 3, Band(wanted - 0.1, wanted, wanted + 0.1))
    assert choice.side == side
    assert abs(networks.at(side).score(choice.quality) - wanted) < 0.1 or choice.quality == 100


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000", 1e3), ("700k", 7e5), ("5M", 5e6), ("1.5MB", 1.5e6), ("1.5 mb", 1.5e6), ("4MiB", 2**22), ("2G", 2e9)],
)
def test_sizes_are_read(text: str, size: float) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "-5M", "5 parsecs", "0", "nan", "inf", "5MM", "1e400"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@pytest.mark.parametrize(("name", "value"), [("kbps", 100.0), ("size", 80_000.0), ("ratio", 900.0)])
def test_a_file_in_the_band_meets_the_target(name: str, value: float) -> None:
    target = Target(name, value)  # type: ignore[arg-type]
    band = target.video_bytes(FRAME)
    assert 0 < band.least < band.aim < band.most
    for size in band:
        assert target.met_by(target.achieved(math.floor(size), FRAME))
    assert not target.met_by(target.achieved(round(band.aim * 1.2), FRAME))
    if name == "size":
        assert band.most + FRAME.audio_bytes == value  # never more than was asked for


@pytest.mark.parametrize("name", NAMES)
def test_two_targets_and_impossible_ones_are_refused(name: str) -> None:
    other = "psnr" if name != "psnr" else "kbps"
    with pytest.raises(VidtwinError, match="at once"):
        EncodeOptions(**{f"target_{name}": 30, f"target_{other}": 30})
    with pytest.raises(VidtwinError, match="quality"):
        EncodeOptions(quality=50, **{f"target_{name}": 30})
    for value in (0, -1, math.inf, math.nan):
        with pytest.raises(VidtwinError, match="out of range"):
            EncodeOptions(**{f"target_{name}": value})


@pytest.mark.parametrize(
    ("name", "achieved", "quality", "chosen", "audio_share", "remedy"),
    [
        ("kbps", 50, 0, True, 1.2, "--audio none"),
        ("size", 50, 0, True, 0.0, "lower --fps"),
        ("ratio", 20, 0, False, 0.0, "--short-side"),
        ("ratio", 70, 100, True, 0.0, "no use for more"),
        ("kbps", 20, 100, False, 0.0, "larger"),
        ("psnr", 20, 100, True, 0.0, "--weights"),
        ("psnr", 50, 0, True, 0.0, "coarser"),
        ("size", 25, 40, True, 0.0, "nearer"),
    ],
)
def test_a_miss_says_what_would_help(
    name: str, achieved: float, quality: float, chosen: bool, audio_share: float, remedy: str
) -> None:
    target = Target(name, 30)  # type: ignore[arg-type]
    line = why_missed(target, achieved, quality=quality, short_side=None, chosen=chosen, audio_share=audio_share)
    assert remedy in line
    assert "\n" not in line
