"""Names, digests and paths of weights."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from micro import micro_model

from vidtwin_codec.calibration.importing import ImportOptions, import_checkpoint
from vidtwin_codec.coding import Steps
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwin, save_checkpoint
from vidtwin_codec.weights import cache_folder, find_by_digest, list_entries, read_metadata, resolve, verify
from vidtwin_codec.weights.store import record_path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDTWIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def micro_steps(model: VidTwin, size: float = 0.5) -> Steps:
    config = model.config
    channels = (config.qformer.num_queries, config.structure_channels)
    return Steps.from_json(
        {
            "structure": [[size] * channels[1]] * channels[0],
            "dynamics_x": [size] * config.dynamics_channels,
            "dynamics_y": [size] * config.dynamics_channels,
        }
    )


def write(path: Path, *, seed: int = 0, steps: bool = True, name: str = "micro") -> Path:
    model = micro_model(seed)
    save_checkpoint(path, model, name=name, origin="a test", steps=micro_steps(model) if steps else None)
    return path


def add(folder: Path, name: str, seed: int = 0) -> str:
    return import_checkpoint(write(folder / "w.safetensors", seed=seed), ImportOptions(name=name)).entry.sha256


def test_mini_is_there_and_is_the_default() -> None:
    entry = resolve()
    assert entry == resolve("mini") == resolve(entry.sha256) == resolve(entry.sha256[:8]) == list_entries()[0]
    assert entry.embedded
    assert entry.sha256 == hashlib.sha256(entry.path.read_bytes()).hexdigest()
    assert entry.metadata.steps is not None
    assert entry.metadata.compute_dtype == "bfloat16"
    assert entry.origin
    assert entry.description
    assert [verdict.problem for verdict in verify("mini")] == [None]


def test_metadata_is_what_was_saved(tmp_path: Path) -> None:
    metadata = read_metadata(write(tmp_path / "w.safetensors"))
    model = micro_model()
    assert metadata.name == "micro"
    assert metadata.config == model.config.to_dict()
    assert metadata.steps == micro_steps(model)
    assert metadata.storage == "float16"
    assert metadata.parameters == sum(tensor.numel() for tensor in model.state_dict().values())


def test_imported_weights_are_found_by_name_digest_and_path(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / "w.safetensors")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = import_checkpoint(path, ImportOptions(name="mine")).entry
    assert entry.path == cache / "weights" / f"mine-{digest[:12]}.safetensors"
    assert entry.sha256 == digest, "a file of ours keeps its digest"
    assert resolve("mine") == resolve(digest) == resolve(digest.upper()[:9]) == find_by_digest(digest) == entry
    assert resolve(entry.path) == entry
    assert resolve(path).sha256 == digest
    assert resolve(path).name == "micro", "a file elsewhere is called what it says"
    assert [found.name for found in list_entries()] == ["mini", "compact", "mine"]
    assert find_by_digest("0" * 64) is None


def test_a_later_import_takes_the_name_over_and_the_earlier_stays(tmp_path: Path) -> None:
    first, second = add(tmp_path, "mine", seed=1), add(tmp_path, "mine", seed=2)
    os.utime(resolve(first).path, ns=(1, 1))
    assert resolve("mine").sha256 == second
    found = find_by_digest(first)
    assert found is not None
    assert found.sha256 == first


def test_unknown_names_say_what_to_do(tmp_path: Path) -> None:
    add(tmp_path, "mine")
    with pytest.raises(VidtwinError, match=r"'nine' \(here: mini, compact, mine\)") as caught:
        resolve("nine")
    assert "weights import" in (caught.value.hint or "")
    with pytest.raises(VidtwinError, match="not on this machine") as caught:
        resolve("base")
    assert "weights fetch base" in (caught.value.hint or "")
    with pytest.raises(VidtwinError, match="No such file"):
        resolve("missing.safetensors")
    with pytest.raises(VidtwinError, match="No such file"):
        resolve(tmp_path / "missing")


def test_weights_that_are_not_ready_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(VidtwinError, match="no quantisation steps") as caught:
        resolve(write(tmp_path / "w.safetensors", steps=False))
    assert "weights import" in (caught.value.hint or "")
    (tmp_path / "text.safetensors").write_text("hello, here is some text")
    with pytest.raises(VidtwinError, match="not a checkpoint"):
        resolve(tmp_path / "text.safetensors")


def test_damage_is_found_by_verify_and_refused_by_use(tmp_path: Path) -> None:
    digest = add(tmp_path, "mine")
    path = resolve("mine").path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    later = record_path(path).stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))
    with pytest.raises(VidtwinError, match="the file has changed"):
        resolve("mine")
    assert [verdict.problem is None for verdict in verify()] == [True, True, False]
    path.write_bytes(data[:-10])
    (verdict,) = verify("mine")
    assert "truncated" in (verdict.problem or "")
    record_path(path).unlink()
    assert digest[:12] in path.name
    assert verify("mine")[0].problem is not None
    assert [entry.name for entry in list_entries()] == ["mini", "compact"]


def test_even_damage_with_an_old_date_is_found_by_verify(tmp_path: Path) -> None:
    add(tmp_path, "mine")
    path = resolve("mine").path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))
    assert "was recorded" in (verify("mine")[0].problem or "")


def test_short_digests_must_be_unique(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {add(tmp_path, "mine", seed=seed) for seed in range(2)}
    assert len(digests) == 2
    with pytest.raises(VidtwinError, match="several weights"):
        find_by_digest("")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="elsewhere other variables tell")
def test_the_cache_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache" / "weights"
    monkeypatch.delenv("VIDTWIN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "vidtwin" / "weights"


@pytest.mark.parametrize(("version", "message"), [("2", "newer"), ("x", "newer")])
def test_a_newer_format_is_refused(tmp_path: Path, version: str, message: str) -> None:
    path = write(tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes().replace(b'"version":"1"', b'"version":"%s"' % version.encode()))
    with pytest.raises(VidtwinError, match=f"version '{version}'") as caught:
        read_metadata(path)
    assert message in (caught.value.hint or "")


def test_looking_weights_up_needs_no_torch() -> None:
    code = "import sys; from vidtwin_codec.weights import resolve; resolve(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
