"""Encoding to a target with a micro-sized network, and once with the embedded weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import MakeVideo
from media_samples import numbered, numbers, write_all

from vidtwin_codec import DecodeOptions, EncodeOptions, EncodeResult, decode_frames, encode, measure
from vidtwin_codec.cli.main import cli
from vidtwin_codec.container import VtwReader
from vidtwin_codec.encoding.encoder import Encoder
from vidtwin_codec.encoding.rate.sample import sample_runs
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.measure.options import MeasureOptions
from vidtwin_codec.media import FrameReader, probe
from vidtwin_codec.reporter import Reporter

EXAMPLE = Path(__file__).parent.parent / "examples" / "big_buck_bunny.mp4"


@pytest.fixture
def options(micro_weights: Path) -> dict[str, Any]:
    return {"weights": str(micro_weights), "device": "cpu"}


def target_of(result: EncodeResult) -> dict[str, Any]:
    found = result.to_json()["target"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("frames", [10, 60])  # the video itself is probed, and a sample of it
@pytest.mark.parametrize("name", ["kbps", "size", "ratio"])
def test_bytes_come_within_five_percent(
    make_video: MakeVideo, options: dict[str, Any], tmp_path: Path, frames: int, name: str
) -> None:
    source = make_video("in.mp4", size="72x48", frames=frames, audio=True)
    plain = encode(source, tmp_path / "plain.vtw", EncodeOptions(quality=60, **options))
    wanted = {"kbps": plain.kbps, "size": plain.vtw_bytes, "ratio": plain.compression_ratio}[name]
    result = encode(source, tmp_path / "out.vtw", EncodeOptions(**{f"target_{name}": wanted}, **options))
    value = {"kbps": result.kbps, "size": result.vtw_bytes, "ratio": result.compression_ratio}[name]
    assert abs(value / wanted - 1) < 0.05
    if name == "size":
        assert result.vtw_bytes <= wanted
    assert target_of(result) == {
        "name": name,
        "wanted": wanted,
        "achieved": value,
        "standard_error": 0.0,
        "met": True,
        "ceiling": False,
    }
    assert result.warnings == []
    assert (tmp_path / "out.vtw").stat().st_size == result.vtw_bytes
    with VtwReader(tmp_path / "out.vtw") as reader:
        assert reader.header.options == {
            "quality": result.quality,
            "short_side": result.short_side,
            "target": {name: wanted},
            "effort": 1,
            "network": {"device": "cpu", "precision": "float32", "torch": torch.__version__},
        }


@pytest.mark.parametrize("effort", [0, 1])
def test_the_file_is_what_the_chosen_options_give(
    make_video: MakeVideo, options: dict[str, Any], tmp_path: Path, effort: int
) -> None:
    """Probing leaves no trace but the target in the header."""
    source = make_video("in.mp4", size="72x48", frames=60)
    steered = encode(
        source, tmp_path / "a.vtw", EncodeOptions(target_size=3000, short_side=40, effort=effort, **options)
    )
    assert steered.short_side == 40
    plain = EncodeOptions(quality=steered.quality, short_side=40, effort=effort, **options)
    encode(source, tmp_path / "b.vtw", plain)
    first, second = (
        np.concatenate(list(decode_frames(tmp_path / name, DecodeOptions(**options)))) for name in ("a.vtw", "b.vtw")
    )
    assert np.array_equal(first, second)


def test_the_network_sees_the_whole_video_once(
    make_video: MakeVideo, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is packed; and no size of the sample is encoded twice."""
    runs: list[tuple[str, int]] = []
    whole = Encoder.pieces

    def counted(self: Encoder, *args: Any) -> Any:
        runs.append((self.info.path.name, self.geometry.width))
        return whole(self, *args)

    monkeypatch.setattr(Encoder, "pieces", counted)
    source = make_video("in.mp4", size="72x48", frames=60)
    encode(source, tmp_path / "out.vtw", EncodeOptions(target_size=6000, **options))
    assert sum(name == "in.mp4" for name, _ in runs) == 1, runs
    assert len(runs) == len(set(runs)) > 1


def test_standard_output_takes_a_file_that_was_packed_twice(
    make_video: MakeVideo, options: dict[str, Any], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    source = make_video("in.mp4", size="40x36", frames=10)
    result = encode(source, "-", EncodeOptions(target_size=1500, **options))
    assert len(capfdbinary.readouterr().out) == result.vtw_bytes


@pytest.mark.parametrize(
    ("choices", "audio", "says"),
    [
        ({"target_size": 200}, False, "lower --fps"),
        ({"target_size": 1000}, True, "--audio none"),
        ({"target_ratio": 1.5, "short_side": 32}, False, "--short-side"),
        ({"target_psnr": 70}, False, "--weights"),
        ({"target_psnr": 1}, False, "coarser"),
    ],
)
def test_what_cannot_be_met_is_encoded_as_near_as_can_be_and_said(
    make_video: MakeVideo, options: dict[str, Any], tmp_path: Path, choices: dict[str, Any], audio: bool, says: str
) -> None:
    source = make_video("in.mp4", size="72x48", frames=10, audio=audio)
    result = encode(source, tmp_path / "out.vtw", EncodeOptions(**choices, **options))
    assert target_of(result)["met"] is False
    assert result.quality in (0, 100) or "target_psnr" in choices  # what random weights make has no order
    (warning,) = result.warnings
    assert "cannot be met" in warning
    assert says in warning


@pytest.mark.parametrize("choices", [{"target_kbps": 90_000}, {"target_size": 10**7}])
def test_fewer_bytes_than_allowed_at_the_finest_quality_are_a_target_met(
    make_video: MakeVideo, options: dict[str, Any], tmp_path: Path, choices: dict[str, Any]
) -> None:
    source = make_video("in.mp4", size="72x48", frames=10)
    result = encode(source, tmp_path / "out.vtw", EncodeOptions(**choices, **options))
    assert (result.quality, result.warnings) == (100, [])
    assert (target_of(result)["met"], target_of(result)["ceiling"]) == (True, True)


@pytest.mark.parametrize("frames", [10, 60])  # the video itself is probed, and a sample of it
def test_a_vmaf_is_what_measuring_finds(
    make_video: MakeVideo, options: dict[str, Any], tmp_path: Path, frames: int
) -> None:
    source = make_video("in.mp4", size="72x48", frames=frames)
    plain = measure(source, None, MeasureOptions(metrics=("vmaf",), quality=30, short_side=40, **options))
    wanted = plain.scores.means["vmaf"]
    assert wanted
    chosen = EncodeOptions(target_vmaf=wanted, short_side=40, **options)
    result = encode(source, tmp_path / "out.vtw", chosen)
    found = measure(source, tmp_path / "out.vtw", MeasureOptions(metrics=("vmaf",), **options)).scores.means["vmaf"]
    assert target_of(result)["met"]
    assert found == pytest.approx(wanted, abs=1)
    assert found == pytest.approx(target_of(result)["achieved"], abs=0.001 if frames == 10 else 1)


def test_a_vmaf_that_cannot_be_measured_is_said_before_any_work(
    make_video: MakeVideo, options: dict[str, Any], tmp_path: Path
) -> None:
    source = make_video("in.mp4", size="40x24", frames=4)
    with pytest.raises(VidtwinError, match=r"in\.mp4: .*VMAF cannot be measured: .*too small") as caught:
        encode(source, tmp_path / "out.vtw", EncodeOptions(target_vmaf=50, **options))
    assert "--target-psnr" in str(caught.value.hint)
    assert not (tmp_path / "out.vtw").exists()


def test_runs_of_frames_are_read_exactly(tmp_path: Path) -> None:
    info = probe(write_all(tmp_path / "in.mkv", numbered(40)))
    runs = sample_runs(40, 4, 3)
    with FrameReader(info, runs=runs) as reader:
        assert reader.frames == 12
        found = np.concatenate([reader.read(5), reader.read(100)])
        assert not len(reader.read(1))
    assert numbers(found) == [first + number for first, count in runs for number in range(count)]


def test_the_command_line_tells_what_was_chosen(make_video: MakeVideo, options: dict[str, Any], tmp_path: Path) -> None:
    source, output = str(make_video("in.mp4", size="40x36", frames=10)), str(tmp_path / "out.vtw")
    network = ["--weights", options["weights"], "--device", "cpu"]
    done = CliRunner().invoke(cli, ["encode", "--json", "--target-size", "1.5k", source, output, *network])
    assert done.exit_code == 0, done.output
    values = json.loads(done.stdout)
    assert values["target"]["wanted"] == 1500
    assert f"quality {values['quality']:g}" in done.stderr
    told = CliRunner().invoke(cli, ["info", output])
    assert "target size 1500" in told.stdout


@pytest.mark.parametrize("verb", ["encode", "measure"])
def test_targets_and_quality_exclude_each_other(verb: str, tmp_path: Path) -> None:
    names = ["in.mp4", "out.vtw"] if verb == "encode" else ["in.mp4"]
    for other in ("--quality", "--target-psnr"):
        done = CliRunner().invoke(cli, [verb, "--target-kbps", "30", other, "30", *names])
        assert done.exit_code == 2
        assert "exclude each other" in done.stderr
    done = CliRunner().invoke(cli, [verb, "--target-size", "big", *names])
    assert done.exit_code == 2
    assert "not a size" in done.stderr


@pytest.mark.slow
def test_the_psnr_that_is_told_is_the_psnr_that_is_measured(tmp_path: Path) -> None:
    """With the embedded weights, on a part of the example that is small enough to stand for itself."""
    with FrameReader(probe(EXAMPLE), width=192, height=108, max_frames=32) as reader:
        source = write_all(tmp_path / "in.mkv", reader.read(32))
    result = encode(source, tmp_path / "out.vtw", EncodeOptions(target_psnr=22))
    found = measure(source, tmp_path / "out.vtw", MeasureOptions(metrics=("psnr",))).to_json()
    assert found["psnr"] == pytest.approx(target_of(result)["achieved"], abs=0.01)
    assert found["psnr"] == pytest.approx(22, abs=0.2)
    assert result.warnings == []


def test_probes_are_counted(make_video: MakeVideo, options: dict[str, Any], tmp_path: Path) -> None:
    stages: list[list[Any]] = []
    reporter = Reporter(
        lambda total, doing: stages.append([doing, total, 0]), lambda count: stages[-1].append(stages[-1].pop() + count)
    )
    source = make_video("in.mp4", size="72x48", frames=40)
    encode(source, tmp_path / "out.vtw", EncodeOptions(target_psnr=20, **options), reporter=reporter)
    names = [name for name, _, _ in stages]
    assert names[0].startswith("probing")
    assert any(name.startswith("probe 1 of at most 8, ") for name in names)
    assert not names[-1].startswith("prob")
    assert all(done == total for _, total, done in stages)
