"""VtwDataset: what a sample is, what an epoch covers, workers."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from latent_samples import LAYOUT, sample_header, write_sample
from torch.utils.data import DataLoader

from vidtwin_codec import VidtwinError, VtwDataset, VtwFile


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of 6, 7 (6 of them full) and 1 clips; the second of two tiles."""
    folder = tmp_path_factory.mktemp("set")
    (folder / "deep").mkdir()
    write_sample(folder / "a.vtw", (3, 1, 2), seed=1)
    wide = sample_header(coded_width=40, width=40)
    write_sample(folder / "deep" / "b.vtw", (2, 5), seed=2, missing_frames=1, header=wide)
    write_sample(folder / "short.vtw", (1,), seed=3)
    (folder / "notes.txt").write_text("not a video")
    return folder


def expected(dataset: VtwDataset, sample: dict[str, object]) -> list[np.ndarray]:
    """The sample's tensors, read from its file directly."""
    first = int(sample["clip"])  # type: ignore[call-overload]
    with VtwFile(dataset.files[int(sample["file"])]) as file:  # type: ignore[call-overload]
        latents = file[first : first + dataset.clips].numpy()
    return [array[:, int(sample["tile"])] if "tile" in sample else array for array in latents]  # type: ignore[call-overload]


def test_samples_are_windows_of_the_files(folder: Path) -> None:
    dataset = VtwDataset(folder, clips=2)
    assert [Path(path).name for path in dataset.files] == ["a.vtw", "b.vtw"]
    assert [Path(path).name for path in dataset.skipped] == ["short.vtw"]
    assert len(dataset) == 3 + 3 * 2
    for number in range(len(dataset)):
        sample = dataset[number]
        for name, shape, array in zip(
            ("structure", "dynamics_x", "dynamics_y"), LAYOUT.shapes(), expected(dataset, sample), strict=True
        ):
            assert sample[name].dtype == torch.float32
            assert sample[name].shape == (2, *shape)
            assert np.array_equal(sample[name].numpy(), array)
    with pytest.raises(IndexError):
        dataset[len(dataset)]
    assert dataset[-1]["file"] == 1


def test_without_random_windows_lie_end_to_end(folder: Path) -> None:
    dataset = VtwDataset(folder, clips=2, random=False)
    seen = [(sample["file"], sample["clip"], sample["tile"]) for sample in map(dataset.__getitem__, range(9))]
    assert seen == [(0, c, 0) for c in (0, 2, 4)] + [(1, c, t) for c in (0, 2, 4) for t in (0, 1)]


def test_random_windows_reach_every_place_equally_and_no_filled_up_clip(folder: Path) -> None:
    torch.manual_seed(0)
    dataset = VtwDataset([folder / "deep" / "b.vtw"], clips=4)
    assert len(dataset) == 2  # one window of four of the six full clips, of two tiles
    firsts = [dataset[number % 2]["clip"] for number in range(600)]
    counts = np.bincount(firsts)
    assert len(counts) == 3
    assert counts.min() > 150


def test_all_tiles(folder: Path) -> None:
    dataset = VtwDataset(folder / "deep", clips=3, tiles="all")
    sample = dataset[1]
    assert sample["structure"].shape == (3, 2, *LAYOUT.structure)
    assert "tile" not in sample
    assert all(
        np.array_equal(sample[name].numpy(), array)
        for name, array in zip(("structure", "dynamics_x", "dynamics_y"), expected(dataset, sample), strict=True)
    )
    with pytest.raises(VidtwinError, match="has 2 tiles a clip"):
        VtwDataset(folder, tiles="all")


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_read_and_collate_what_one_process_reads(folder: Path, tmp_path: Path, start: str) -> None:
    dataset = VtwDataset(folder, clips=2, cache_folder=tmp_path / "unpacked")
    dataset[0]  # a file is open in the parent before the workers are started
    loader = DataLoader(dataset, batch_size=3, shuffle=True, num_workers=2, multiprocessing_context=start)
    seen = 0
    for batch in loader:
        assert batch["structure"].shape == (3, 2, *LAYOUT.structure)
        for number in range(3):
            sample = {key: value[number] for key, value in batch.items()}
            for name, array in zip(("structure", "dynamics_x", "dynamics_y"), expected(dataset, sample), strict=True):
                assert np.array_equal(sample[name].numpy(), array)
            seen += 1
    assert seen == len(dataset)


def test_random_windows_differ_between_epochs_and_repeat_with_the_seed(folder: Path) -> None:
    dataset = VtwDataset(folder / "a.vtw")
    loader = DataLoader(VtwDataset(folder / "a.vtw", clips=5), num_workers=0)

    def epochs(seed: int) -> list[list[int]]:
        torch.manual_seed(seed)
        return [[int(batch["clip"]) for batch in loader] for _ in range(12)]

    assert epochs(1) == epochs(1)
    assert len({tuple(epoch) for epoch in epochs(1)}) > 1
    # a window as long as a stretch of one clip cannot move
    assert [dataset[number]["clip"] for number in range(6)] == list(range(6))


def test_pickling_leaves_files_and_caches_behind(folder: Path) -> None:
    dataset = VtwDataset(folder)
    dataset[0]
    data = pickle.dumps(dataset)
    assert len(data) < 2000
    again = pickle.loads(data)
    assert torch.equal(again[3]["structure"], dataset[3]["structure"])


def test_files_of_different_weights_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    write_sample(tmp_path / "other.vtw", header=sample_header(weights_sha256="cd" * 32, weights_name="other"))
    with pytest.raises(VidtwinError, match=r"a\.vtw was made with weights 'sample'.*other\.vtw with 'other'"):
        VtwDataset([folder, tmp_path])
    with pytest.raises(VidtwinError, match=r"none of 3 files has 9 full clips"):
        VtwDataset(folder, clips=9)
    (tmp_path / "empty").mkdir()
    with pytest.raises(VidtwinError, match=r"no \.vtw file"):
        VtwDataset(tmp_path / "empty")
