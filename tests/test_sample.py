"""What a few pieces say about encoding a whole video."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import MakeVideo
from hypothesis import given
from hypothesis import strategies as st

from vidtwin_codec import EncodeOptions, encode, measure
from vidtwin_codec.cli.main import cli
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.measure.options import MeasureOptions
from vidtwin_codec.evaluation.sample import estimate, piece_runs


@pytest.fixture
def options(micro_weights: Path) -> dict[str, Any]:
    return {"weights": str(micro_weights), "device": "cpu"}


@given(st.integers(1, 5000), st.integers(1, 300), st.integers(1, 12))
def test_pieces_lie_within_the_video_and_do_not_touch(frames: int, length: int, count: int) -> None:
    runs = piece_runs(frames, length, count)
    if 2 * length * count > frames:
        assert runs == [(0, frames)]
        return
    assert [size for _, size in runs] == [length] * count
    edges = np.array([(first, first + size) for first, size in runs]).reshape(-1)
    assert edges[0] >= 0
    assert edges[-1] <= frames
    assert (np.diff(edges) >= 0).all()


def test_a_sample_foretells_the_whole(make_video: MakeVideo, options: dict[str, Any], tmp_path: Path) -> None:
    # at 2 frames a second a piece has 20 frames
    source = make_video("in.mp4", size="48x36", rate="2", frames=160, audio=True)
    before = sorted(tmp_path.rglob("*"))
    found = estimate(source, EncodeOptions(**options), pieces=3)
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"
    assert (found.pieces, found.sampled, found.frames) == (3, 60 / 160, 160)
    real = encode(source, tmp_path / "out.vtw", EncodeOptions(**options))
    psnr = measure(source, tmp_path / "out.vtw", MeasureOptions(metrics=("psnr",), **options)).scores.means["psnr"]
    assert found.audio_bytes == real.audio_bytes
    assert found.vtw_bytes == pytest.approx(real.vtw_bytes, rel=0.1)
    assert found.psnr == pytest.approx(psnr, abs=0.5)
    assert found.video_bytes_error
    assert found.psnr_error
    assert found.seconds > 0


def test_a_short_video_is_encoded_whole(make_video: MakeVideo, options: dict[str, Any], tmp_path: Path) -> None:
    source = make_video("in.mp4", size="48x36", frames=30)
    chosen = EncodeOptions(start=0.4, quality=80, **options)
    found = estimate(source, chosen, pieces=3)
    real = encode(source, tmp_path / "out.vtw", chosen)
    assert (found.frames, found.sampled) == (real.frames, 1)
    assert (found.video_bytes_error, found.psnr_error) == (0, 0)
    # the header of the real one says which part it is of, too
    assert found.vtw_bytes == pytest.approx(real.vtw_bytes, abs=32)


def test_one_piece_alone_has_no_error(make_video: MakeVideo, options: dict[str, Any]) -> None:
    source = make_video("in.mp4", size="48x36", rate="2", frames=60)
    found = estimate(source, EncodeOptions(**options), pieces=1)
    assert (found.video_bytes_error, found.psnr_error) == (None, None)


def test_a_target_is_refused(make_video: MakeVideo, options: dict[str, Any]) -> None:
    with pytest.raises(VidtwinError, match="one quality"):
        estimate(make_video("in.mp4"), EncodeOptions(target_psnr=30, **options))


def test_the_command_line(make_video: MakeVideo, options: dict[str, Any], tmp_path: Path) -> None:
    source = make_video("in.mp4", size="48x36", rate="2", frames=100)
    network = ["--weights", options["weights"], "--device", "cpu"]
    done = CliRunner().invoke(cli, ["encode", "--sample", "2", str(source), "--json", *network])
    assert done.exit_code == 0, done.stderr
    values = json.loads(done.stdout)
    assert (values["sample"], values["pieces"], values["frames"]) == (True, 2, 100)
    assert f"{values['psnr']:.2f} ± {values['psnr_error']:.2f} dB" in done.stderr
    assert "40 % of the video" in done.stderr
    assert "one standard error" in done.stderr
    refused = CliRunner().invoke(cli, ["encode", "--sample", "2", "--target-kbps", "50", str(source), *network])
    assert (refused.exit_code, "one quality" in refused.stderr) == (2, True)
    assert CliRunner().invoke(cli, ["encode", str(source), *network]).exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
