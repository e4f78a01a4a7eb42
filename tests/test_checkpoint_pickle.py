"""Pickles are read, never executed."""

from __future__ import annotations

import argparse
import builtins
import contextlib
import functools
import importlib
import os
import pathlib
import pickle
import subprocess
import sys
import types
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from micro import assert_same, micro_model, released_params, released_state

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import QFormerConfig, TransformerConfig, VidTwin, load_checkpoint, open_checkpoint
from vidtwin_codec.model.unpickle import InertUnpickler


class Calls:
    """Pickles to a call of ``function``."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


@pytest.fixture
def model() -> VidTwin:
    return micro_model()


def write(path: Path, model: VidTwin, **more: Any) -> Path:
    content = {"state_dict": released_state(model), **more}
    content.setdefault("hyper_parameters", released_params(model.config))
    torch.save(content, path)
    return path


ATTACKS = {
    "os.system": lambda mark: Calls(os.system, f"touch {mark}"),
    "subprocess": lambda mark: Calls(subprocess.Popen, ["touch", str(mark)]),
    "eval": lambda mark: Calls(eval, f"open({str(mark)!r}, 'w')"),
    "exec": lambda mark: Calls(exec, f"open({str(mark)!r}, 'w')"),
    "open": lambda mark: Calls(open, str(mark), "w"),
    "getattr": lambda mark: Calls(getattr, Calls(importlib.import_module, "os"), "system"),
    "import": lambda mark: Calls(builtins.__import__, "this"),
    "path method": lambda mark: Calls(pathlib.Path.touch, mark),
    "torch.load": lambda mark: Calls(torch.load, str(mark)),
    "torch.hub": lambda mark: Calls(torch.hub.load, "x/y", "z"),
    "numpy.load": lambda mark: Calls(np.load, str(mark)),
    "somebody's function": lambda mark: Calls(touch, str(mark)),
    "pickle in pickle": lambda mark: Calls(pickle.loads, pickle.dumps(Calls(os.system, f"touch {mark}"))),
}


def touch(name: str) -> None:
    Path(name).touch()


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_code_in_a_checkpoint_is_not_run_and_is_reported(tmp_path: Path, model: VidTwin, attack: Any) -> None:
    mark = tmp_path / "mark"
    path = write(tmp_path / "evil.ckpt", model, callbacks={"x": attack(mark)})
    with pytest.raises(VidtwinError, match="refused: its pickle calls") as caught:
        load_checkpoint(path)
    assert not mark.exists()
    assert "this" not in sys.modules
    assert "nothing of it was run" in (caught.value.hint or "")
    assert "\n" not in caught.value.message


def test_the_callable_is_named(tmp_path: Path, model: VidTwin) -> None:
    path = write(tmp_path / "evil.ckpt", model, callbacks=Calls(subprocess.Popen, ["true"]))
    with pytest.raises(VidtwinError, match=r"subprocess\.Popen"):
        load_checkpoint(path)


def test_a_bare_malicious_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.ckpt"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(Calls(os.system, f"touch {tmp_path / 'mark'}"), protocol))
        with pytest.raises(VidtwinError):
            load_checkpoint(path)
        assert not (tmp_path / "mark").exists()


def test_names_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.ckpt", "w") as archive:
        archive.writestr("x/data.pkl", b"cos\n\x1b[31msystem\n.")
    with pytest.raises(VidtwinError, match="refused") as caught:
        load_checkpoint(tmp_path / "evil.ckpt")
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "state", [b"N}S'__code__'\nNs\x86", b"}S'__call__'\nNs", b"N}S'_build'\nNs\x86", b"N}S'__module__'\nNs\x86"]
)
@pytest.mark.parametrize(
    "name", [b"torch._utils\n_rebuild_tensor_v2", b"collections\nOrderedDict", b"torch\nFloatStorage"]
)
def test_state_cannot_be_given_to_what_the_pickle_may_call(name: bytes, state: bytes) -> None:
    with pytest.raises((pickle.UnpicklingError, TypeError, AttributeError)):
        InertUnpickler(b"\x80\x02c" + name + b"\n" + state + b"b.").load()
    assert OrderedDict(a=1) == {"a": 1}


def test_tensors_cannot_reach_beyond_their_storage(tmp_path: Path, model: VidTwin) -> None:
    path = write(tmp_path / "good.ckpt", model)
    tensors = open_checkpoint(path).source.tensors  # type: ignore[attr-defined]
    storage = tensors["conv_in.bias"].storage
    for sizes in ((0, (5,), (1,)), (1, (4,), (1,)), (0, (2, 2**40), (0, 0)), (-1, (1,), (1,)), (0, (2,), (-1,))):
        unpickler = InertUnpickler(b"")
        with pytest.raises(pickle.UnpicklingError):
            unpickler.find_class("torch._utils", "_rebuild_tensor_v2")(storage, *sizes, False, None)


@pytest.fixture
def foreign_modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Look-alikes of OmegaConf and Lightning, importable only while the checkpoint is written."""
    made: dict[str, type] = {}

    def add(module: str, name: str, base: type = object) -> None:
        parent = ""
        for part in module.split("."):
            parent = f"{parent}.{part}".lstrip(".")
            if parent not in sys.modules:
                monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        made[name] = type(name, (base,), {"__module__": module})
        setattr(sys.modules[module], name, made[name])

    add("omegaconf.dictconfig", "DictConfig")
    add("omegaconf.listconfig", "ListConfig")
    add("omegaconf.nodes", "AnyNode")
    add("omegaconf.base", "ContainerMetadata")
    add("lightning.pytorch.callbacks.model_checkpoint", "ModelCheckpoint")
    add("lightning.pytorch.utilities.parsing", "AttributeDict", dict)
    add("my_trainer.callbacks", "ImageLogger")
    add("my_trainer.lists", "History", list)
    return types.SimpleNamespace(**made)


def wrapped(kinds: Any, value: Any, parent: Any = None) -> Any:
    """``value`` as OmegaConf keeps it: containers of nodes, with links back to the parent."""
    if isinstance(value, dict | list):
        kind = kinds.DictConfig if isinstance(value, dict) else kinds.ListConfig
        made = kind()
        made._metadata, made._parent = kinds.ContainerMetadata(), parent
        made._metadata.ref_type = Any
        if isinstance(value, dict):
            made._content = {key: wrapped(kinds, item, made) for key, item in value.items()}
        else:
            made._content = [wrapped(kinds, item, made) for item in value]
        return made
    node = kinds.AnyNode()
    node._val, node._parent = value, parent
    return node


def test_a_checkpoint_full_of_foreign_objects_loads(
    tmp_path: Path, model: VidTwin, foreign_modules: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = foreign_modules
    callback = kinds.ModelCheckpoint()
    callback.best, callback.where = np.float64(0.5), pathlib.PurePosixPath("/tmp")
    history = kinds.History()
    history.extend([1, 2, kinds.ImageLogger()])
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))])
    attributes = kinds.AttributeDict(lr=1e-4)
    path = write(
        tmp_path / "full.ckpt",
        model,
        hyper_parameters={"model": {"params": wrapped(kinds, released_params(model.config))}, "more": attributes},
        callbacks={"ModelCheckpoint{}": callback, "logger": kinds.ImageLogger()},
        optimizer_states=[optimizer.state_dict()],
        optimizer=optimizer,
        args=argparse.Namespace(a=1, b=[2]),
        counts=defaultdict(int, a=1),
        schedule=functools.partial(max, 3),
        random={"numpy": np.random.get_state(), "generator": np.random.default_rng(1), "torch": torch.get_rng_state()},
        scalars=[np.float32(1), np.int64(2), np.ones(3), np.dtype("f4"), torch.float16, torch.Size([1]), {1, 2}, 1j],
        device=torch.device("cpu"),
        history=history,
        parameter=torch.nn.Parameter(torch.ones(2)),
        raw=b"bytes",
    )
    for name in list(sys.modules):
        if name.partition(".")[0] in {"omegaconf", "lightning", "my_trainer"}:
            monkeypatch.delitem(sys.modules, name)
    opened = open_checkpoint(path)
    assert opened.config == model.config, "read through OmegaConf's containers"
    assert not opened.assumed
    assert_same(opened.load(), model)
    assert not {"omegaconf", "lightning", "my_trainer"} & set(sys.modules)


def test_the_format_of_old_is_refused_with_the_way_to_convert_it(tmp_path: Path, model: VidTwin) -> None:
    torch.save(released_state(model), tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    with pytest.raises(VidtwinError, match=r"before PyTorch 1\.6") as caught:
        load_checkpoint(tmp_path / "old.ckpt")
    assert "torch.save(torch.load(OLD), NEW)" in (caught.value.hint or "")
    torch.save(torch.load(tmp_path / "old.ckpt"), tmp_path / "new.ckpt")
    assert_same(load_checkpoint(tmp_path / "new.ckpt", config=model.config), model)


def test_a_bare_state_dict_loads(tmp_path: Path) -> None:
    wide = TransformerConfig(64, 1, 1)
    model = micro_model(encoder=wide, decoder=wide, qformer=QFormerConfig(3, 8, 2, 12, 8))
    torch.save(OrderedDict(released_state(model)), tmp_path / "bare.pt")
    assert_same(load_checkpoint(tmp_path / "bare.pt"), model)


def test_shared_and_strided_tensors_load(tmp_path: Path, model: VidTwin) -> None:
    state = released_state(model)
    state["bottle_down.weight"] = state["bottle_down.weight"].transpose(0, 1).contiguous().transpose(0, 1)
    joined = torch.cat([state["motion_emb.0.bias"], state["motion_emb.2.bias"]])
    half = len(joined) // 2
    state["motion_emb.0.bias"], state["motion_emb.2.bias"] = joined[:half], joined[half:]
    torch.save({"state_dict": state, "hyper_parameters": released_params(model.config)}, tmp_path / "w.ckpt")
    assert_same(load_checkpoint(tmp_path / "w.ckpt"), model)


def test_flipped_bits_are_noticed(tmp_path: Path, model: VidTwin) -> None:
    path = write(tmp_path / "w.ckpt", model)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    data[largest.header_offset + 400] ^= 1
    path.write_bytes(data)
    with pytest.raises(VidtwinError, match="damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_never_escapes_as_another_error(tmp_path: Path, model: VidTwin, seed: int) -> None:
    path = write(tmp_path / "w.ckpt", model)
    random = np.random.default_rng(seed)
    with zipfile.ZipFile(path) as archive:
        content = {info.filename: archive.read(info) for info in archive.infolist()}
    name = next(name for name in content if name.endswith("data.pkl"))
    pickled = bytearray(content[name])
    for place in random.integers(0, len(pickled), 8):
        pickled[place] = random.integers(0, 256)
    content[name] = bytes(pickled)
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in content.items():
            archive.writestr(entry, data)
    with contextlib.suppress(VidtwinError):  # some damage hits what nobody reads
        load_checkpoint(path)
