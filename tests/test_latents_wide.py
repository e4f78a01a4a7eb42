"""Wide latents in files: read, cached, mixed, exported and imported a clip at a time, symbol for symbol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from latent_samples import CLIP_FRAMES, sample_header

from vidtwin_codec import VidtwinError, VtwDataset, VtwFile
from vidtwin_codec.coding import SPARSE, LatentArrays, LatentLayout, PlacedClip, Steps
from vidtwin_codec.coding.patterns import Patterns
from vidtwin_codec.coding.sparse_group import SparseGroup
from vidtwin_codec.container import Header, VtwReader, verify
from vidtwin_codec.evaluation.report.latents import inspect_page
from vidtwin_codec.latents.cache import GroupCache
from vidtwin_codec.latents.exporting import export_latents
from vidtwin_codec.latents.importing import import_latents
from vidtwin_codec.latents.mixing import mix_to_vtw
from vidtwin_codec.latents.writing import write_symbols

LAYOUT = LatentLayout((4, 2, 3, 10), (2, CLIP_FRAMES, 3), (2, CLIP_FRAMES, 2), Patterns(8, (6, 2, 2)))


def wide_header(**changes: object) -> Header:
    """Two windows of 24 × 16 pixels."""
    steps = Steps(np.full((4, 10), 0.25), np.full(2, 0.5), np.full(2, 0.5))
    sizes = {"width": 40, "height": 15, "coded_width": 40, "coded_height": 15, "tile_width": 24, "tile_height": 16}
    values = {"layout": LAYOUT, "steps": steps, "coder": SPARSE, "overlap": 0, "abutting": True, **sizes, **changes}
    return sample_header(**values)


def sparse_symbols(header: Header, clips: int, seed: int = 0, largest: int = 9) -> LatentArrays:
    """``[clips, tiles, ...]``, one in eight not zero."""
    rng = np.random.default_rng(seed)
    arrays = []
    for shape in header.layout.shapes():
        values = rng.integers(-largest, largest + 1, (clips, header.tiles, *shape), dtype=np.int32)
        arrays.append(values * (rng.random(values.shape) < 0.125))
    return LatentArrays(*(array.astype(np.int32) for array in arrays))


def write_wide(
    path: Path, groups: tuple[int, ...] = (3, 1, 2), *, header: Header | None = None, seed: int = 0
) -> LatentArrays:
    header = header or wide_header()
    symbols = sparse_symbols(header, sum(groups), seed)
    with path.open("wb") as stream:
        write_symbols(
            *(stream, header, groups, sum(groups) * CLIP_FRAMES - 1),
            lambda first, end: LatentArrays(*(array[first:end] for array in symbols)),
        )
    return symbols


def same(one: LatentArrays, other: LatentArrays) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("folder", [False, True])
def test_any_clips_are_read(tmp_path: Path, folder: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    symbols = write_wide(tmp_path / "a.vtw")
    assert verify(tmp_path / "a.vtw") == []
    cache = GroupCache(0 if folder else 1 << 20, tmp_path / "unpacked" if folder else None)
    with VtwFile(tmp_path / "a.vtw", cache=cache) as file:
        for part in (slice(None), slice(2, 5), slice(5, 0, -2), slice(4, 4)):
            assert same(file[part].symbols, LatentArrays(*(array[part] for array in symbols)))
        assert file[1].symbols.structure.dtype == np.int8
        assert file[1].structure.shape == (1, 2, *LAYOUT.structure)
        # and again, without unpacking
        monkeypatch.setattr(VtwReader, "placed", None)
        assert same(file[3:].symbols, LatentArrays(*(array[3:] for array in symbols)))
    if folder:
        (tmp_path / "unpacked").glob("*/1.npz").__next__().write_bytes(b"no arrays")
        with VtwFile(tmp_path / "a.vtw", cache=cache) as file, pytest.raises(VidtwinError, match="not readable"):
            file[3]


def test_only_what_is_not_zero_takes_memory() -> None:
    symbols = sparse_symbols(wide_header(), 5, largest=300)
    clips = [LatentArrays(*(array[clip] for array in symbols)) for clip in range(5)]
    group = SparseGroup.of(PlacedClip(clip, None) for clip in clips)
    assert group.dtype == np.int16
    assert group.nbytes < sum(array.nbytes for array in symbols) / 4
    for number, clip in enumerate(clips):
        assert same(group.clip(number, LAYOUT, 2).symbols, clip)
    nothing = SparseGroup.of(PlacedClip(LatentArrays(*(np.zeros_like(part) for part in clip)), None) for clip in clips)
    assert (nothing.nbytes, nothing.dtype) == (0, np.int8)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_a_file_comes_back_byte_for_byte(suffix: str, tmp_path: Path) -> None:
    write_wide(tmp_path / "a.vtw")
    export_latents([tmp_path / "a.vtw"], tmp_path / f"a{suffix}")
    import_latents(tmp_path / f"a{suffix}", tmp_path / "b.vtw")
    assert (tmp_path / "b.vtw").read_bytes() == (tmp_path / "a.vtw").read_bytes()


def test_mixing_takes_windows_of_the_same_size(tmp_path: Path) -> None:
    one = write_wide(tmp_path / "s.vtw", (2, 4))
    other = write_wide(tmp_path / "d.vtw", (5, 1), seed=1)
    mix_to_vtw(tmp_path / "s.vtw", tmp_path / "d.vtw", tmp_path / "m.vtw")
    with VtwFile(tmp_path / "m.vtw") as mixed:
        assert mixed.header.coder == SPARSE
        assert same(mixed[:].symbols, LatentArrays(one.structure, other.dynamics_x, other.dynamics_y))
    write_wide(tmp_path / "tall.vtw", header=wide_header(coded_height=30))
    with pytest.raises(VidtwinError, match="2 windows, the other in 4"):
        mix_to_vtw(tmp_path / "s.vtw", tmp_path / "tall.vtw", tmp_path / "n.vtw")
    narrow = LatentLayout((4, 2, 2, 10), (2, CLIP_FRAMES, 2), (2, CLIP_FRAMES, 2), Patterns(8, (6, 2, 2)))
    write_wide(tmp_path / "narrow.vtw", header=wide_header(layout=narrow, tile_width=16, coded_width=30))
    with pytest.raises(VidtwinError, match=r"windows of 24 x 16 pixels, .* windows of 16 x 16"):
        mix_to_vtw(tmp_path / "s.vtw", tmp_path / "narrow.vtw", tmp_path / "n.vtw")


def test_a_dataset_gives_windows(tmp_path: Path) -> None:
    symbols = write_wide(tmp_path / "a.vtw")
    dataset = VtwDataset(tmp_path, clips=2, random=False)
    assert len(dataset) == 2 * 2
    sample = dataset[1]
    assert torch.equal(sample["structure"], torch.from_numpy(symbols.structure[:2, 1] * np.float32(0.25)))


def test_a_page_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wide(tmp_path / "a.vtw")
    monkeypatch.setattr("vidtwin_codec.evaluation.report.latents._moments", lambda *_: [])
    assert "2 tiles" in inspect_page(tmp_path / "a.vtw")
