"""VtwFile: what is read, from where, by how many threads."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MakeVideo
from hypothesis import given
from hypothesis import strategies as st
from latent_samples import CLIP_FRAMES, LAYOUT, random_symbols, sample_header, write_sample

from vidtwin_codec import DecodeOptions, EncodeOptions, VidtwinError, VtwFile, decode_frames, encode
from vidtwin_codec.coding import LatentArrays, dequantize
from vidtwin_codec.container import VtwReader
from vidtwin_codec.latents.cache import GroupCache, narrowed


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LatentArrays]:
    path = tmp_path_factory.mktemp("latents") / "a.vtw"
    # 40 pixels are two tiles of 32
    return path, write_sample(path, (3, 1, 4, 2), missing_frames=1, header=sample_header(coded_width=40, width=40))


def same(one: LatentArrays, other: LatentArrays) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@given(start=st.none() | st.integers(-12, 12), stop=st.none() | st.integers(-12, 12), step=st.integers(1, 4))
def test_slices_are_those_of_a_list(
    sample: tuple[Path, LatentArrays], start: int | None, stop: int | None, step: int
) -> None:
    path, symbols = sample
    with VtwFile(path) as file:
        for part in (slice(start, stop, step), slice(start, stop, -step)):
            found = file[part]
            assert list(found.numbers) == list(range(10))[part]
            assert same(found.symbols, LatentArrays(*(array[part] for array in symbols)))
            assert len(found) == len(found.structure)


def test_numbers_and_metadata(sample: tuple[Path, LatentArrays]) -> None:
    path, symbols = sample
    with VtwFile(path) as file:
        assert (len(file), file.frame_count, file.tiles, file.group_clips) == (10, 39, 2, (3, 1, 4, 2))
        assert file.duration == pytest.approx(39 / 25)
        assert file.metadata["frames"] == 39
        assert file.metadata["weights_name"] == "sample"
        assert file[-1].numbers == range(9, 10)
        assert file[-1].frames == range(36, 39)
        assert same(file[3].symbols, LatentArrays(*(array[3:4] for array in symbols)))
        for wrong in (10, -11):
            with pytest.raises(IndexError, match="of 10"):
                file[wrong]


def test_latents_are_what_a_decoder_is_given(sample: tuple[Path, LatentArrays]) -> None:
    path, symbols = sample
    with VtwFile(path) as file:
        found = file[2:5]
        expected = dequantize(LatentArrays(*(array[2:5] for array in symbols)), file.header.steps)
        assert same(found.numpy(), expected)
        assert same(LatentArrays(found.structure, found.dynamics_x, found.dynamics_y), expected)
        tensors = found.torch()
    assert found.structure.shape == (3, 2, *LAYOUT.structure)
    assert found.structure.dtype == np.float32
    assert all(torch.equal(a, torch.from_numpy(b)) for a, b in zip(tensors, expected, strict=True))


def test_by_frame_and_by_time(sample: tuple[Path, LatentArrays]) -> None:
    with VtwFile(sample[0]) as file:
        for first in range(39):
            for last in range(first + 1, 40):
                found = file.by_frame[first:last]
                assert found.frames == range(first, last)
                assert found.numbers == range(first // CLIP_FRAMES, (last - 1) // CLIP_FRAMES + 1)
        assert file.by_frame[38].numbers == range(9, 10)
        assert len(file.by_frame[5:5]) == 0
        assert file.by_time[0.4:0.8].frames == range(10, 20)
        assert file.by_time[0.4].numbers == range(2, 3)
        assert file.by_time[0.4:0.41].frames == range(10, 11)
        assert file.by_time[:].frames == range(39)
        assert len(file.by_time[5:7]) == 0
        with pytest.raises(IndexError):
            file.by_time[2.0]
        with pytest.raises(ValueError, match="steps of 1"):
            file.by_frame[::2]


def test_only_the_groups_needed_are_read(sample: tuple[Path, LatentArrays], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = VtwReader.read_group
    monkeypatch.setattr(VtwReader, "read_group", lambda self, n: read.append(n) or original(self, n))
    with VtwFile(sample[0]) as file:
        file[4:8]
        assert read == [2]
        file[3:5]
        assert read == [2, 1]
        file[::9]
        assert read == [2, 1, 0, 3]
        file[:]
        assert len(read) == 4


def test_threads_read_what_one_reads(sample: tuple[Path, LatentArrays]) -> None:
    path, symbols = sample
    # a cache that holds hardly anything, so that threads unpack and drop all the time
    with VtwFile(path, cache=GroupCache(2000)) as file, ThreadPoolExecutor(8) as pool:
        numbers = np.random.default_rng(1).integers(0, 10, 200)
        for number, found in zip(numbers, pool.map(lambda n: file[int(n)].symbols, numbers), strict=True):
            assert same(found, LatentArrays(*(array[number : number + 1] for array in symbols)))


def test_numpy_latents_and_metadata_need_no_torch(sample: tuple[Path, LatentArrays]) -> None:
    script = (
        "import sys; from vidtwin_codec import VtwFile\n"
        f"with VtwFile({str(sample[0])!r}) as file: print(file[0].structure.sum(), file.metadata['fps'])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_frames_are_those_of_decode(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    network = {"weights": str(micro_weights), "device": "cpu"}
    encode(make_video("in.mp4", frames=22, rate="30000/1001"), tmp_path / "a.vtw", EncodeOptions(**network))
    whole = np.concatenate(list(decode_frames(tmp_path / "a.vtw", DecodeOptions(batch=1, **network))))
    with VtwFile(tmp_path / "a.vtw") as file:
        for part in (slice(None), slice(5, 9), slice(21, 22), slice(-3, None), slice(7, 7)):
            found = list(file.frames(part.start or 0, part.stop, batch=1, **network))
            assert len(found) == len(whole[part])
            assert all(np.array_equal(a, b) for a, b in zip(found, whole[part], strict=True))


def test_a_damaged_group_is_named(sample: tuple[Path, LatentArrays], tmp_path: Path) -> None:
    with VtwReader(sample[0]) as reader:
        entry = reader.groups[2]
    data = bytearray(sample[0].read_bytes())
    data[entry.offset + entry.size // 2] ^= 0xFF
    (tmp_path / "b.vtw").write_bytes(data)
    with VtwFile(tmp_path / "b.vtw") as file:
        assert len(file[:4]) == 4
        with pytest.raises(VidtwinError, match="group 2"):
            file[5]


def test_cache_on_disk_serves_other_files_objects(
    sample: tuple[Path, LatentArrays], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, symbols = sample
    with VtwFile(path, cache=GroupCache(0, tmp_path / "unpacked")) as file:
        assert same(file[:].symbols, symbols)

    def never(self: VtwReader, number: int) -> None:
        raise AssertionError("unpacked again")

    monkeypatch.setattr(VtwReader, "read_group", never)
    with VtwFile(path, cache=GroupCache(1 << 20, tmp_path / "unpacked")) as file:
        assert same(file[2:9].symbols, LatentArrays(*(array[2:9] for array in symbols)))
    (found,) = (tmp_path / "unpacked").glob("*/3.npy")
    found.write_bytes(b"no array")
    with (
        VtwFile(path, cache=GroupCache(0, tmp_path / "unpacked")) as file,
        pytest.raises(VidtwinError, match="not readable"),
    ):
        file[9]


def test_cache_keeps_to_its_limit() -> None:
    header = sample_header()
    cache = GroupCache(1000)
    made: list[int] = []

    def make(number: int) -> LatentArrays:
        made.append(number)
        return LatentArrays(*(array[:, 0] for array in random_symbols(header, 3, number)))

    for number in (0, 1, 0, 2, 0, 1):  # 360 bytes each: two fit, and 1 has been used least recently when 2 comes
        found = cache.get("a", number, header.layout, lambda n=number: make(n))
        assert same(found, LatentArrays(*(array[:, 0] for array in random_symbols(header, 3, number))))
    assert made == [0, 1, 2, 1]


@pytest.mark.parametrize(("largest", "dtype"), [(127, np.int8), (128, np.int16), (40000, np.int32)])
def test_symbols_are_kept_in_the_smallest_type(largest: int, dtype: type) -> None:
    symbols = LatentArrays(*(np.array([[largest, -largest]], dtype=np.int32) for _ in range(3)))
    assert narrowed(symbols).structure.dtype == dtype
    assert same(narrowed(symbols), symbols)
