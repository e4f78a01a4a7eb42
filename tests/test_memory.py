"""Memory that runs out, and devices that fail: recognised, let go of, and told apart."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from conftest import MakeVideo
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vidtwin_codec import machine
from vidtwin_codec.batch.engine import Ended, Event, Job, Warned
from vidtwin_codec.batch.local import LocalEngine
from vidtwin_codec.batch.network import NetworkThreads
from vidtwin_codec.batch.records import FileStamp
from vidtwin_codec.container import VtwReader, VtwWriter
from vidtwin_codec.decoding.decode import decode_frames
from vidtwin_codec.encoding.encode import encode
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.network.device import Device, select_device
from vidtwin_codec.network.geometry import Geometry
from vidtwin_codec.network.memory import Batches, allocate, check_frames, is_broken_device, is_out_of_memory
from vidtwin_codec.options import DecodeOptions, EncodeOptions, NetworkOptions

FULL = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"
    ),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to allocate"
    ),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError(
        "MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1.00 GB, max allowed: 9.07 GB)"
    ),
    RuntimeError("Invalid buffer size: 14.90 GB"),
    MemoryError("Unable to allocate 7.28 TiB for an array with shape (1000000, 1000000) and data type float64"),
)
BROKEN = (
    RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("HIP error: the operation cannot be performed in the present state"),
)
PLAIN = (
    RuntimeError("shapes cannot be multiplied (3x4 and 5x6)"),
    ValueError("CUDA error: unspecified launch failure"),
)


@pytest.mark.parametrize("error", FULL, ids=str)
def test_errors_of_full_memory(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_broken_device(error)


@pytest.mark.parametrize("error", BROKEN, ids=str)
def test_errors_of_a_broken_device(error: Exception) -> None:
    assert is_broken_device(error)
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("error", PLAIN, ids=str)
def test_errors_of_neither_kind(error: Exception) -> None:
    assert not is_out_of_memory(error)
    assert not is_broken_device(error)


def test_this_machines_own_errors_are_recognised() -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("threaded", [False, True])
def test_nothing_of_a_failed_call_is_alive_when_it_is_tried_again(threaded: bool) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def network(tiles: int) -> tuple[torch.Tensor]:
        alive.append(sum(reference() is not None for reference in held))
        activations = torch.zeros(tiles)
        held.append(weakref.ref(activations))
        if tiles > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (torch.zeros(tiles),)

    with NetworkThreads(merge=False) as threads:

        def call(piece: slice) -> tuple[torch.Tensor, ...]:
            tiles = torch.zeros(piece.stop - piece.start)
            if threaded:
                return threads.ask("a", lambda inputs: network(len(inputs[0])), (tiles,), 4)
            return network(len(tiles))

        assert len(list(Batches(4).run(call, 4))) == 4
    assert alive == [0] * 6


def test_merged_calls_that_were_too_much_are_not_made_again() -> None:
    sizes: list[int] = []

    def network(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        sizes.append(len(inputs[0]))
        if len(inputs[0]) > 3:
            raise RuntimeError("CUDA error: out of memory")
        return inputs

    with NetworkThreads(merge=True) as threads, ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            with threads._changed:  # so that all wait before the first is taken
                futures = [pool.submit(threads.ask, "a", network, (torch.zeros(2),), 100) for _ in range(4)]
            for future in futures:
                assert len(future.result()[0]) == 2
    assert sum(size > 3 for size in sizes) <= 2


def test_a_canvas_that_the_device_has_no_room_for_lies_on_the_cpu() -> None:
    like = torch.zeros(1, dtype=torch.uint8)
    assert allocate(like, (3, 2)).shape == (3, 2)
    with pytest.raises(VidtwinError, match="not enough memory for the frames of one clip"):
        allocate(like, (1 << 30, 1 << 30))


@pytest.mark.parametrize(
    ("width", "height", "gigabytes", "where"),
    [(1920, 1080, 8, "cuda"), (3840, 2160, 8, "cpu"), (3840, 2160, 24, "cuda"), (7680, 4320, 24, "cpu")],
)
def test_large_frames_are_joined_on_the_cpu_whatever_is_free_on_a_small_card(
    monkeypatch: pytest.MonkeyPatch, width: int, height: int, gigabytes: int, where: str
) -> None:
    made: list[str] = []
    like = SimpleNamespace(
        device=torch.device("cuda"),
        element_size=lambda: 4,
        new_empty=lambda shape, device="cuda": made.append(device),
    )
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=gigabytes * 2**30)
    )
    allocate(cast("torch.Tensor", like), (16, height, width, 3))
    assert made == [where]


class Allocations(TorchDispatchMode):
    """Counts the bytes of floats that operations make, and not merely look at or change."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {one.untyped_storage().data_ptr() for one in tree_leaves((args, kwargs)) if torch.is_tensor(one)}
        out = func(*args, **(kwargs or {}))
        for one in tree_leaves(out):
            if torch.is_tensor(one) and one.is_floating_point() and one.untyped_storage().data_ptr() not in before:
                self.total += one.untyped_storage().nbytes()
        return out


def test_joining_takes_one_canvas_and_little_more() -> None:
    geometry = Geometry(640, 480, 8, 256, 256, 32)
    tiles = torch.zeros(len(geometry.tiles), 3, 8, 256, 256)
    with Allocations() as counted:
        geometry.join(tiles)
    canvas = 8 * 480 * 640 * 3 * 4
    fades = len(geometry.tiles) * 256 * 256 * 4
    assert canvas < counted.total < 1.1 * canvas + fades
    with Allocations() as counted:
        replace(geometry, width=256, height=256).join(tiles[:1])
    assert counted.total == 0


def test_devices_that_are_not_there_are_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert str(select_device("cuda:1", "auto", "bfloat16")) == "cuda:1 float32"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert str(select_device("cuda:1", "auto", "bfloat16")) == "cuda:1 bfloat16"
    with pytest.raises(VidtwinError, match="no device cuda:7: its last is cuda:1"):
        select_device("cuda:7", "auto", "float32")
    for name in ("cuda:x", "cuda:", "cuda:0,cuda:1", "cuda:-1"):
        with pytest.raises(VidtwinError, match="does not name a device"):
            select_device(name, "auto", "float32")


@pytest.fixture
def _flags_kept() -> Iterator[None]:
    matmul, convolutions = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolutions


@pytest.mark.usefixtures("_flags_kept")
def test_tf32_is_off_unless_it_is_asked_for_and_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    flags = ((torch.backends.cuda.matmul, "allow_tf32"), (torch.backends.cudnn, "allow_tf32"))
    for owner, name in flags:
        setattr(owner, name, True)
    for name in ("cpu", "cuda"):
        select_device(name, "float32", "float32", tf32=True)
        assert [getattr(owner, flag) for owner, flag in flags] == [False, False]
    assert select_device("cuda", "tf32", "float32", tf32=True) == Device(torch.device("cuda"), torch.float32, True)
    assert [getattr(owner, flag) for owner, flag in flags] == [True, True]
    with pytest.raises(VidtwinError, match="not marked as bearing TF32"):
        select_device("cuda", "tf32", "float32")
    with pytest.raises(VidtwinError, match="for CUDA devices"):
        select_device("cpu", "tf32", "float32", tf32=True)


def job(name: str, work: float) -> Job:
    return Job(Path(name), Path(name), name, FileStamp(1, 1), None, 0, 0.0, work, 0, "new")


def test_a_device_that_failed_ends_the_run_and_not_the_queue() -> None:
    def perform(job: Job, *rest: object) -> dict[str, object]:
        if job.name == "whole":
            return {}
        raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronous")

    events: list[Event] = []
    engine = LocalEngine(NetworkOptions(device="cpu"), jobs=1)
    with pytest.raises(VidtwinError, match=r"the device failed: CUDA error: unspecified launch failure$"):
        events.extend(engine.run([job("whole", 9), *(job(str(number), 1) for number in range(5))], perform))
    assert not [event for event in events if isinstance(event, Ended) and event.error]
    assert not any(isinstance(event, Warned) for event in events)


def test_frames_that_fit_no_machine_are_refused_before_they_are_made() -> None:
    with pytest.raises(VidtwinError, match="16 frames of 65535 x 65535 pixels do not fit") as caught:
        check_frames(65535, 65535, 16, hint="pass --short-side")
    assert caught.value.hint == "pass --short-side"
    check_frames(1920, 1080, 16, hint="")


def test_a_file_that_claims_huge_frames(
    make_video: MakeVideo, micro_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, claims = tmp_path / "a.vtw", tmp_path / "b.vtw"
    encode(make_video("in.mp4", frames=6), path, EncodeOptions(weights=str(micro_weights), audio="none"))
    data = path.read_bytes()
    with VtwReader(path) as reader, claims.open("wb") as stream:
        writer = VtwWriter(stream, replace(reader.header, width=16000, height=8000))
        for entry in reader.groups:
            writer.write_group(data[entry.offset : entry.offset + entry.size], entry.span)
        writer.finish()
    options = DecodeOptions(weights=str(micro_weights))
    few = next(iter(decode_frames(claims, options)))
    assert few.shape == (1, 8000, 16000, 3)
    monkeypatch.setattr(machine, "memory", lambda: 1 << 30)
    with pytest.raises(VidtwinError, match="do not fit the memory") as caught:
        next(iter(decode_frames(claims, options)))
    assert "--coded-size" in (caught.value.hint or "")
    assert next(iter(decode_frames(claims, replace(options, coded_size=True)))).shape[1:] == (36, 40, 3)
