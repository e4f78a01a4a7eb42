"""Layers that do nothing: found, passed over, and alive again in training."""

import dataclasses
from pathlib import Path

import pytest
import torch
from micro import micro_config
from torch import nn

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwin, load_checkpoint, open_checkpoint, save_checkpoint
from vidtwin_codec.model.idle import Convolution, PassingLinear, settle
from vidtwin_codec.safetensors_file import read_header


def centred(channels: int) -> Convolution:
    layer = Convolution(channels, channels)
    with torch.no_grad():
        tap = layer.weight[:, :, 1, 1].clone()
        layer.weight.zero_()
        layer.weight[:, :, 1, 1] = tap
    return layer


def test_a_centre_tap_runs_as_a_linear_map() -> None:
    layer = centred(4)
    maps = torch.randn(2, 3, 5, 6, 4)
    before = layer.over(maps)
    layer.settle()
    assert layer.centred
    assert not layer.idle
    assert torch.allclose(layer.over(maps), before, atol=1e-6)


def test_a_full_convolution_stays_one() -> None:
    layer = Convolution(4, 4)
    layer.settle()
    assert not layer.centred


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_an_identity_is_passed_over_unless_it_adds_something(bias: float) -> None:
    layer = PassingLinear(4, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(4))
        layer.bias.fill_(bias)
    layer.settle()
    assert layer.idle == (bias == 0)
    x = torch.randn(3, 4)
    assert torch.allclose(layer(x), x + bias)


@pytest.mark.parametrize("shut", ["gate", "projection"])
def test_shut_blocks_are_skipped_exactly(shut: str) -> None:
    model = VidTwin(micro_config()).eval()
    assert model.encoder is not None
    block = model.encoder.transformer.blocks[0]
    with torch.no_grad():
        if shut == "gate":
            block.modulation[[2, 5]] = 0
        else:
            for layer in (block.spatial_attention.projection, block.temporal_attention.projection, block.mlp.contract):
                layer.weight.zero_()
                layer.bias.zero_()
        clip = torch.randn(1, 3, model.config.frames, model.config.height, model.config.width)
        before = model.encode(clip)
        settle(model)
        assert not block.attends
        assert not block.mixes
        assert all(torch.equal(a, b) for a, b in zip(model.encode(clip), before, strict=True))


def test_nearly_empty_tensors_are_stored_as_places_and_values(tmp_path: Path) -> None:
    model = VidTwin(micro_config(structure_width=64)).eval()
    with torch.no_grad():
        kernel = model.decoder.structure.output.weight  # type: ignore[union-attr]
        kernel.zero_()
        kernel[3, 5, 1, 1] = 0.25
        empty = model.encoder.structure.head.weight  # type: ignore[union-attr]
        empty.zero_()
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, model, name="w", origin="test", storage="float32")
    names = read_header(path).tensors
    assert names["decoder.structure.output.weight#values"].shape == (1,)
    back = load_checkpoint(path)
    for key, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[key], tensor), key
    assert open_checkpoint(path).shapes["decoder.structure.output.weight"] == tuple(kernel.shape)


def test_places_outside_a_tensor_are_refused(tmp_path: Path) -> None:
    model = VidTwin(micro_config(structure_width=64)).eval()
    with torch.no_grad():
        kernel = model.decoder.structure.output.weight  # type: ignore[union-attr]
        kernel.zero_()
        kernel.view(-1)[-1] = 1
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, model, name="w", origin="test", storage="float32")
    data = path.read_bytes()
    last = (kernel.numel() - 1).to_bytes(4, "little")
    assert data.count(last) == 1
    path.write_bytes(data.replace(last, kernel.numel().to_bytes(4, "little")))
    with pytest.raises(VidtwinError, match="outside its shape"):
        load_checkpoint(path)


def test_a_network_to_be_trained_keeps_its_idle_layers(tmp_path: Path) -> None:
    model = VidTwin(dataclasses.replace(micro_config(), structure_blocks=0)).eval()
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, model, name="w", origin="test")
    trained = open_checkpoint(path).load(trainable=True)
    assert all(not getattr(part, "idle", False) for part in trained.modules() if isinstance(part, nn.Linear))
