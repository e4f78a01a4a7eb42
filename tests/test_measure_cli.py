"""``vidtwin measure`` on the command line: table, JSON, CSV, sets, exit codes."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import MakeVideo

from vidtwin_codec import EncodeOptions, VidtwinError, encode
from vidtwin_codec.cli.main import cli
from vidtwin_codec.evaluation.measure.options import KEYS
from vidtwin_codec.metrics import METRICS
from vidtwin_codec.network.runner import NetworkRunner
from vidtwin_codec.options import NetworkOptions
from vidtwin_codec.weights import Entry


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["measure", *map(str, arguments)])


@pytest.fixture
def clips(make_video: MakeVideo, tmp_path: Path) -> Path:
    """A folder of two videos and something else."""
    (tmp_path / "clips").mkdir()
    make_video("clips/one.mp4", frames=5)
    make_video("clips/two.mp4", frames=4, rate="30000/1001")
    (tmp_path / "clips" / "notes.txt").write_text("no video")
    return tmp_path / "clips"


def test_one_file_is_a_list(clips: Path, micro_weights: Path) -> None:
    done = run(clips / "one.mp4", "--weights", micro_weights)
    assert done.exit_code == 0, done.output
    shown = done.stdout
    assert "40 x 36, 5 frames at 25 fps" in shown
    assert "PSNR-Y" in shown
    assert "(BT.601 luma, 8 bits, limited range)" in shown
    assert "dB at their ends" in shown
    assert "no MS-SSIM: frames of 40 x 36 are too small" in shown
    assert "no LPIPS: torchvision is not installed: pip install 'vidtwin-codec[lpips]'" in shown


def test_json_has_an_object_per_file_and_one_for_the_set(clips: Path, micro_weights: Path) -> None:
    done = run(clips, "--weights", micro_weights, "--json", "-q", "-m", "psnr,MS-SSIM")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(tuple(line) == KEYS for line in lines)
    assert [line["files"] for line in lines] == [1, 1, 2]
    assert lines[2]["source"] == str(clips)
    assert lines[2]["frames"] == 9
    assert lines[2]["psnr"] == pytest.approx((lines[0]["psnr"] + lines[1]["psnr"]) / 2)
    assert set(METRICS) - {"psnr"} <= set(lines[0]["reasons"])
    assert "too small" in lines[0]["reasons"]["ms_ssim"]


def test_csv_and_table_of_a_folder_with_its_vtws(clips: Path, micro_weights: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    for name in ("one", "two"):
        encode(clips / f"{name}.mp4", packed / f"{name}.vtw", EncodeOptions(weights=str(micro_weights)))
    rest = (clips, packed, "--weights", micro_weights, "-m", "psnr,ssim")
    done = run(*rest, "--csv")
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0]) == [*KEYS, "error"]
    assert [Path(row["output"]).name for row in rows] == ["one.vtw", "two.vtw", ""]
    assert float(rows[2]["psnr"]) == pytest.approx((float(rows[0]["psnr"]) + float(rows[1]["psnr"])) / 2)
    assert "vmaf: not asked for" in rows[0]["reasons"]

    table = run(*rest, "-q").stdout + run(*rest).stdout
    lines = [line.split() for line in table.splitlines()]
    assert lines[0] == ["file", "frames", "bpp", "kbit/s", "ratio", "PSNR", "SSIM", "ends"]
    assert [line[0] for line in lines[1:4]] == ["one.vtw", "two.vtw", "mean"]
    assert "VMAF" not in table


def test_a_failure_does_not_stop_the_others(clips: Path, micro_weights: Path) -> None:
    (clips / "damaged.mp4").write_bytes(b"nothing of the kind")
    done = run(clips, "--weights", micro_weights, "--json", "-q", "-m", "psnr")
    assert isinstance(done.exception, VidtwinError)
    assert done.exception.message == "1 of 3 files could not be measured"
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert "not a video" in lines[0]["error"]
    assert [line.get("files") for line in lines] == [None, 1, 1, 2]
    table = run(clips, "--weights", micro_weights, "-m", "psnr").stdout
    assert table.splitlines()[0].split() == ["file", "frames", "bpp", "kbit/s", "ratio", "PSNR", "ends"]
    assert "damaged.mp4 (not measured)" in table
    assert "damaged.mp4: " in table


def test_the_papers_protocol(clips: Path, micro_weights: Path) -> None:
    done = run(clips, "--weights", micro_weights, "--protocol", "vidtwin", "-m", "psnr,ssim", "--json", "-q")
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["protocol"] for line in lines] == ["vidtwin"] * 3
    assert lines[2]["bits_per_pixel"] is None
    table = run(clips, "--weights", micro_weights, "--protocol", "vidtwin", "-m", "psnr,ssim").stdout
    assert table.split("\n")[0].split() == ["file", "frames", "PSNR", "SSIM", "ends"]


def test_a_folder_costs_one_reading_of_the_network(
    clips: Path, micro_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[str] = []
    load = NetworkRunner.load

    def counting(entry: Entry, options: NetworkOptions, part: str) -> NetworkRunner:
        parts.append(part)
        return load(entry, options, part)

    monkeypatch.setattr(NetworkRunner, "load", counting)
    assert run(clips, "--weights", micro_weights, "-m", "psnr").exit_code == 0
    assert parts == ["encoder", "decoder"]


def test_one_frame_is_one(make_video: MakeVideo, micro_weights: Path) -> None:
    shown = run(make_video("still.mp4", frames=1), "--weights", micro_weights, "-m", "psnr").stdout
    assert "1 frame at 25 fps, 0.04 s, 1 clip," in shown


def test_wrong_usage(clips: Path) -> None:
    source = clips / "one.mp4"
    for arguments, said in (
        (("--json", "--csv"), "choose one"),
        (("--metrics", "psnr,sharpness"), "'sharpness' is none of"),
        (("a.vtw", "--quality", "20"), "--quality has nothing to act on: the .vtw is already encoded"),
        (("--protocol", "vidtwin", "--short-side", "20"), "--short-side has nothing to act on"),
        (("a.vtw", "--protocol", "vidtwin"), "network alone"),
    ):
        done = run(source, *arguments)
        assert done.exit_code == 2
        assert said in done.stderr
    for arguments, said in (
        ((clips, "--side-by-side", "x.mp4"), "shows one file"),
        ((source, "--side-by-side", source), "same file"),
        ((source, clips / "two.mp4"), "is no .vtw, and only the first name is a video"),
    ):
        done = run(*arguments)
        assert isinstance(done.exception, VidtwinError)
        assert said in done.exception.message


def test_standard_input(clips: Path, micro_weights: Path) -> None:
    command = [sys.executable, "-m", "vidtwin_codec", "measure", "-", "--weights", str(micro_weights), "-m", "psnr"]
    data = (clips / "one.mp4").read_bytes()
    done = subprocess.run([*command, "--json"], input=data, capture_output=True, check=True)
    values = json.loads(done.stdout)
    assert (values["source"], values["frames"], values["source_bytes"]) == ("-", 5, len(data))
    assert b"comparing on cpu" in done.stderr
