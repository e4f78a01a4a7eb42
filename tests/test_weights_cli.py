"""``vidtwin weights``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from micro import write_checkpoint

from vidtwin_codec.cli.weights import weights_command
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.weights import resolve


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDTWIN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "run.ckpt")


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(weights_command, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_list_shows_what_is_here(checkpoint: Path) -> None:
    run("import", str(checkpoint), "--name", "mine")
    text = run("list").stdout
    for word in ("mini", "compact", "mine", resolve("mine").sha256[:12], "16 x 224 x 224", "16 of any size", "float32"):
        assert word in text
    mini, compact, mine = (json.loads(line) for line in run("list", "--json").stdout.splitlines())
    assert (mini["name"], mini["embedded"], mini["frames"], mini["any_size"]) == ("mini", True, 16, True)
    assert (compact["name"], compact["height"], compact["any_size"]) == ("compact", 224, False)
    assert (mine["name"], mine["embedded"], mine["sha256"]) == ("mine", False, resolve("mine").sha256)


def test_import_reports_what_it_did(checkpoint: Path, tmp_path: Path) -> None:
    result = run("import", str(checkpoint), "--json")
    found = json.loads(result.stdout)
    assert found["name"] == "run"
    assert Path(found["path"]).is_file()
    assert any("calibrated" in note for note in found["notes"])
    assert "calibrated" in result.stderr
    output = tmp_path / "own.safetensors"
    result = run("import", str(checkpoint), "--name", "own", "--output", str(output), "--storage", "float32")
    assert str(output) in result.stdout
    assert resolve(output).metadata.storage == "float32"


def test_import_tells_how_far_it_is_and_takes_a_device(checkpoint: Path) -> None:
    result = run("import", str(checkpoint), "--device", "cpu")
    assert "import: calibrating on cpu float32, " in result.stderr
    events = [
        json.loads(line) for line in run("import", str(checkpoint), "--progress", "json").stderr.splitlines() if line
    ]
    last = [event for event in events if event["event"] == "progress"][-1]
    assert (last["verb"], last["unit"], last["done"]) == ("import", "step", last["total"])
    result = run("import", str(checkpoint), "--quiet")
    assert result.output == ""
    assert run("import", str(checkpoint), "--device", "gpu").exit_code == 2
    if not torch.cuda.is_available():
        with pytest.raises(VidtwinError, match="no cuda device"):
            run("import", str(checkpoint), "--device", "cuda")


def test_verify_fails_when_something_is_wrong(checkpoint: Path) -> None:
    run("import", str(checkpoint), "--name", "mine")
    assert "mini: intact" in run("verify").stdout
    path = resolve("mine").path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(VidtwinError, match="damaged weights: mine"):
        run("verify", "--json")
    with pytest.raises(VidtwinError, match="damaged weights: mine"):
        run("verify", "mine")
    assert run("verify", "mini").exit_code == 0


def test_wrong_usage_is_wrong_usage() -> None:
    assert run("import").exit_code == 2
    assert run("import", "x", "--storage", "int4").exit_code == 2
    with pytest.raises(VidtwinError, match="No such file"):
        run("import", "missing.ckpt")
