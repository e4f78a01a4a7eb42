"""Mixing: which symbols go where, and what the video is."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import MakeVideo
from hypothesis import given
from hypothesis import strategies as st
from latent_samples import CLIP_FRAMES, sample_header, write_sample
from micro import pipeline_model

from vidtwin_codec import DecodeOptions, EncodeOptions, VidtwinError, VtwFile, decode_frames, encode
from vidtwin_codec.cli.main import cli
from vidtwin_codec.container import AudioInfo, VtwReader, verify
from vidtwin_codec.latents.mixing import MixOptions, mix, mix_to_vtw, nearest_tiles
from vidtwin_codec.media import probe
from vidtwin_codec.model import Latents


def test_each_part_keeps_its_symbols_and_steps(tmp_path: Path) -> None:
    one = write_sample(tmp_path / "s.vtw", (3, 2), seed=1, header=sample_header(1))
    other = write_sample(tmp_path / "d.vtw", (1, 4), seed=2, header=sample_header(2, fps=Fraction(30000, 1001)))
    counts = mix_to_vtw(tmp_path / "s.vtw", tmp_path / "d.vtw", tmp_path / "m.vtw")
    assert counts.frames == 5 * CLIP_FRAMES
    assert verify(tmp_path / "m.vtw") == []
    with VtwFile(tmp_path / "m.vtw") as mixed:
        found = mixed[:]
        assert mixed.fps == Fraction(30000, 1001)
        assert np.array_equal(found.symbols.structure, one.structure)
        assert np.array_equal(found.symbols.dynamics_x, other.dynamics_x)
        assert np.array_equal(found.symbols.dynamics_y, other.dynamics_y)
        with VtwFile(tmp_path / "s.vtw") as still, VtwFile(tmp_path / "d.vtw") as moving:
            assert np.array_equal(found.structure, still[:].structure)
            assert np.array_equal(found.dynamics_x, moving[:].dynamics_x)
            assert np.array_equal(found.dynamics_y, moving[:].dynamics_y)


@pytest.mark.parametrize(
    ("length", "frames", "structure", "dynamics"),
    [
        # structure has 5 clips less a frame, dynamics 3 clips less two frames: 4 and 2 full ones
        ("shortest", 10, [0, 1, 2], [0, 1, 2]),
        ("structure", 19, [0, 1, 2, 3, 4], [0, 1, 0, 1, 0]),
        ("dynamics", 10, [0, 1, 2], [0, 1, 2]),
    ],
)
def test_lengths(tmp_path: Path, length: str, frames: int, structure: list[int], dynamics: list[int]) -> None:
    one = write_sample(tmp_path / "s.vtw", (5,), seed=1, missing_frames=1)
    other = write_sample(tmp_path / "d.vtw", (2, 1), seed=2, missing_frames=2)
    options = MixOptions(length=length)  # type: ignore[arg-type]
    assert mix_to_vtw(tmp_path / "s.vtw", tmp_path / "d.vtw", tmp_path / "m.vtw", options).frames == frames
    with VtwFile(tmp_path / "m.vtw") as mixed:
        assert mixed.frame_count == frames
        assert np.array_equal(mixed[:].symbols.structure, one.structure[structure])
        assert np.array_equal(mixed[:].symbols.dynamics_y, other.dynamics_y[dynamics])


def test_tiles_take_the_dynamics_of_the_nearest(tmp_path: Path) -> None:
    # 3 x 2 tiles against 1 x 3
    tall = sample_header(coded_width=50, coded_height=80, width=50, height=80)
    wide = sample_header(coded_width=80, coded_height=30, width=80, height=30)
    assert nearest_tiles(tall, wide).tolist() == [0, 2, 0, 2, 0, 2]
    assert nearest_tiles(wide, tall).tolist() == [2, 2, 3]
    other = write_sample(tmp_path / "d.vtw", (2,), header=wide)
    write_sample(tmp_path / "s.vtw", (2,), header=tall)
    mix_to_vtw(tmp_path / "s.vtw", tmp_path / "d.vtw", tmp_path / "m.vtw")
    with VtwFile(tmp_path / "m.vtw") as mixed:
        assert mixed.tiles == 6
        assert np.array_equal(mixed[:].symbols.dynamics_x, other.dynamics_x[:, [0, 2, 0, 2, 0, 2]])


@given(width=st.integers(1, 300), height=st.integers(1, 300))
def test_frames_of_one_size_give_each_tile_its_own(width: int, height: int) -> None:
    header = sample_header(coded_width=width, coded_height=height)
    assert nearest_tiles(header, header).tolist() == list(range(header.tiles))
    other = sample_header(coded_width=height, coded_height=width)
    assert set(nearest_tiles(header, other)) <= set(range(other.tiles))


def test_the_video_is_what_the_network_makes_of_both(
    make_video: MakeVideo, micro_weights: Path, tmp_path: Path
) -> None:
    network = {"weights": str(micro_weights), "device": "cpu"}
    encode(make_video("s.mp4", size="32x32", frames=9), tmp_path / "s.vtw", EncodeOptions(**network))
    source = make_video("d.mp4", size="24x20", frames=8, rate="12", audio=True)
    encode(source, tmp_path / "d.vtw", EncodeOptions(quality=30, **network))
    decoding = DecodeOptions(lossless=True, **network)
    result = mix(tmp_path / "s.vtw", tmp_path / "d.vtw", tmp_path / "m.mkv", MixOptions(sound="dynamics"), decoding)
    assert (result.width, result.height, result.frames, result.fps) == (32, 32, 8, 12)
    assert len(probe(tmp_path / "m.mkv").audio_streams) == 1
    with VtwFile(tmp_path / "s.vtw") as still, VtwFile(tmp_path / "d.vtw") as moving:
        a, b = still[:2].torch(), moving[:2].torch()
    latents = Latents(a.structure.flatten(0, 1), b.dynamics_x.flatten(0, 1), b.dynamics_y.flatten(0, 1))
    with torch.inference_mode():
        expected = (pipeline_model().decode(latents) + 1).mul(127.5).round().clamp(0, 255)
    mix_to_vtw(tmp_path / "s.vtw", tmp_path / "d.vtw", tmp_path / "m.vtw")
    found = np.concatenate(list(decode_frames(tmp_path / "m.vtw", DecodeOptions(**network))))
    assert np.abs(found - expected.permute(0, 2, 3, 4, 1).flatten(0, 1).numpy()).max() <= 1


def test_sound_is_taken_over_or_refused(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    network = {"weights": str(micro_weights), "device": "cpu"}
    encode(make_video("s.mp4", frames=8, audio=True), tmp_path / "s.vtw", EncodeOptions(**network))
    encode(make_video("d.mp4", frames=8), tmp_path / "d.vtw", EncodeOptions(**network))
    paths = tmp_path / "s.vtw", tmp_path / "d.vtw", tmp_path / "m.vtw"
    mix_to_vtw(*paths, MixOptions(sound="structure"))
    with VtwReader(paths[0]) as before, VtwReader(paths[2]) as after:
        assert isinstance(after.header.audio, AudioInfo)
        assert list(before.audio_chunks()) == list(after.audio_chunks())
    mix_to_vtw(*paths, force=True)
    with VtwReader(paths[2]) as after:
        assert after.header.audio is None
    with pytest.raises(VidtwinError, match=r"d\.vtw: has no sound"):
        mix_to_vtw(*paths, MixOptions(sound="dynamics"), force=True)


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.vtw")
    write_sample(tmp_path / "b.vtw", header=sample_header(weights_sha256="cd" * 32, weights_name="other"))
    write_sample(tmp_path / "c.vtw", ())
    with pytest.raises(VidtwinError, match=r"'sample' \(SHA-256 abab.*'other' \(SHA-256 cdcd"):
        mix_to_vtw(tmp_path / "a.vtw", tmp_path / "b.vtw", tmp_path / "m.vtw")
    with pytest.raises(VidtwinError, match=r"c\.vtw: holds no frames"):
        mix_to_vtw(tmp_path / "a.vtw", tmp_path / "c.vtw", tmp_path / "m.vtw")
    for output in ("a.vtw", "b.vtw"):
        with pytest.raises(VidtwinError, match="same file"):
            mix_to_vtw(tmp_path / "a.vtw", tmp_path / "b.vtw", tmp_path / output, force=True)
    assert not (tmp_path / "m.vtw").exists()


def test_command_line(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    for name in ("s", "d"):
        options = EncodeOptions(weights=str(micro_weights), device="cpu")
        encode(make_video(f"{name}.mp4", frames=8), tmp_path / f"{name}.vtw", options)
    names = [str(tmp_path / name) for name in ("s.vtw", "d.vtw")]
    network = ["--weights", str(micro_weights), "--device", "cpu"]
    runner = CliRunner()
    done = runner.invoke(cli, ["mix", *names, str(tmp_path / "m.mp4"), "--json", "-q", "--duration", "0.2", *network])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["frames"] == 5
    done = runner.invoke(cli, ["mix", *names, str(tmp_path / "m.vtw"), "--json", "-q"])
    assert json.loads(done.stdout)["vtw_bytes"] == (tmp_path / "m.vtw").stat().st_size
    assert runner.invoke(cli, ["mix", *names, str(tmp_path / "n.vtw"), "--start", "1"]).exit_code == 2
