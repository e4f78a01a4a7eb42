"""Copies to and from a device that hold up nobody, and calls that are begun ahead of what waits for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from conftest import MakeVideo
from micro import pipeline_model

from vidtwin_codec import EncodeOptions, encode
from vidtwin_codec.network import runner as runner_module
from vidtwin_codec.network.device import Device
from vidtwin_codec.network.runner import NetworkRunner
from vidtwin_codec.network.transfer import Arriving, to_device
from vidtwin_codec.stages import ahead

CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize("count", [0, 1, 3, 9])
def test_items_are_made_ahead_of_what_is_given(count: int) -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(5):
            made.append(number)
            yield number

    for number in ahead(items(), count):
        assert len(made) == min(5, number + 1 + count)
    assert number == 4


def test_a_copy_to_a_card_starts_from_pinned_memory() -> None:
    tensor = Mock(device=torch.device("cpu"))
    pinned = tensor.contiguous().pin_memory()
    assert to_device(tensor, CUDA) is pinned.to.return_value
    pinned.to.assert_called_once_with(CUDA, non_blocking=True)


def test_what_lies_on_the_device_is_not_copied() -> None:
    there = torch.zeros(3)
    assert to_device(there, torch.device("cpu")) is there
    on_card = Mock(device=CUDA)
    assert to_device(on_card, CUDA) is on_card.to.return_value
    on_card.contiguous.assert_not_called()


def test_a_copy_from_a_card_is_waited_for_only_when_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned, stream = Mock(), Mock()
    monkeypatch.setattr(torch, "empty", Mock(return_value=pinned))
    monkeypatch.setattr(torch.cuda, "current_stream", Mock(return_value=stream))
    tensors = [Mock(device=CUDA), Mock(device=CUDA)]
    arriving = Arriving(*tensors)
    assert [call.args[0] for call in pinned.copy_.call_args_list] == tensors
    assert all(call.kwargs == {"non_blocking": True} for call in pinned.copy_.call_args_list)
    event = stream.record_event.return_value
    event.synchronize.assert_not_called()
    assert arriving.wait() == [pinned.copy_.return_value] * 2
    event.synchronize.assert_called_once_with()


def _runner() -> NetworkRunner:
    return NetworkRunner(pipeline_model(), Device(torch.device("cpu"), torch.float32), 3)


def _frames(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 50, 60, 3), np.uint8)


def test_calls_that_are_begun_together_give_the_latents_of_each() -> None:
    network = _runner()
    geometry = network.geometry(60, 50, 8)
    clips = [_frames(8, 0), _frames(4, 1)]
    begun = [network.begin_encoding(clip, geometry) for clip in clips]
    for clip, wait in zip(clips, begun, strict=True):
        for one, other in zip(wait(), network.encode(clip, geometry), strict=True):
            assert np.array_equal(one, other)


def test_a_file_is_the_same_when_the_next_call_is_begun_first(
    make_video: MakeVideo, micro_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_video("in.mp4", size="60x50", frames=22)
    options = EncodeOptions(weights=str(micro_weights), device="cpu", batch=4)
    encode(source, tmp_path / "a.vtw", options)
    monkeypatch.setattr(NetworkRunner, "calls_ahead", 1)
    encode(source, tmp_path / "b.vtw", options)
    assert (tmp_path / "a.vtw").read_bytes() == (tmp_path / "b.vtw").read_bytes()


def test_tiles_that_a_full_card_has_no_room_for_are_cut_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _runner()
    geometry, frames = network.geometry(60, 50, 8), torch.from_numpy(_frames(4, 0))
    network.device = Device(CUDA, torch.float32)
    full = Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory"))
    monkeypatch.setattr(runner_module, "to_device", full)
    assert torch.equal(network._cut(frames, geometry), geometry.cut(frames))
    full.assert_called_once()
    monkeypatch.setattr(runner_module, "to_device", Mock(side_effect=RuntimeError("CUDA error: unspecified launch")))
    with pytest.raises(RuntimeError, match="unspecified launch"):
        network._cut(frames, geometry)
