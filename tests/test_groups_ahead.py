"""Groups that are coded ahead are those of coding one clip after the other, whatever the scene does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, product
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_latents import LAYOUT, some_latents, steps

from vidtwin_codec import VidtwinError, machine
from vidtwin_codec.coding import GroupSpan, LatentArrays
from vidtwin_codec.encoding import groups_ahead, writing
from vidtwin_codec.encoding.encoder import Encoder, Piece
from vidtwin_codec.encoding.groups import PackedGroup
from vidtwin_codec.encoding.groups_ahead import AheadPacker, Spare, WaitingClip, most_ahead
from vidtwin_codec.encoding.wide_groups import GroupCoder, Grouping, WideClip, WidePacker

CLIP_FRAMES, TILES = 4, 2
ENCODER = cast(
    Encoder, SimpleNamespace(geometry=SimpleNamespace(clip_frames=CLIP_FRAMES), weights_of=lambda placement: None)
)


def grouping(*, rdo: bool = True, least: int = 2, most: int = 7) -> Grouping:
    return Grouping(LAYOUT, TILES, steps(LAYOUT), rdo, least, most)


def pieces(scenes: list[int], at_once: int = 1) -> Iterator[Piece]:
    """A clip for each number; equal numbers look the same, and nothing moves in even ones. The last lacks a frame."""
    clips = [some_latents(LAYOUT, TILES, scene, 2.0) for scene in scenes]
    for scene, clip in zip(scenes, clips, strict=True):
        clip.structure[:, 1:] *= scene % 2
    for start in range(0, len(clips), at_once):
        some = clips[start : start + at_once]
        frames = len(some) * CLIP_FRAMES - (start + len(some) == len(clips))
        yield Piece(GroupSpan(start * CLIP_FRAMES, frames, start, len(some)), TILES, LatentArrays.concatenate(some))


def packed_by(packer: Any, given_: Iterator[Piece]) -> list[PackedGroup]:
    with closing(packer):
        return list(chain(*map(packer.add, given_), packer.flush()))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 2), max_size=14),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from((0, 4000, 1 << 30)),
    st.booleans(),
)
def test_groups_are_the_same_ahead_or_not(
    scenes: list[int], at_once: int, ahead: int, room: int, weighed: bool
) -> None:
    how = grouping(rdo=weighed)
    one_by_one = packed_by(WidePacker(ENCODER, how), pieces(scenes, at_once))
    spare = Spare(ahead)
    assert packed_by(AheadPacker(ENCODER, how, spare, ahead, room), pieces(scenes, at_once)) == one_by_one
    assert [spare.take() for _ in range(ahead + 1)] == [True] * ahead + [False], "all cores are given back"


class Gate:
    """Holds the coding of chosen clips until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *held: int) -> None:
        self.opened, self.coded = threading.Event(), list[int]()
        add = GroupCoder.add

        def wait_and_add(coder: GroupCoder, clip: WideClip) -> LatentArrays:
            number = clip.span.first_clip
            if number in held:
                assert self.opened.wait(30)
            self.coded.append(number)
            return add(coder, clip)

        monkeypatch.setattr(GroupCoder, "add", wait_and_add)


def test_later_groups_are_coded_while_the_first_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, spare = Gate(monkeypatch, 0), Spare(2)
    with AheadPacker(ENCODER, grouping(), spare, 2) as packer:
        assert [*chain(*map(packer.add, pieces(list(range(8)))))] == []
        while len(gate.coded) < 4:  # two groups of two clips, though the first clip of all is held
            assert not gate.opened.wait(0.01)
        assert not spare.take()
        gate.opened.set()
        assert [group.span.first_clip for group in packer.flush()] == [0, 2, 4, 6, 7]


def test_what_was_begun_behind_a_still_scene_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, 0)
    with AheadPacker(ENCODER, grouping(), Spare(1), 1) as packer:
        made = [*chain(*map(packer.add, pieces([4] * 6)))]
        while len(gate.coded) < 2:
            assert not gate.opened.wait(0.01)
        gate.opened.set()
        made += packer.flush()
    assert [group.span.clips for group in made] == [6]
    assert gate.coded.count(2) == 2


def test_clips_wait_in_little_memory_and_come_back_as_they_were() -> None:
    clip = next(pieces([3]))
    wide = WideClip(clip.span, clip.latents, None, None)
    structure = clip.latents.structure.copy()
    structure[:, 1:] *= 0.1
    wide = wide._replace(latents=clip.latents._replace(structure=structure))
    waiting = WaitingClip(wide, steps(LAYOUT))
    found = waiting.whole()
    kept = np.abs(structure) >= 0.5
    kept[:, 0] = True
    assert np.array_equal(found.latents.structure[kept], structure[kept])
    assert waiting.nbytes < 0.5 * structure.nbytes
    assert found.span == clip.span


def test_bad_latents_are_told_when_their_turn_comes() -> None:
    given_ = list(pieces(list(range(6))))
    given_[4].latents.structure[0, 2, 0, 0, 0] = np.nan
    made = list[PackedGroup]()
    with AheadPacker(ENCODER, grouping(), Spare(3), 3) as packer, pytest.raises(VidtwinError, match="not finite"):
        made.extend(chain(chain.from_iterable(map(packer.add, given_)), packer.flush()))
    assert {group.span.first_clip for group in made} <= {0, 2}


def test_closing_midway_ends_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, before = Gate(monkeypatch, 0), threading.active_count()
    packer = AheadPacker(ENCODER, grouping(), Spare(2), 2)
    assert [*chain(*map(packer.add, pieces(list(range(8)))))] == []
    threading.Timer(0.2, gate.opened.set).start()
    packer.close()
    packer.close()
    assert threading.active_count() <= before + 1  # the timer
    assert 1 not in gate.coded


def test_cores_are_spared_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups_ahead, "COMPILED", True)
    found = {}
    for cores, memory in product((1, 2, 4, 16), (1 << 30, 1 << 36)):
        monkeypatch.setattr(machine, "cores", lambda cores=cores: cores)
        monkeypatch.setattr(machine, "memory", lambda memory=memory: memory)
        monkeypatch.setattr(groups_ahead.torch, "get_num_threads", lambda: 8)
        found[cores, memory >> 30] = most_ahead(grouping(), groups_ahead.spare_cores.__wrapped__())
    assert found == {(1, 1): 0, (1, 64): 0, (2, 1): 0, (2, 64): 0, (4, 1): 1, (4, 64): 1, (16, 1): 1, (16, 64): 3}
    monkeypatch.setattr(groups_ahead, "COMPILED", False)
    assert most_ahead(grouping(), Spare(3)) == 0


def test_a_watched_video_is_coded_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups_ahead, "COMPILED", True)
    encoder = SimpleNamespace(
        **vars(ENCODER), layout=LAYOUT, clips_per_group=2, most_clips_per_group=7,
        job=SimpleNamespace(base_steps=steps(LAYOUT)), options=SimpleNamespace(effort=0),
    )  # fmt: skip
    encoder.geometry.tiles = [None] * TILES
    kinds = [
        type(writing.group_packer(cast(Encoder, encoder), 50, 1, watch, Spare(2)))
        for watch in (None, lambda latents, clip: None)
    ]
    assert kinds == [AheadPacker, WidePacker]
