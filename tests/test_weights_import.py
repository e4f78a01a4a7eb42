"""Checkpoints become usable weights: conversion, calibration, precision."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from micro import assert_same, micro_config, micro_model, noise_clip, released_params, released_state, write_checkpoint
from safetensors.torch import save_file
from torch.nn import functional

from vidtwin_codec.calibration import importing, scope
from vidtwin_codec.calibration.clips import synthetic_clips, video_clips
from vidtwin_codec.calibration.importing import ImportOptions, import_checkpoint
from vidtwin_codec.calibration.precision import RoundedProducts, rounded_to_tf32
from vidtwin_codec.calibration.steps import calibrate, steps_from_sigma
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwin, load_checkpoint, save_checkpoint
from vidtwin_codec.options import Reporter
from vidtwin_codec.weights import resolve


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDTWIN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "My Run.ckpt")


def with_posterior(sigma: float, gain: float = 1.0) -> VidTwin:
    """A network whose posterior sigma is the same everywhere."""
    model = micro_model()
    assert model.encoder is not None
    for head, channels in ((model.encoder.structure.head, 2), (model.encoder.dynamics.head, 3)):
        head.weight[channels:] = 0
        head.bias[channels:] = 2 * math.log(sigma)
        head.weight[:channels] *= gain
        head.bias[:channels] = 0
    return model


def clips(model: VidTwin) -> list[torch.Tensor]:
    return list(synthetic_clips(model.config))


def test_steps_are_sigma_times_root_twelve() -> None:
    model = with_posterior(0.125)
    _, found, notes = steps_from_sigma(model, clips(model))
    assert not notes
    assert all(np.allclose(steps, 0.125 * math.sqrt(12)) for steps in found)
    assert [steps.shape for steps in found] == [(3, 2), (3,), (3,)]


def test_a_collapsed_posterior_falls_back_to_the_spread_of_the_means() -> None:
    model = with_posterior(1e-6, gain=50)
    _, found, notes = steps_from_sigma(model, clips(model))
    assert len(notes) == 3
    with torch.inference_mode():
        means = torch.cat([model.encode(clip).structure for clip in clips(model)])
    spread = means.std(dim=(0, 2, 3), unbiased=False).numpy()
    assert np.allclose(found[0], spread / 4, rtol=1e-4)


@pytest.mark.parametrize("log_variance", [-1e9, 1e9])
def test_a_log_variance_at_its_limit_is_not_believed(log_variance: float) -> None:
    model = with_posterior(0.1, gain=20)
    assert model.encoder is not None
    model.encoder.structure.head.bias[2:] = log_variance
    _, found, notes = steps_from_sigma(model, clips(model))
    assert len(notes) == 1
    assert "6 of 6 channels" in notes[0]
    assert (found[0] < 100).all()


def test_a_channel_that_carries_nothing_keeps_its_wide_step_and_costs_nothing() -> None:
    model = with_posterior(1.0, gain=0)
    latents, found, notes = steps_from_sigma(model, clips(model))
    assert not notes
    assert (np.rint(latents[0].structure.numpy() / found[0][:, None, None]) == 0).all()


def test_a_silent_channel_without_sigma_gets_a_usable_step() -> None:
    model = with_posterior(1e-9, gain=0)
    assert (steps_from_sigma(model, clips(model))[1][0] == 1).all()


def test_calibration_needs_clips_and_finite_means() -> None:
    model = micro_model()
    with pytest.raises(ValueError, match="no clips"):
        calibrate(model, [])
    assert model.encoder is not None
    model.encoder.structure.head.bias[:] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        calibrate(model, [noise_clip(model.config)])


def test_synthetic_clips_are_lively_and_always_the_same() -> None:
    config = micro_config(frames=8, height=64, width=96, dynamics_blocks=0)
    found = list(synthetic_clips(config))
    assert all(torch.equal(a, b) for a, b in zip(found, synthetic_clips(config), strict=True))
    for clip in found:
        assert clip.shape == (1, 3, 8, 64, 96)
        assert clip.min() >= -1
        assert clip.max() <= 1
        assert clip.std() > 0.1
    assert any((clip[:, :, 1:] - clip[:, :, :-1]).abs().mean() > 0.05 for clip in found)


def test_a_checkpoint_is_imported_with_steps_and_precision(checkpoint: Path) -> None:
    result = import_checkpoint(checkpoint)
    entry = result.entry
    assert entry.name == "my-run"
    assert resolve("my-run") == entry
    assert entry.metadata.steps == calibrate(micro_model(), clips(micro_model())).steps
    assert entry.metadata.compute_dtype in ("float32", "bfloat16")
    assert any("made-up" in note for note in result.notes)
    half = micro_model().half().float()
    assert_same(load_checkpoint(entry.path), half)


def test_tf32_is_measured_by_rounding_the_factors_of_products() -> None:
    exact = torch.tensor([1.0, 1 + 2.0**-10, 1 + 2.0**-11, 1 + 2.0**-12, -3.0000001, 0.0])
    assert rounded_to_tf32(exact).tolist() == [1.0, 1 + 2.0**-10, 1 + 2.0**-10, 1.0, -3.0, 0.0]
    fine = torch.tensor([[1 + 2.0**-12]])
    with RoundedProducts():
        assert functional.linear(fine, fine, torch.tensor([2.0**-12])).item() == 1 + 2.0**-12
        assert (fine @ fine).item() == torch.matmul(fine, fine).item() == 1
        assert (fine + 0).item() == 1 + 2.0**-12
    assert functional.linear(fine, fine).item() > 1


def test_weights_say_whether_they_bear_tf32(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert import_checkpoint(checkpoint).entry.metadata.tf32
    monkeypatch.setattr(importing, "PRECISION_LOSS", -1.0)
    result = import_checkpoint(checkpoint, ImportOptions(name="other"))
    assert not result.entry.metadata.tf32
    assert result.entry.metadata.compute_dtype == "float32"
    assert any("TF32" in note and "not allowed" in note for note in result.notes)


def test_the_digest_depends_on_the_checkpoint_not_on_its_name(checkpoint: Path, tmp_path: Path) -> None:
    first = import_checkpoint(checkpoint).entry
    copy = tmp_path / "other.ckpt"
    copy.write_bytes(checkpoint.read_bytes())
    second = import_checkpoint(copy, ImportOptions(name="base")).entry
    assert first.sha256 == second.sha256
    assert (first.name, second.name) == ("my-run", "base")


def test_our_own_file_is_kept_as_it_is_unless_asked(tmp_path: Path, checkpoint: Path) -> None:
    first = import_checkpoint(checkpoint).entry
    again = import_checkpoint(first.path, ImportOptions(name="again")).entry
    assert again.path.read_bytes() == first.path.read_bytes()
    changed = import_checkpoint(first.path, ImportOptions(name="other", storage="float32")).entry
    assert changed.metadata.storage == "float32"
    taken = tmp_path / f"friend-{first.sha256[:12]}.safetensors"
    taken.write_bytes(first.path.read_bytes())
    assert import_checkpoint(taken).entry.name == "friend"


def test_our_own_file_without_steps_gets_them(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "w.safetensors", micro_model(), name="bare", origin="a test")
    entry = import_checkpoint(tmp_path / "w.safetensors").entry
    assert entry.metadata.steps is not None


def test_an_output_is_named_inside_and_not_replaced_by_accident(tmp_path: Path, checkpoint: Path) -> None:
    output = tmp_path / "vidtwin-new.safetensors"
    options = ImportOptions(name="mini", output=output, description="small", origin="here")
    entry = import_checkpoint(checkpoint, options).entry
    assert (entry.name, entry.origin, entry.description) == ("mini", "here", "small")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [checkpoint.name, output.name, output.name + ".sha256"]
    )
    with pytest.raises(VidtwinError, match="already exists"):
        import_checkpoint(checkpoint, options)
    import_checkpoint(checkpoint, ImportOptions(name="mini", output=output, force=True, storage="float32"))
    assert resolve(output).metadata.storage == "float32"


@pytest.mark.parametrize("name", ["", "Base", "a/b", "../x", "-x", "mini", "x" * 80])
def test_names_that_cannot_be_are_refused(checkpoint: Path, name: str) -> None:
    with pytest.raises(VidtwinError, match="name"):
        import_checkpoint(checkpoint, ImportOptions(name=name))


def test_a_configuration_can_be_given(tmp_path: Path) -> None:
    model = micro_model()
    path = tmp_path / "w.safetensors"
    save_file(released_state(model), path)
    with pytest.raises(VidtwinError, match="number of heads"):
        import_checkpoint(path)
    config = tmp_path / "config.json"
    for values in (released_params(model.config), {"model": {"params": released_params(model.config)}}):
        config.write_text(json.dumps(values))
        entry = import_checkpoint(path, ImportOptions(config=config)).entry
        assert load_checkpoint(entry.path).config == model.config
    config.write_text(json.dumps(model.config.to_dict()))
    assert import_checkpoint(path, ImportOptions(config=config)).entry.sha256 == entry.sha256
    for text, message in (("{", "not a JSON"), ("[]", "JSON object"), ('{"a": 1}', "not readable")):
        config.write_text(text)
        with pytest.raises(VidtwinError, match=message):
            import_checkpoint(path, ImportOptions(config=config))


def video(path: Path, frames: int) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (frames, 36, 64, 3), dtype=np.uint8)
    writer = imageio_ffmpeg.write_frames(str(path), (64, 36), fps=25, macro_block_size=1, quality=9)
    writer.send(None)
    for frame in noise:
        writer.send(np.ascontiguousarray(frame))
    writer.close()
    return path


def test_videos_can_be_calibrated_on(tmp_path: Path, checkpoint: Path) -> None:
    config = micro_config()
    long, short = video(tmp_path / "long.mp4", 20), video(tmp_path / "short.mp4", 3)
    found = list(video_clips([long, short], config))
    assert [clip.shape for clip in found] == [(1, 3, 4, 32, 32)] * 3
    assert torch.equal(found[2][:, :, 2], found[2][:, :, 3]), "the last frame is repeated"
    assert all(-1 <= clip.min() < clip.max() <= 1 for clip in found)
    result = import_checkpoint(checkpoint, ImportOptions(clips=(long, short)))
    assert any("3 given clips" in note for note in result.notes)
    assert result.entry.metadata.steps == calibrate(micro_model(), found).steps
    with pytest.raises(VidtwinError):
        import_checkpoint(checkpoint, ImportOptions(clips=(checkpoint,)))


def test_failures_leave_nothing_behind(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise VidtwinError("the disk is full")

    monkeypatch.setattr("vidtwin_codec.model.save_checkpoint", fail)
    with pytest.raises(VidtwinError, match="disk is full"):
        import_checkpoint(checkpoint)
    assert not list((tmp_path / "cache" / "weights").iterdir())


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = micro_model()
    assert model.encoder is not None
    model.encoder.structure.head.bias[:] = float("nan")
    save_file(released_state(model), tmp_path / "w.safetensors", {"config": json.dumps(released_params(model.config))})
    with pytest.raises(VidtwinError, match="not finite"):
        import_checkpoint(tmp_path / "w.safetensors")


@pytest.mark.parametrize("sparing", [False, True])
def test_every_run_of_the_network_is_reported_as_a_step(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, sparing: bool
) -> None:
    monkeypatch.setattr(scope, "EXPENSIVE", 0 if sparing else math.inf)
    stages: list[tuple[int | None, str]] = []
    units: list[str] = []
    done = 0

    def advanced(count: int) -> None:
        nonlocal done
        done += count

    reporter = Reporter(started=lambda *stage: stages.append(stage), advanced=advanced, counting=units.append)
    found = import_checkpoint(checkpoint, ImportOptions(device="cpu"), reporter=reporter).entry
    (_, reading), (total, calibrating), (_, writing) = stages
    assert (reading, writing) == ("reading the checkpoint", "writing the weights")
    assert calibrating == "calibrating on cpu float32"
    assert units[1] == "step"
    assert done == total
    assert found.metadata.steps is not None
    assert import_checkpoint(checkpoint, ImportOptions(name="again")).entry.sha256 == found.sha256


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, checkpoint: Path) -> None:
    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_checkpoint(checkpoint, reporter=Reporter(advanced=interrupt))
    assert not list((tmp_path / "cache" / "weights").iterdir())


def test_a_full_memory_is_told_in_one_line(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(importing, "_measured", full)
    with pytest.raises(VidtwinError, match="not enough memory to calibrate"):
        import_checkpoint(checkpoint)
