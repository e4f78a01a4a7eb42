"""The threads that run the network for all files in hand."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from vidtwin_codec import weights
from vidtwin_codec.batch import network as network_module
from vidtwin_codec.batch.lanes import LEAST_JOBS, MOST_CALLS, AtOnce
from vidtwin_codec.batch.network import NetworkThreads, SharedNetworks, StoppedError
from vidtwin_codec.options import EncodeOptions


def rows(*values: int) -> tuple[torch.Tensor]:
    return (torch.tensor(values),)


class Recorder:
    """A network that doubles, and notes how many tiles it was given; the first call waits until told to go on."""

    def __init__(self, most: int = 1000) -> None:
        self.sizes: list[int] = []
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._most = most

    def __call__(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        self.sizes.append(len(inputs[0]))
        if len(self.sizes) == 1:
            self.begun.set()
            self.go_on.wait()
        if len(inputs[0]) > self._most:
            raise RuntimeError("not enough memory")
        return (inputs[0] * 2, inputs[0] * 3)


def ask_all(thread: NetworkThreads, network: Recorder, kinds: list[str], limit: int) -> list[list[int]]:
    """Ask for two tiles of each kind while the thread is busy; what came back."""
    with ThreadPoolExecutor(len(kinds) + 1) as pool:
        first = pool.submit(thread.ask, "first", network, rows(0), limit)
        network.begun.wait()
        futures = []
        for number, kind in enumerate(kinds):
            futures.append(pool.submit(thread.ask, kind, network, rows(number, number + 1), limit))
            while len(thread._waiting) <= number:
                pass
        network.go_on.set()
        first.result()
        return [future.result()[1].tolist() for future in futures]


def test_requests_of_one_kind_are_merged_up_to_the_limit_and_parted_again() -> None:
    network = Recorder()
    with NetworkThreads(merge=True) as thread:
        found = ask_all(thread, network, ["a", "b", "a", "a"], limit=4)
    assert found == [[0, 3], [3, 6], [6, 9], [9, 12]]
    assert network.sizes == [1, 4, 2, 2]  # the first and third; b; the fourth, which found no room


def test_requests_are_run_alone_without_merging() -> None:
    network = Recorder()
    with NetworkThreads(merge=False) as thread:
        assert ask_all(thread, network, ["a", "a", "a"], limit=100) == [[0, 3], [3, 6], [6, 9]]
    assert network.sizes == [1, 2, 2, 2]


def test_what_is_too_much_together_is_tried_alone() -> None:
    network = Recorder(most=3)
    with NetworkThreads(merge=True) as thread:
        assert ask_all(thread, network, ["a", "a"], limit=100) == [[0, 3], [3, 6]]
    assert network.sizes == [1, 4, 2, 2]


def test_an_error_goes_to_who_asked_and_stopping_refuses_the_rest() -> None:
    def fail(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        raise ValueError("no such thing")

    with NetworkThreads(merge=True) as thread:
        with pytest.raises(ValueError, match="no such thing"):
            thread.ask("a", fail, rows(1), 1)
        assert thread.ask("a", lambda inputs: inputs, rows(1), 1)[0].tolist() == [1]
        thread.stop()
        with pytest.raises(StoppedError):
            thread.ask("a", lambda inputs: inputs, rows(1), 1)


def test_several_calls_run_side_by_side_each_on_its_share_of_the_cores() -> None:
    together = threading.Barrier(2, timeout=30)

    def meet(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        together.wait()  # not passed unless two calls are under way
        return (torch.tensor([torch.get_num_threads()]),)

    def alone(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (torch.tensor([torch.get_num_threads()]),)

    before, askers = torch.get_num_threads(), 7
    torch.set_num_threads(4)
    try:
        with NetworkThreads(merge=False, count=2, askers=lambda: askers) as threads, ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(threads.ask, "a", meet, rows(1), 1) for _ in range(2)]
            assert [future.result()[0].item() for future in futures] == [2, 2]
            askers = 1
            assert threads.ask("a", alone, rows(1), 1)[0].item() == 4
            askers = 7
            threads.limit(0)  # at least one at a time, which then has all cores
            futures = [pool.submit(threads.ask, "a", alone, rows(1), 1) for _ in range(3)]
            assert [future.result()[0].item() for future in futures] == [4, 4, 4]
            assert torch.get_num_threads() == 4
        assert threads.calls == 6
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 4
    finally:
        torch.set_num_threads(before)


def test_how_much_is_done_at_once() -> None:
    def chosen(kind: str, cores: int, jobs: int | None = None, merge: bool | None = None) -> tuple[int, int, bool]:
        found = AtOnce.choose(kind, cores, jobs=jobs, merge=merge)
        return found.jobs, found.calls, found.merge

    assert chosen("cpu", 1) == (LEAST_JOBS, 1, False)
    assert chosen("cpu", 4) == (6, 4, False)
    assert chosen("cpu", 64) == (MOST_CALLS + 2, MOST_CALLS, False)
    assert chosen("cpu", 4, jobs=2) == (2, 4, False)
    assert chosen("cpu", 4, merge=True) == (LEAST_JOBS, 1, True)
    assert chosen("cuda", 16) == (LEAST_JOBS, 1, True)
    assert chosen("cuda", 16, merge=False) == (LEAST_JOBS, 1, False)
    assert AtOnce.choose("cuda", 2, devices=4, jobs=None, merge=None).jobs == 8


@pytest.mark.parametrize(("share", "calls"), [(1.0, 4), (0.5, 2), (0.1, 0)])
def test_who_has_a_share_of_the_memory_makes_fewer_calls(
    share: float, calls: int, micro_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []
    monkeypatch.setattr(network_module, "tiles_in_memory", lambda config, device: 8)
    threads = NetworkThreads(merge=False, count=4)
    monkeypatch.setattr(threads, "limit", limits.append)
    options = EncodeOptions(device="cpu", batch=2)
    SharedNetworks("cpu", threads, share).load(weights.resolve(str(micro_weights)), options, "encoder")
    assert limits == [calls]
