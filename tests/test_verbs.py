"""The main verbs as they are typed, a process each. ``make test-lowest`` runs them with the least versions declared."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import torch
from conftest import MakeVideo
from launching import WHOLE
from micro import micro_config, micro_model, released_params, released_state

from vidtwin_codec import EncodeOptions, encode
from vidtwin_codec.media import probe
from vidtwin_codec.model import load_checkpoint


def vidtwin(*arguments: str | Path) -> str:
    """Run a command that must succeed, and return what it prints."""
    done = subprocess.run([*WHOLE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_video_is_encoded_checked_decoded_and_measured(
    make_video: MakeVideo, micro_weights: Path, tmp_path: Path
) -> None:
    source = make_video("a.mp4", frames=10, audio=True)
    packed, decoded = tmp_path / "a.vtw", tmp_path / "out.mp4"
    encoded = json.loads(vidtwin("encode", source, packed, "--weights", micro_weights, "--json"))
    assert encoded["frames"] == json.loads(vidtwin("info", packed, "--json"))["frames"] == 10
    vidtwin("verify", packed)
    vidtwin("decode", packed, decoded, "--weights", micro_weights)
    assert (probe(decoded).width, probe(decoded).height, len(probe(decoded).audio_streams)) == (40, 36, 1)

    metrics = ("psnr", "psnr_y", "ssim", "vmaf", "xpsnr")
    asked = ("-m", ",".join(metrics), "--weights", micro_weights, "--json")
    measured = json.loads(vidtwin("measure", source, packed, *asked))
    assert all(measured[name] is not None for name in metrics)


def test_latents_go_out_and_in_and_on_a_page(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    packed, latents = tmp_path / "a.vtw", tmp_path / "a.safetensors"
    encode(make_video("a.mp4", frames=10), packed, EncodeOptions(weights=str(micro_weights)))
    vidtwin("export", packed, latents)
    vidtwin("import", latents, tmp_path / "again.vtw")
    assert json.loads(vidtwin("info", tmp_path / "again.vtw", "--json"))["frames"] == 10
    vidtwin("inspect", packed, "-o", tmp_path / "page.html", "--weights", micro_weights)
    assert "</html>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_folder_is_encoded(make_video: MakeVideo, micro_weights: Path, tmp_path: Path) -> None:
    make_video("clips/a.mp4")
    vidtwin("batch", tmp_path / "clips", tmp_path / "out", "--weights", micro_weights)
    assert (tmp_path / "out" / "a.vtw").exists()


def test_weights_are_imported_and_trained(make_video: MakeVideo, tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_video(f"clips/{name}.mp4", frames=12)
    model = micro_model()
    content = {"state_dict": released_state(model), "hyper_parameters": released_params(model.config)}
    torch.save(content, tmp_path / "w.ckpt")
    imported, trained = tmp_path / "w.safetensors", tmp_path / "t.safetensors"
    vidtwin("weights", "import", tmp_path / "w.ckpt", "--output", imported)
    assert load_checkpoint(imported).config == model.config

    (tmp_path / "config.json").write_text(json.dumps(micro_config().to_dict()))
    sizes = ("--config", tmp_path / "config.json", "--clips-per-step", "2")
    vidtwin("train", tmp_path / "clips", "-o", trained, "--steps", "2", "--cache", tmp_path / "frames", *sizes)
    assert load_checkpoint(trained).config == micro_config()
    assert (tmp_path / "t.training" / "plot.png").exists()
