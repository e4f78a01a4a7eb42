"""Files of tensors that are damaged, claim what they do not hold, or hold no real numbers."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.latents import tensor_files
from vidtwin_codec.latents.tensor_files import open_tensors


def archive(arrays: dict[str, Any], *, compressed: bool = True) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def read_all(path: Path) -> None:
    tensors = open_tensors(path)
    for name in tensors.shapes:
        tensors.read(name, 0, 1)


GOOD = archive({"metadata": np.array("text"), "structure": np.ones((2, 3), np.float32)})


@given(places=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_are_told_in_one_line(tmp_path: Path, places: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, value in places:
        data[place] = value
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    with suppress(VidtwinError):  # nothing else may come
        read_all(path)


def test_a_place_before_the_beginning_is_damage(tmp_path: Path) -> None:
    data, path = bytearray(GOOD), tmp_path / "a.npz"
    at = data.rindex(b"PK\x05\x06") + 16  # where the archive's list of entries begins
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") + 1000).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(VidtwinError, match=r"sound \.npz"):
        read_all(path)


@pytest.mark.parametrize("dtype", ["c8", "U4", "M8[s]", "V8", "?"])
def test_what_is_no_real_number_is_refused(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(archive({"structure": np.zeros((2, 3), dtype)}))
    with pytest.raises(VidtwinError, match="not real numbers"):
        read_all(path)


def test_sizes_are_known_before_anything_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    claim = b"\x93NUMPY\x01\x00\x46\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }".ljust(70)
    for shape in (10**12, 10**30):
        with zipfile.ZipFile(path, "w") as stream:
            stream.writestr("structure.npy", claim % shape)
        with pytest.raises(VidtwinError, match=r"sound \.npz"):
            open_tensors(path)
    path.write_bytes(archive({"unwanted": np.zeros(300_000, np.uint8)}))
    assert open_tensors(path).shapes == {"unwanted": (300_000,)}
    monkeypatch.setattr(tensor_files, "SMALL_BYTES", 100_000)
    with pytest.raises(VidtwinError, match="suspiciously many"):
        open_tensors(path)


def test_an_array_of_python_2_is_read_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    start = (
        b"\x93NUMPY\x01\x00\x46\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }".ljust(69) + b"\n"
    )
    with zipfile.ZipFile(path, "w") as stream:
        stream.writestr("structure.npy", start + bytes(8))
    assert open_tensors(path).read("structure", 0, 2).tolist() == [0, 0]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device")
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_device_that_never_ends_is_not_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.symlink_to("/dev/zero")
    with pytest.raises(VidtwinError, match="not a regular file"):
        open_tensors(path)
