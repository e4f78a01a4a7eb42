"""Fetching from a stand-in for the hub on loopback."""

from __future__ import annotations

import builtins
import hashlib
import io
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hub_server import Hub, serving
from launching import WHOLE
from micro import assert_same, micro_model, released_params, released_state

from vidtwin_codec.calibration import fetching
from vidtwin_codec.calibration.fetching import fetch
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import load_checkpoint
from vidtwin_codec.reporter import Reporter
from vidtwin_codec.weights import FETCHABLE, resolve

pytest.importorskip("huggingface_hub")
BASE = FETCHABLE["base"]
CHUNK = 1000
"""Bytes the library writes at once; 10 MB outside of tests."""


def checkpoint_bytes() -> bytes:
    model = micro_model()
    stream = io.BytesIO()
    torch.save({"state_dict": released_state(model), "hyper_parameters": released_params(model.config)}, stream)
    return stream.getvalue()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setenv("VIDTWIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the library waits a second before it goes on
    with serving(Hub(BASE.repository, BASE.file, checkpoint_bytes())) as served:
        # what the library does on its import with HF_ENDPOINT
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        template = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield served


def parts(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


def test_base_is_fetched_checked_and_imported(hub: Hub, tmp_path: Path) -> None:
    result = fetch("base")
    assert resolve("base") == result.entry
    assert "microsoft/vidtwin" in result.entry.origin
    assert_same(load_checkpoint(result.entry.path), micro_model().half().float())
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".ckpt", ".part"}], "the download is gone"


def test_bytes_of_a_download_are_counted(hub: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    hub.cuts = [40 * CHUNK]
    stages: dict[str, list[int | None]] = {}
    units: list[str] = []

    def started(total: int | None, doing: str) -> None:
        stages[doing] = [total]

    def advanced(count: int) -> None:
        stages[list(stages)[-1]].append(count)

    fetch("base", reporter=Reporter(started, advanced, counting=units.append))
    total, *arrived = stages[f"downloading {BASE.repository}/{BASE.file}"]
    assert total == len(hub.content)
    assert sum(filter(None, arrived)) == total
    assert units[0] == "byte"
    assert any(stage.startswith("calibrating") for stage in stages)
    assert "%|" not in capfd.readouterr().err  # no second bar beside ours


def test_a_cut_connection_is_taken_up_where_it_broke(hub: Hub) -> None:
    hub.cuts = [40 * CHUNK, 30 * CHUNK]
    fetch("base")
    assert hub.ranges == [None, f"bytes={40 * CHUNK}-", f"bytes={70 * CHUNK}-"]


def test_a_later_command_goes_on_where_an_earlier_one_failed(hub: Hub, tmp_path: Path) -> None:
    half = 60 * CHUNK
    hub.cuts, hub.refuse_after_cut = [half], True
    with pytest.raises(VidtwinError, match="cannot be downloaded") as caught:
        fetch("base")
    assert "continues where it stopped" in (caught.value.hint or "")
    (part,) = parts(tmp_path)
    assert part.read_bytes() == hub.content[:half]
    hub.refuse_after_cut = False
    hub.ranges.clear()
    fetch("base")
    assert hub.ranges == [f"bytes={half}-"]
    assert resolve("base").name == "base"


def test_a_server_without_ranges_starts_over(hub: Hub) -> None:
    hub.cuts, hub.ignores_ranges = [1000], True
    assert fetch("base").entry.name == "base"


@pytest.mark.parametrize("digits", [64, 40])
def test_what_is_not_as_stated_is_refused_and_not_kept(hub: Hub, tmp_path: Path, digits: int) -> None:
    hub.etag = "0" * digits
    with pytest.raises(VidtwinError, match="what arrived has digest"):
        fetch("base")
    assert not parts(tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_small_files_are_checked_by_git_digest(hub: Hub) -> None:
    hub.etag = hashlib.sha1(b"blob %d\0" % len(hub.content) + hub.content).hexdigest()
    assert fetch("base").entry.name == "base"


def test_a_part_that_is_too_long_is_thrown_away(hub: Hub) -> None:
    folder = fetching.store.cache_folder().parent / "downloads" / hub.etag
    folder.mkdir(parents=True)
    (folder / (Path(BASE.file).name + ".part")).write_bytes(hub.content + b"more")
    fetch("base")
    assert hub.ranges == [None]


def test_a_complete_part_is_not_downloaded_again(hub: Hub) -> None:
    folder = fetching.store.cache_folder().parent / "downloads" / hub.etag
    folder.mkdir(parents=True)
    (folder / (Path(BASE.file).name + ".part")).write_bytes(hub.content)
    fetch("base")
    assert hub.ranges == []


def test_a_hub_without_the_file_or_without_digests_is_named(hub: Hub) -> None:
    hub.etag = "weak"
    with pytest.raises(VidtwinError, match="states no digest"):
        fetch("base")
    hub.repository = "microsoft/other"
    with pytest.raises(VidtwinError, match="the hub answers 404"):
        fetch("base")


def test_no_connection_is_one_clear_line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(VidtwinError, match="cannot be downloaded") as caught:
        fetch("base")
    assert "\n" not in caught.value.message


def test_a_full_disk_is_noticed_before_the_download(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(VidtwinError, match="10 free"):
        fetch("base")
    assert hub.ranges == []


def test_only_one_download_at_a_time(hub: Hub) -> None:
    from filelock import FileLock

    folder = fetching.store.cache_folder().parent / "downloads" / hub.etag
    folder.mkdir(parents=True)
    with FileLock(folder.with_suffix(".lock")), pytest.raises(VidtwinError, match="another vidtwin"):
        fetch("base")


def test_without_the_library_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("huggingface_hub"):
            raise ModuleNotFoundError(name)
        return original(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(VidtwinError, match="not installed") as caught:
        fetch("base")
    assert "vidtwin-codec[hub]" in (caught.value.hint or "")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(VidtwinError, match="'huge' cannot be fetched"):
        fetch("huge")


def test_the_command_honours_hf_endpoint(hub: Hub) -> None:
    hub.cuts = [len(hub.content) // 2]
    command = [*WHOLE, "weights", "fetch", "base", "--json"]
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "1"}
    code = "from vidtwin_codec.cli.main import main; main()"
    command[1:3] = ["-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "base"
    assert len(hub.ranges) == 2


def test_what_does_not_end_is_cut_off(tmp_path: Path) -> None:
    arrived: list[int] = []
    with (tmp_path / "part").open("wb") as stream:
        bounded = fetching._Bounded(stream, 10, Reporter(advanced=arrived.append))
        assert bounded.write(b"12345") == 5
        with pytest.raises(fetching.TooLongError):
            bounded.write(b"123456")
        assert bounded.tell() == 5
    assert arrived == [5]


def test_a_size_below_nothing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = SimpleNamespace(etag="0" * 64, size=-5, commit_hash=None)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url: stated)
    with pytest.raises(VidtwinError, match="digest and size"):
        fetch()
