"""Hostile files of tensors: checkpoints, weights, latents and the states of interrupted runs."""

from __future__ import annotations

import copy
import io
import json
import math
import pickletools
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from tests.micro import (
    micro_config,
    micro_model,
    pipeline_model,
    released_params,
    released_state,
    window_model,
    write_weights,
)
from tools.fuzz.changes import INTEGERS, change_bytes, change_json, to_text
from tools.fuzz.videos import GOLDEN
from vidtwin_codec.calibration.bounds import most_checks
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.latents.exporting import export_latents
from vidtwin_codec.latents.importing import ImportLatentsOptions, import_latents
from vidtwin_codec.model import QFormerConfig, TransformerConfig, VidTwin, open_checkpoint
from vidtwin_codec.training import TrainOptions
from vidtwin_codec.training.optimization import Optimizers
from vidtwin_codec.training.state import State, undamaged
from vidtwin_codec.weights.metadata import read_metadata

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_DTYPES = (*_BYTES, "F8_E4M3", "C64", "", "f32")
_MOST_DATA = 4 << 20
Tensors = tuple[dict[str, Any], bytes]
"""The header of a safetensors file, and its numbers."""


# Safetensors: weights and latents


def _apart(data: bytes) -> Tensors:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _make_safetensors(random: Random, samples: Sequence[bytes]) -> bytes:
    data = random.choice(samples)
    kind = random.randrange(10)
    if kind == 0:
        return change_bytes(random, data, samples)
    header, numbers = _apart(data)
    if kind == 1:
        other, more = _apart(random.choice(samples))
        header = {**header, **dict(random.sample(sorted(other.items()), random.randint(1, len(other))))}
        numbers = random.choice((numbers, more))
    elif kind <= 5:
        _change_metadata(random, header)
    elif kind == 6:
        header = change_json(random, header)
    elif kind == 7:
        numbers = change_bytes(random, numbers)
    else:
        _resize(random, header)
    if random.random() < 0.8:
        numbers = _lay_out(header, numbers)
    text = to_text(random, header)
    length = len(text) if random.random() < 0.97 else random.choice(INTEGERS) % (1 << 64)
    return struct.pack("<Q", length) + text + numbers


def _change_metadata(random: Random, header: dict[str, Any]) -> None:
    """Change the JSON within the metadata's texts."""
    metadata = header.setdefault("__metadata__", {})
    if not metadata:
        return
    key = random.choice(sorted(metadata))
    try:
        value = json.loads(metadata[key])
    except ValueError:
        metadata[key] = change_bytes(random, metadata[key].encode()).decode("utf-8", "replace")
        return
    changed = change_json(random, value)
    metadata[key] = to_text(random, changed).decode("utf-8", "replace")


def _resize(random: Random, header: dict[str, Any]) -> None:
    for name in random.sample(sorted(header), min(len(header), random.choice((1, 1, 3)))):
        entry = header[name]
        if "shape" not in entry:
            continue
        shape = entry["shape"]
        kind = random.randrange(5)
        if kind == 0:
            entry["dtype"] = random.choice(_DTYPES)
        elif kind == 1 and shape:
            shape[random.randrange(len(shape))] = random.choice((0, 1, 2, 3, 7, 64, 1000, 1 << 31, 1 << 62))
        elif kind == 2:
            entry["shape"] = shape[::-1]
        elif kind == 3:
            entry["shape"] = random.choice(([], [1, *shape], [*shape, 1], shape[1:], [1] * 65))
        else:
            header[random.choice(("a", "encoder.a", name + "#places", name + "#values", name[:-1]))] = header.pop(name)


def _lay_out(header: dict[str, Any], numbers: bytes) -> bytes:
    """Give each tensor the place that its shape and type need, as the library wants it; return so many numbers."""
    position = 0
    for name, entry in header.items() if isinstance(header, dict) else ():
        if name == "__metadata__" or not isinstance(entry, dict):
            continue
        shape, size = entry.get("shape"), _BYTES.get(str(entry.get("dtype")))
        if size is None or not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
            continue
        end = position + size * math.prod(shape)
        if end <= _MOST_DATA:
            entry["data_offsets"] = [position, end]
            position = end
    return numbers[:position].ljust(position, b"\0")


@cache
def _weights() -> tuple[bytes, ...]:
    """Our own files of dense, wide and sparse networks, and a released one."""
    from safetensors.torch import save

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.safetensors")
        own = [write_weights(path, model, 0.1).read_bytes() for model in (pipeline_model(), window_model(), _empty())]
    model = micro_model()
    metadata = {"config": json.dumps(released_params(model.config))}
    return (*own, save(_contiguous(model), metadata), save(_contiguous(_nameless())))


def _contiguous(model: VidTwin) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in released_state(model).items()}


def _nameless() -> VidTwin:
    """A network whose configuration follows from the shapes of its tensors."""
    side = TransformerConfig(hidden_size=64, depth=1, num_heads=1)
    former = QFormerConfig(num_queries=3, hidden_size=8, num_layers=1, intermediate_size=12, num_heads=8)
    return micro_model(encoder=side, decoder=side, qformer=former)


def _empty() -> VidTwin:
    """A network with matrices that are nearly all zeros, which are stored as places and values."""
    side = TransformerConfig(hidden_size=40, depth=1, num_heads=2, causal=False)
    model = micro_model(encoder=side, decoder=side, structure_blocks=0, dynamics_blocks=0)
    for number, parameter in enumerate(model.parameters()):
        if parameter.numel() >= 4096:
            parameter.zero_()
            if number % 2:
                parameter.view(-1)[::100] = 0.5
    return model


def make_weights(random: Random) -> bytes:
    """Weights in safetensors, ours and released ones."""
    return _make_safetensors(random, _weights())


def read_weights(path: Path) -> bool:
    """Load a network, as `weights import` does before it calibrates."""
    model = open_checkpoint(path).load()
    most_checks(model, model.config, path.stat().st_size)
    if path.suffix == ".safetensors":
        try:
            metadata = read_metadata(path)
        except VidtwinError as error:
            if "own format" not in error.message:
                raise
        else:
            _ = metadata.steps
    return True


@cache
def _latents(suffix: str) -> tuple[bytes, ...]:
    """Exported latents of one video and of two, of every layout; and such of another program."""
    files = [GOLDEN / f"{name}.vtw" for name in ("v1_coder3", "v1_1_packed", "v1_1_camera", "v1_1_placed")]
    made = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a{suffix}")
        for sources in (*([file] for file in files), files[1:3]):
            export_latents(sources, path, force=True)
            made.append(path.read_bytes())
    return tuple(made)


def make_latents(random: Random) -> bytes:
    """Latents in safetensors."""
    return _make_safetensors(random, _latents(".safetensors"))


def read_latents(path: Path) -> bool:
    """Import latents, as their own description says or, one in four, like another file."""
    output = path.with_name("made")
    if output.is_dir():
        shutil.rmtree(output)
    output.unlink(missing_ok=True)
    like = GOLDEN / "v1_coder3.vtw" if zlib.crc32(path.read_bytes()) % 4 == 0 else None
    import_latents(path, output, ImportLatentsOptions(like=like, level=1))
    return True


# Zip archives: checkpoints, states and .npz


def _entries(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zipped(random: Random, entries: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    kind = zipfile.ZIP_STORED if random.random() < 0.9 else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(stream, "w", kind) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, kind)
    data = stream.getvalue()
    return data if random.random() < 0.95 else change_bytes(random, data)


def _change_entries(random: Random, entries: dict[str, bytes]) -> None:
    """Drop, rename, resize or change an entry."""
    name, kind = random.choice(sorted(entries)), random.randrange(6)
    data = entries.pop(name)
    if kind == 1:
        entries[random.choice((name + "x", "data.pkl", "../a", "a/" + name, "\x1b.npy", ".npy", "metadata.npy"))] = data
    elif kind == 2:
        entries[name] = data[: len(data) // 2]
    elif kind == 3:
        entries[name] = data * random.choice((2, 20))
    elif kind > 3:
        entries[name] = change_bytes(random, data, list(entries.values()))


def _change_pickle(random: Random, data: bytes) -> bytes:
    """Change operations of a pickle and their arguments, so that it mostly stays one."""
    starts = [position for _, _, position in pickletools.genops(data) if position is not None]
    pieces = [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]
    for _ in range(random.choice((1, 1, 1, 4))):
        at, kind = random.randrange(len(pieces)), random.randrange(9)
        numbers = [place for place, piece in enumerate(pieces) if piece[:1] in b"KMJ\x8a" and len(piece) > 1]
        if kind <= 1 and numbers:
            place = random.choice(numbers)
            size = min(len(pieces[place]) - 1, 4)
            value = int.from_bytes(pieces[place][1 : 1 + size], "little") + random.choice((1, -1, 2))
            pieces[place] = _number(value)
        elif kind <= 3 and numbers:
            pieces[random.choice(numbers)] = _number(random.choice(INTEGERS) * random.choice((1, 1, 1 << 33)))
        elif kind == 4:
            del pieces[at : at + random.choice((1, 1, 3, 40))]
        elif kind == 5:
            pieces[at:at] = [random.choice(pieces)] * random.choice((1, 1, 5, 1000))
        elif kind == 6:
            other = random.randrange(len(pieces))
            pieces[at], pieces[other] = pieces[other], pieces[at]
        elif kind == 7:
            pieces[at] = random.choice(_OPERATIONS)
        else:
            pieces[at] = change_bytes(random, pieces[at])
        if not pieces:
            break
    return b"".join(pieces)


def _number(value: int) -> bytes:
    """A whole number as an operation of a pickle."""
    data = value.to_bytes(16, "little", signed=True)
    return b"\x8a\x10" + data


_OPERATIONS = (
    b"N", b"\x88", b")", b"]", b"}", b"\x8f", b"(", b"0", b"2", b"\x85", b"\x86", b"\x87", b"t", b"R", b"b", b"a", b"e",
    b"s", b"u", b"\x90", b"\x91", b"\x81", b"\x92", b"Q", b"1", b"h\0", b"q\0", b"G\x7f\xf0\0\0\0\0\0\0",
    b"G\x7f\xf8\0\0\0\0\0\0", b"X\x01\0\0\0a", b"cos\nsystem\n", b"ccollections\nOrderedDict\n", b"c_codecs\nencode\n",
    b"ctorch\nFloatStorage\n", b"ctorch\nQInt8Storage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nSize\n",
    b"c__builtin__\nset\n", b"\x80\xff", b"L9\n", b"I01\n", b"F1e999\n", b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
)  # fmt: skip


def _make_torch(random: Random, samples: Sequence[bytes]) -> bytes:
    data = random.choice(samples)
    kind = random.randrange(10)
    if kind == 0:
        return change_bytes(random, data, samples)
    entries = _entries(data)
    structure = next(name for name in entries if name.endswith("data.pkl"))
    if kind <= 6:
        entries[structure] = _change_pickle(random, entries[structure])
    elif kind == 7:
        entries[structure] = change_bytes(random, entries[structure], [_entries(random.choice(samples))[structure]])
    else:
        _change_entries(random, entries)
    return _zipped(random, entries)


@cache
def _contents() -> tuple[dict[str, Any], ...]:
    model = micro_model()
    params = released_params(model.config)
    return (
        {"state_dict": released_state(model), "hyper_parameters": params},
        {"state_dict": released_state(model), "hyper_parameters": {"model": {"params": params}}},
        {"state_dict": released_state(_nameless()), "hyper_parameters": None},
    )


@cache
def _checkpoints() -> tuple[bytes, ...]:
    return tuple(map(_saved, (*_contents(), _contents()[2]["state_dict"])))


def _saved(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


_TENSORS = (
    *(torch.zeros(shape) for shape in ((), (0,), (1,), (16,), (16, 16), (1, 1, 1))),
    *(torch.zeros(16, dtype=kind) for kind in (torch.int64, torch.bool, torch.complex64, torch.float64)),
    *(torch.full((16,), value) for value in (math.nan, math.inf, -1.0)),
    *(torch.tensor(value) for value in (-1.0, math.nan, 1e30)),
    torch.zeros(2, 2).to_sparse(),
    torch.zeros(1).expand(1 << 40),
)
"""Tensors for places where another one is expected."""


def make_checkpoint(random: Random) -> bytes:
    """A checkpoint as torch and Lightning write them."""
    if random.random() < 0.7:
        return _make_torch(random, _checkpoints())
    content = random.choice(_contents())
    part = random.choice(sorted(content))
    return _saved({**content, part: change_json(random, content[part], _TENSORS)})


def make_npz(random: Random) -> bytes:
    """Latents in an archive of numpy."""
    data = random.choice(_latents(".npz"))
    kind = random.randrange(10)
    if kind == 0:
        return change_bytes(random, data, _latents(".npz"))
    entries = _entries(data)
    if kind <= 4:
        text = str(np.load(io.BytesIO(entries["metadata.npy"])))
        changed = to_text(random, change_json(random, json.loads(text))).decode("utf-8", "replace")
        entries["metadata.npy"] = _npy(np.array(changed))
    elif kind <= 6:
        name = random.choice(sorted(entries))
        entries[name] = _npy(_resized(random, np.load(io.BytesIO(entries[name]))))
    elif kind == 7:  # the header of an array, which is text of Python
        name = random.choice(sorted(entries))
        entries[name] = change_bytes(random, entries[name][:128]) + entries[name][128:]
    else:
        _change_entries(random, entries)
    return _zipped(random, entries)


def _resized(random: Random, array: Any) -> Any:
    """An array of another shape, type, order or content."""
    if array.dtype.kind != "f":
        return array.reshape(random.choice(((), (1,), (1, 1))))
    kinds = ("<f2", ">f4", "<f8", "i1", "u8", "?", "c8", "U2", "M8[s]", "V4", "S3")
    changes: tuple[Callable[[], Any], ...] = (
        lambda: array.astype("i1").astype(random.choice(kinds)),
        lambda: np.asfortranarray(array),
        lambda: array[..., :0],
        lambda: np.concatenate([array] * random.choice((2, 300))),
        lambda: random.choice((array.reshape(-1), array[None])),
        lambda: np.full_like(array, random.choice((1e30, math.nan, math.inf, 0, -1e5))),
        lambda: array[:1],
    )
    return random.choice(changes)()


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


# States of interrupted runs


@cache
def _run() -> tuple[Any, TrainOptions]:
    """The network and the options of a run."""
    model = micro_model().requires_grad_(True)
    return model, TrainOptions(data=Path("data"), output=Path("a.safetensors"), steps=9, optimizer="adamw")


@cache
def _states() -> tuple[bytes, ...]:
    """States of a run before its first step and after one."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.pt")
        for steps in range(2):
            model, options = copy.deepcopy(_run()[0]), _run()[1]
            optimizers = Optimizers(model, options)
            for _ in range(steps):
                _step(model, optimizers)
            tensors = model.state_dict()
            State(
                *(steps, 1.5, options.to_json(), micro_config().to_dict(), "ab" * 32, tensors, tensors),
                optimizers.state(),
            ).save(path)
            made.append(path.read_bytes())
    return tuple(made)


def _step(model: Any, optimizers: Optimizers) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizers.step(1.0)


def make_state(random: Random) -> bytes:
    """A state as training saves it."""
    if random.random() < 0.7:
        return _make_torch(random, _states())
    content = torch.load(io.BytesIO(random.choice(_states())), weights_only=True)
    part = random.choice(("optimizers", "optimizers", *sorted(content)))
    return _saved({**content, part: change_json(random, content[part], _TENSORS)})


def read_state(path: Path) -> bool:
    """Resume from a state, and do a step."""
    state = State.load(path)
    model, options = copy.deepcopy(_run()[0]), _run()[1]
    optimizers = Optimizers(model, options)
    with undamaged(path):
        model.load_state_dict(state.average)
        model.load_state_dict(state.model)
        optimizers.load(state.optimizers)
    _step(model, optimizers)
    return True
