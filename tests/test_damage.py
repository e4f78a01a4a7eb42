"""Damaged .vtw files: what is whole comes back, in its place, and the rest is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeVideo

from vidtwin_codec import DecodeOptions, EncodeOptions, VidtwinError, decode, decode_frames, encode
from vidtwin_codec.container import GroupEntry, VtwReader


@pytest.fixture
def vtw(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> Path:
    """Three groups: frames 0–19, 20–39 and 40–49."""
    path = tmp_path / "a.vtw"
    source = make_video("in.mp4", rate="2", frames=50, audio=True)
    encode(source, path, EncodeOptions(weights=str(micro_weights), quality=100))
    return path


def frames_of(path: Path, weights: Path, *, recover: bool = False) -> np.ndarray:
    options = DecodeOptions(weights=str(weights), recover=recover)
    return np.concatenate(list(decode_frames(path, options)))


def groups_of(path: Path) -> list[GroupEntry]:
    with VtwReader(path) as reader:
        return list(reader.groups)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def test_a_truncated_file_gives_its_whole_groups(vtw: Path, micro_weights: Path) -> None:
    whole = frames_of(vtw, micro_weights)
    second = groups_of(vtw)[1]
    vtw.write_bytes(vtw.read_bytes()[: second.offset + second.size + 5])
    with pytest.raises(VidtwinError) as caught:
        frames_of(vtw, micro_weights)
    assert "--recover" in (caught.value.hint or "")
    found = frames_of(vtw, micro_weights, recover=True)
    assert np.array_equal(found, whole[:40])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_flipped_bit_costs_one_group_and_keeps_the_others_in_place(
    vtw: Path, micro_weights: Path, number: int
) -> None:
    whole = frames_of(vtw, micro_weights)
    groups = groups_of(vtw)
    flip(vtw, groups[number].offset + groups[number].size // 2)
    with pytest.raises(VidtwinError, match=f"group {number}"):
        frames_of(vtw, micro_weights)
    found = frames_of(vtw, micro_weights, recover=True)
    assert found.shape == whole.shape
    lost = groups[number]
    rest = np.ones(len(whole), bool)
    rest[lost.first_frame : lost.first_frame + lost.frames] = False
    assert np.array_equal(found[rest], whole[rest])
    held = whole[lost.first_frame - 1] if number else np.zeros_like(whole[0])
    assert (found[~rest] == held).all()


def test_recovery_is_told_to_the_user_and_writes_the_video(vtw: Path, micro_weights: Path, tmp_path: Path) -> None:
    groups = groups_of(vtw)
    flip(vtw, groups[1].offset + 20)
    result = decode(vtw, tmp_path / "a.mp4", DecodeOptions(weights=str(micro_weights), recover=True))
    assert result.frames == 50
    assert any("20" in warning and "39" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: b"not a video codec's file at all", "not a .vtw file"),
        (lambda data: data[:40], "truncated"),
        (lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:], "header is damaged"),
    ],
)
def test_a_file_without_a_header_is_refused_in_one_line(
    vtw: Path, micro_weights: Path, tmp_path: Path, damage: Callable[[bytes], bytes], line: str
) -> None:
    vtw.write_bytes(damage(vtw.read_bytes()))
    for recover in (False, True):
        with pytest.raises(VidtwinError, match=line) as caught:
            decode(vtw, tmp_path / "a.mp4", DecodeOptions(weights=str(micro_weights), recover=recover))
        assert "\n" not in caught.value.message
        assert not (tmp_path / "a.mp4").exists()
