"""Words of one meaning, and outputs that are what their names say."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import MakeVideo

from vidtwin_codec.cli.main import cli
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import probe


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def packed(make_video: MakeVideo, micro_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packed") / "a.vtw"
    source = make_video("sounding.mp4", frames=8, audio=True)
    assert call("encode", source, target, "--weights", micro_weights).exit_code == 0
    return target


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out"])
def test_encode_writes_no_vtw_under_another_name(make_video: MakeVideo, tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    failed = call("encode", make_video("in.mp4"), output)
    assert isinstance(failed.exception, VidtwinError)
    assert failed.exception.message.startswith(str(output))
    assert "out.vtw" in (failed.exception.hint or "")
    assert not output.exists()


def test_another_name_can_be_forced(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.bin"
    assert call("encode", make_video("in.mp4"), output, "-f", "--weights", micro_weights).exit_code == 0
    assert call("encode", make_video("in.mp4"), os.devnull, "--weights", micro_weights).exit_code == 0
    assert output.stat().st_size


@pytest.mark.parametrize("choice", [["--audio", "none"], ["--no-audio"]])
def test_sound_is_left_out_by_the_word_that_encode_has(
    packed: Path, micro_weights: Path, tmp_path: Path, choice: list[str]
) -> None:
    weights = ["--weights", micro_weights]
    for extra, streams in ([], 1), (choice, 0):
        assert call("decode", packed, tmp_path / "b.mp4", "-f", *extra, *weights).exit_code == 0
        assert len(probe(tmp_path / "b.mp4").audio_streams) == streams


def test_folders_are_verified(packed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    shutil.copy(packed, folder / "deep" / "good.vtw")
    (folder / "bad.vtw").write_bytes(b"no")
    (folder / "other.txt").write_bytes(b"no")
    done = call("verify", folder, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {Path(row["source"]).name: row["sound"] for row in rows} == {"good.vtw": True, "bad.vtw": False}
    assert {row["checked"] for row in rows} == {"all"}
    assert "1 of 2 files" in str(done.exception)


def test_what_becomes_of_the_sound_is_said(packed: Path, tmp_path: Path) -> None:
    tensors = tmp_path / "latents.npz"
    assert "the sound of 1 file is left out" in call("export", packed, tensors).stderr
    assert "export: 8 frames" in call("export", packed, tensors, "-f").stderr
    assert "no sound" in call("import", tensors, tmp_path / "silent.vtw").stderr
    assert f"of sound from {packed}" in call("import", tensors, tmp_path / "b.vtw", "--like", packed).stderr


def test_former_names_go_on_working_unseen(packed: Path, micro_weights: Path, tmp_path: Path) -> None:
    page = ["-fo", tmp_path / "page.html", "--weights", micro_weights]
    assert "inspect: cpu" in call("inspect", packed, "--frames", 1, *page).stderr
    assert call("inspect", packed, "--pictures", 1, *page).exit_code == 0
    assert "--frames" not in call("inspect", "--help").stdout
    shown = call("train", "--help").stdout
    assert "--architecture" in shown
    assert "--clips-per-step" in shown
    assert "--preset" not in shown
    assert "--batch" not in shown
    for names in ("--batch", "--clips-per-step"), ("--preset", "--architecture"):
        failures = [call("train", tmp_path, "-o", "x", name, "none").output for name in names]
        assert failures[0] == failures[1]
        assert "Invalid value" in failures[0]
