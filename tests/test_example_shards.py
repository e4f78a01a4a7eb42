"""The recipes for WebDataset and Hugging Face datasets: every window of every file, as VtwDataset gives it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from latent_samples import sample_header, write_sample
from torch.utils.data import DataLoader

from vidtwin_codec import VtwDataset

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's libraries


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    path = Path(__file__).parent.parent / "examples" / "shards.py"
    spec = importlib.util.spec_from_file_location("example_shards", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["example_shards"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of 6 and 4 clips, the second of two tiles; windows of 2 clips always begin at the first."""
    folder = tmp_path / "latents"
    (folder / "a.b").mkdir(parents=True)
    write_sample(folder / "one.vtw", (3, 1, 2), seed=1)
    wide = sample_header(coded_width=40, width=40)
    write_sample(folder / "a.b" / "two.vtw", (4,), seed=2, header=wide)
    return folder


def key(sample: dict[str, object]) -> bytes:
    return b"".join(np.asarray(sample[name]).tobytes() for name in ("structure", "dynamics_x", "dynamics_y"))


def expected(folder: Path) -> list[bytes]:
    dataset = VtwDataset(folder, clips=2, random=False)
    return sorted(key(dataset[number]) for number in range(len(dataset)))


def test_windows_of_bytes_are_those_of_the_dataset(recipe: ModuleType, folder: Path) -> None:
    found = [window for sample in recipe.packed(folder) for window in recipe.windows(sample["vtw"], 2)]
    assert sorted(map(key, found)) == expected(folder)
    assert [sample["__key__"] for sample in recipe.packed(folder)] == ["a_b/two", "one"]


def test_webdataset(recipe: ModuleType, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    recipe.write_shards(folder, f"{tmp_path}/shards/%06d.tar", most_bytes=1)
    shards = sorted(str(path) for path in (tmp_path / "shards").glob("*.tar"))
    assert len(shards) == 2
    assert sorted(map(key, recipe.read_shards(shards, 2))) == expected(folder)
    loader = DataLoader(recipe.read_shards(shards, 2), batch_size=None, num_workers=2, timeout=60)
    assert sorted(map(key, loader)) == expected(folder)
    batches = list(DataLoader(recipe.read_shards(shards, 2).batched(4), batch_size=None))
    assert [len(batch["structure"]) for batch in batches] == [4, 3]


def test_hugging_face_datasets(
    recipe: ModuleType, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    recipe.rows(folder).to_parquet(str(tmp_path / "rows.parquet"))
    again = datasets.Dataset.from_parquet(str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path / "cache"))
    assert again["name"][:] == ["a_b/two", "one"]
    assert sorted(map(key, recipe.windows_of_rows(again, 2))) == expected(folder)
    file = str(tmp_path / "rows.parquet")
    stream = datasets.load_dataset("parquet", data_files=file, split="train", streaming=True)
    samples = recipe.windows_of_rows(stream, 2).shuffle(buffer_size=1000)
    assert sorted(map(key, samples)) == expected(folder)
