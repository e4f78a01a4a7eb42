"""Checkpoints of every kind load; what is not one gets a clear line."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from micro import (
    FIXTURES,
    MICRO,
    Fixture,
    assert_same,
    micro_model,
    released_params,
    released_state,
)
from safetensors.torch import load_file, save_file

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import (
    QFormerConfig,
    TransformerConfig,
    VidTwin,
    VidTwinConfig,
    load_checkpoint,
    open_checkpoint,
    save_checkpoint,
)
from vidtwin_codec.model.deduce import deduce_config
from vidtwin_codec.safetensors_file import is_torch_file


@pytest.fixture
def model() -> VidTwin:
    return micro_model()


def save_ours(path: Path, model: VidTwin, **options: Any) -> Path:
    save_checkpoint(path, model, name="micro", origin="a test", **{"storage": "float32", **options})
    return path


def save_lightning(path: Path, model: VidTwin) -> Path:
    content = {
        "epoch": 3,
        "state_dict": released_state(model),
        "hyper_parameters": {"model": {"params": released_params(model.config)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(4)}}, "param_groups": [{"lr": 1e-4}]}],
    }
    torch.save(content, path)
    return path


def save_released(path: Path, model: VidTwin) -> Path:
    save_file(released_state(model), path, {"config": json.dumps(released_params(model.config))})
    return path


WRITERS = {
    "ours": lambda folder, model: save_ours(folder / "w.safetensors", model),
    "released safetensors": lambda folder, model: save_released(folder / "w.safetensors", model),
    "lightning": lambda folder, model: save_lightning(folder / "w.ckpt", model),
}


@pytest.fixture(params=WRITERS.values(), ids=WRITERS.keys())
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path, model: VidTwin) -> Path:
    path: Path = request.param(tmp_path, model)
    return path


def test_every_kind_loads_ready_for_inference(checkpoint: Path, model: VidTwin) -> None:
    loaded = load_checkpoint(checkpoint)
    assert loaded.config == model.config
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not any(tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))
    assert_same(loaded, model)
    clip = torch.zeros(1, 3, 4, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.decode(loaded.encode(clip)), model.decode(model.encode(clip)))


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_only_the_asked_half_is_read(checkpoint: Path, model: VidTwin, half: str, monkeypatch: Any) -> None:
    opened = open_checkpoint(checkpoint)
    read: list[str] = []
    original = opened.source.read

    def spy(names: Any) -> Any:
        names = list(names)
        read.extend(names)
        return original(names)

    monkeypatch.setattr(opened.source, "read", spy)
    loaded = opened.load(parts=(half,))
    assert getattr(loaded, half) is not None
    learned = [name for name in read if "pos_embed" not in name]
    assert len(learned) == len(loaded.state_dict())
    other = "decoder" if half == "encoder" else "encoder"
    assert getattr(loaded, other) is None
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


def test_dtype_is_the_one_asked_for(checkpoint: Path) -> None:
    loaded = load_checkpoint(checkpoint, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}


def test_a_loaded_network_does_not_change_with_its_file(checkpoint: Path, model: VidTwin) -> None:
    loaded = load_checkpoint(checkpoint)
    checkpoint.write_bytes(bytes(checkpoint.stat().st_size))
    assert_same(loaded, model)


def test_a_fixture_is_a_checkpoint_once_its_tensors_have_their_names(tmp_path: Path) -> None:
    for name in MICRO:
        fixture = Fixture(name)
        path = tmp_path / f"{name}.safetensors"
        save_file(fixture.weights, path, {"config": json.dumps(fixture.params)})
        assert_same(load_checkpoint(path), fixture.model())


@pytest.mark.parametrize("storage", ["float16", "bfloat16", "float32"])
def test_storage_halves_the_file_and_rounds_once(tmp_path: Path, model: VidTwin, storage: str) -> None:
    path = save_ours(tmp_path / "a.safetensors", model, storage=storage)
    dtype = getattr(torch, storage)
    stored = load_file(path)
    assert {tensor.dtype for tensor in stored.values()} == {dtype}
    loaded = load_checkpoint(path)
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name].to(dtype).float())
    again = save_ours(tmp_path / "b.safetensors", loaded, storage=storage)
    assert again.read_bytes() == path.read_bytes(), "the same network gives the same bytes"


def test_values_beyond_float16_stay_exact(tmp_path: Path, model: VidTwin) -> None:
    assert model.decoder is not None
    model.decoder.head.linear.bias[0] = 1e6
    loaded = load_checkpoint(save_ours(tmp_path / "a.safetensors", model, storage="float16"))
    assert loaded.decoder is not None
    assert loaded.decoder.head.linear.bias[0] == 1e6


def test_values_that_are_not_finite_are_not_saved(tmp_path: Path, model: VidTwin) -> None:
    assert model.decoder is not None
    model.decoder.head.linear.bias[0] = float("nan")
    with pytest.raises(VidtwinError, match="not finite"):
        save_ours(tmp_path / "a.safetensors", model)
    assert not list(tmp_path.iterdir())


DAMAGED = {
    "empty": (b"", "is empty"),
    "text": (b"These are not the weights you are looking for.\n" * 9, "not a checkpoint"),
    "short": (b"PK", "truncated or damaged"),
    "zip": (b"PK\x05\x06" + bytes(18), "not a PyTorch checkpoint"),
    "json": (b'{"config": 1}' * 99, "not a checkpoint"),
    "deep json": (struct.pack("<Q", 9999) + b'{"a":' + b"[" * 9994, "damaged"),
    "zeros": (bytes(4096), "not a checkpoint"),
    "pickle": (b"\x80\x02}q\x00.", "not a PyTorch checkpoint"),
    "gif": (b"GIF89a" + bytes(99), "not a checkpoint"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_what_is_no_checkpoint_gets_one_clear_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "weights.ckpt"
    path.write_bytes(content)
    with pytest.raises(VidtwinError, match=message) as caught:
        load_checkpoint(path)
    assert caught.value.message.startswith(str(path))
    assert "\n" not in caught.value.message


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(VidtwinError, match="is a directory"):
        load_checkpoint(tmp_path)
    with pytest.raises(VidtwinError, match="No such file"):
        load_checkpoint(tmp_path / "missing.ckpt")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(VidtwinError, match="not a regular file"):
        load_checkpoint(tmp_path / "pipe")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.97, 0.9999])
def test_truncated_checkpoints_are_called_so(checkpoint: Path, share: float) -> None:
    data = checkpoint.read_bytes()
    checkpoint.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(VidtwinError, match=r"truncated|damaged"):
        load_checkpoint(checkpoint)


def test_bytes_too_many_are_noticed(tmp_path: Path, model: VidTwin) -> None:
    path = save_ours(tmp_path / "a.safetensors", model)
    path.write_bytes(path.read_bytes() + b"xx")
    with pytest.raises(VidtwinError, match="truncated or damaged"):
        load_checkpoint(path)


def test_another_architecture_is_called_so(tmp_path: Path, model: VidTwin) -> None:
    torch.save({"state_dict": torch.nn.Linear(3, 3).state_dict()}, tmp_path / "linear.ckpt")
    with pytest.raises(VidtwinError, match="another architecture"):
        load_checkpoint(tmp_path / "linear.ckpt")
    save_file({"a": torch.zeros(3)}, tmp_path / "a.safetensors")
    with pytest.raises(VidtwinError, match="another architecture"):
        load_checkpoint(tmp_path / "a.safetensors")
    deeper = micro_model(decoder=TransformerConfig(16, 2, 2))
    save_file(released_state(deeper), tmp_path / "b.safetensors", {"config": json.dumps(released_params(model.config))})
    with pytest.raises(VidtwinError, match="unexpected tensor"):
        load_checkpoint(tmp_path / "b.safetensors")


def test_a_bad_configuration_in_the_metadata_is_named(tmp_path: Path, model: VidTwin) -> None:
    for number, text in enumerate(("{", "[]", "{}", '{"encoder_config": 3}')):
        path = tmp_path / f"{number}.safetensors"
        save_file(released_state(model), path, {"config": text})
        with pytest.raises(VidtwinError, match="config"):
            load_checkpoint(path)


DEDUCIBLE = {
    "square": {},
    "not square": {"height": 24, "width": 40, "dynamics_blocks": 0},
    "no blocks": {"structure_blocks": 0, "dynamics_blocks": 0},
    "two blocks": {"structure_blocks": 2, "dynamics_blocks": 2, "structure_channels": 4, "frames": 5},
}


@pytest.mark.parametrize("changes", DEDUCIBLE.values(), ids=DEDUCIBLE.keys())
def test_the_configuration_is_read_off_the_tensors(tmp_path: Path, changes: dict[str, Any]) -> None:
    wide = {
        "encoder": TransformerConfig(64, 1, 1),
        "decoder": TransformerConfig(64, 2, 1),
        "qformer": QFormerConfig(3, 8, 3, 12, 8),
    }
    model = micro_model(**wide, **changes)
    path = tmp_path / "w.ckpt"
    torch.save({"state_dict": released_state(model)}, path)
    opened = open_checkpoint(path)
    assert opened.config == model.config
    assert opened.assumed
    assert_same(opened.load(), model)


def test_the_released_shapes_give_the_released_configuration() -> None:
    lines = (FIXTURES / "vidtwin_base_state_dict.tsv").read_text().splitlines()[1:]
    shapes = {key: tuple(int(size) for size in shape.split("x")) for key, shape, _ in (x.split("\t") for x in lines)}
    config, _ = deduce_config(shapes)
    assert config == VidTwinConfig()


def test_what_shapes_cannot_tell_is_asked_for(tmp_path: Path) -> None:
    fixture = Fixture("micro_one_block")
    path = tmp_path / "w.safetensors"
    save_file(fixture.weights, path)
    with pytest.raises(VidtwinError, match="number of heads") as caught:
        load_checkpoint(path)
    assert "--config" in (caught.value.hint or "")
    assert_same(load_checkpoint(path, config=fixture.config), fixture.model())


def test_a_header_as_long_as_a_pickles_first_byte_is_still_safetensors(tmp_path: Path) -> None:
    (tmp_path / "ours").write_bytes(b"\x80\x5c" + bytes(6) + b'{"__metadata__"')
    (tmp_path / "pickle").write_bytes(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20")
    (tmp_path / "zip").write_bytes(b"PK\x03\x04" + bytes(20))
    found = {name: is_torch_file(tmp_path / name) for name in ("ours", "pickle", "zip")}
    assert found == {"ours": False, "pickle": True, "zip": True}
