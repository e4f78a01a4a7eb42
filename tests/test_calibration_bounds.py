"""Small checkpoints of legal but expensive networks: refused before they are built or calibrated."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from micro import micro_config, micro_model
from torch import Tensor

from vidtwin_codec.calibration import sensitivity
from vidtwin_codec.calibration.bounds import most_checks
from vidtwin_codec.calibration.clips import synthetic_clips
from vidtwin_codec.calibration.importing import ImportOptions, import_checkpoint
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwin, VidTwinConfig, open_checkpoint
from vidtwin_codec.model.checkpoint import SafetensorsSource, save_checkpoint
from vidtwin_codec.reporter import Reporter
from vidtwin_codec.safetensors_file import write_safetensors


def blank(config: VidTwinConfig) -> VidTwin:
    with torch.device("meta"):
        return VidTwin(config)


def of_zeros(path: Path, config: VidTwinConfig) -> Path:
    """A few kilobytes that claim a network of zeros."""
    sparse = {name: list(tensor.shape) for name, tensor in blank(config).state_dict().items()}
    values = {"format": "vidtwin", "version": "1", "name": "a", "compute_dtype": "float32", "origin": "a"}
    values |= {"config": json.dumps(config.to_dict()), "sparse": json.dumps(sparse)}
    write_safetensors(path, values, [], [])
    return path


def test_the_released_network_is_calibrated_whole_from_its_own_file_alone() -> None:
    config = VidTwinConfig()
    model = blank(config)
    channels = config.qformer.num_queries * config.structure_channels + 2 * config.dynamics_channels
    size = 2 * sum(parameter.numel() for parameter in model.parameters())
    assert most_checks(model, config, size) >= channels
    with pytest.raises(VidtwinError, match="times the work") as caught:
        most_checks(model, config, 1 << 20)
    assert "--clips" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": 1024, "height": 128, "width": 128, "patch_size": 8},
        {"frames": 1, "height": 4096, "width": 4096, "patch_size": 128},
        {"frames": 4, "height": 1024, "width": 1024, "patch_size": 8},
        {"structure_channels": 30_000},
    ],
)
def test_a_small_file_does_not_buy_minutes(tmp_path: Path, changes: dict[str, int]) -> None:
    config = micro_config(structure_blocks=0, dynamics_blocks=0, **changes)
    path = of_zeros(tmp_path / "a.safetensors", config)
    begun: list[str] = []
    reporter = Reporter(lambda total, doing: begun.append(doing))
    with pytest.raises(VidtwinError, match="allowed"):
        import_checkpoint(path, ImportOptions(output=tmp_path / "b.safetensors"), reporter=reporter)
    assert begun == ["reading the checkpoint"]


def test_a_network_larger_than_its_file_can_be_is_not_built(tmp_path: Path) -> None:
    path = of_zeros(tmp_path / "a.safetensors", VidTwinConfig())
    with pytest.raises(VidtwinError, match="suspiciously many"):
        open_checkpoint(path).load()


def test_shapes_are_checked_before_tensors_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, micro_model(), name="a", origin="a")
    checkpoint = open_checkpoint(path)
    name = next(iter(checkpoint.shapes))
    checkpoint.shapes[name] = (1 << 40, *checkpoint.shapes[name])

    def read(self: SafetensorsSource, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        raise AssertionError("a tensor was read")

    monkeypatch.setattr(SafetensorsSource, "read", read)
    with pytest.raises(VidtwinError, match=r"has shape|have shapes"):
        checkpoint.load()


def test_channels_beyond_the_limit_keep_the_steps_that_are_known_to_work() -> None:
    model = micro_model()
    latents = [model.encode(clip) for clip in synthetic_clips(model.config)][:2]
    squares = sensitivity.measure(model, latents)
    known = tuple(np.full_like(part, 0.5) for part in squares)
    wide = tuple(np.full_like(part, 1000.0) for part in squares)
    trusting = tuple(np.full_like(part, np.inf) for part in squares)  # whatever is tried is believed
    tried = [sensitivity.checked(model, latents, trusting, wide, known, most=most) for most in (None, 2, 0)]
    assert [sum(int((part == 1000).sum()) for part in found) for found in tried][1:] == [2, 0]
    assert all((part == 1000).all() for part in tried[0])
