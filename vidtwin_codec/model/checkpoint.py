"""Reading of networks from checkpoints, and writing of them.

Three kinds of file load: this project's ``.safetensors`` (configuration and quantisation steps in its
metadata), the released VidTwin as ``.safetensors``, and the released Lightning ``.ckpt``. Only tensors
are read, only those of the halves asked for, and no pickle is ever executed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import atomic_path
from vidtwin_codec.model.config import Shape, VidTwinConfig
from vidtwin_codec.model.deduce import deduce_config
from vidtwin_codec.model.idle import settle
from vidtwin_codec.model.sparse_tensors import SPARSE_KEY, DenseSource, dense_shapes, is_sparse, split_sparse
from vidtwin_codec.model.torchfile import TorchFile
from vidtwin_codec.model.upstream import UNUSED, from_upstream_names, upstream_names
from vidtwin_codec.model.vidtwin import VidTwin
from vidtwin_codec.safetensors_file import SafetensorsHeader, check_file, is_torch_file, read_header, write_safetensors

if TYPE_CHECKING:
    from vidtwin_codec.coding import Steps

HALVES = ("encoder", "decoder")
STORAGE_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
SMALL_FILE_NUMBERS, NUMBERS_PER_BYTE = 1 << 26, 64
"""Most numbers of a network, for a file and for every byte of it; sparse ones take few bytes."""
_LARGEST_HALF = torch.finfo(torch.float16).max
_POSITIONS = ("encoder.pos_embed", "encoder.pos_embed_temporal", "decoder.pos_embed", "decoder.pos_embed_temporal")


class TensorSource(Protocol):
    """A file that holds named tensors."""

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yield each name and its tensor, in memory of its own, one at a time."""


@dataclass
class Checkpoint:
    """An open checkpoint, before any tensor is read.

    Attributes:
        path: the file.
        config: the network it holds.
        ours: whether names and metadata are this project's.
        shapes: shapes by tensor name, as named in the file.
        assumed: settings that the file does not state and that were taken from the released network.
    """

    path: Path
    config: VidTwinConfig
    ours: bool
    shapes: dict[str, Shape]
    source: TensorSource
    assumed: list[str] = field(default_factory=list)

    def load(
        self,
        *,
        parts: tuple[str, ...] = HALVES,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        trainable: bool = False,
    ) -> VidTwin:
        """Load the network in evaluation mode; see :func:`load_checkpoint`.

        Args:
            parts: the halves to load.
            device: where the tensors go.
            dtype: data type to convert them to.
            trainable: whether to keep layers that do nothing, since they may learn.
        """
        try:
            model = self._blank(parts)
            renaming = {} if self.ours else upstream_names(self.config)
            wanted = [name for name in self.shapes if self._belongs(renaming.get(name, name), name, parts)]
            self._check_tensors(model, wanted)
        except VidtwinError as error:
            raise VidtwinError(f"{self.path}: {error.message}", error.hint) from error
        # one at a time, so that memory holds the weights once; positions are only compared, in their own precision
        tensors = {
            name: tensor if name in _POSITIONS else tensor.to(device, dtype)
            for name, tensor in self.source.read(wanted)
        }
        try:
            if self.ours:
                model.load_tensors(tensors)
            else:
                model.load_upstream_state_dict(tensors)
        except VidtwinError as error:
            raise VidtwinError(f"{self.path}: {error.message}", error.hint) from error
        model = model.to(device, dtype).requires_grad_(False).eval()
        if not trainable:
            settle(model)
        return model

    def _blank(self, parts: tuple[str, ...]) -> VidTwin:
        """Return the network without memory: nothing is allocated before the tensors take their places."""
        most = SMALL_FILE_NUMBERS + NUMBERS_PER_BYTE * self.path.stat().st_size
        config = self.config
        for side in (config.encoder, config.decoder):  # positions are computed when a transformer is built
            _check_count(side.hidden_size * (config.frames + (0 if config.any_grid else config.tokens)), most)
        with torch.device("meta"):
            model = VidTwin(config, parts=parts)
        _check_count(sum(parameter.numel() for parameter in model.parameters()), most)
        return model

    def _check_tensors(self, model: VidTwin, wanted: list[str]) -> None:
        """Check names and shapes before any tensor is read: a file may name thousands over one storage."""
        try:
            blank = {name: torch.empty(self.shapes[name], device="meta") for name in wanted}
            model.check_tensors(blank if self.ours else from_upstream_names(blank, self.config))
        except (RuntimeError, IndexError, TypeError) as error:
            raise VidtwinError("its tensors have shapes that no network has") from error

    def _belongs(self, name: str, stored_name: str, parts: tuple[str, ...]) -> bool:
        """Return whether a tensor is wanted: of a half that is loaded, or unknown, which the strict loader reports."""
        if not self.ours and UNUSED.match(stored_name):
            return False
        half = name.partition(".")[0]
        return half in parts or half not in HALVES


def load_checkpoint(
    path: str | Path,
    *,
    parts: tuple[str, ...] = HALVES,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    config: VidTwinConfig | None = None,
) -> VidTwin:
    """Load a network for inference: evaluation mode, no gradients.

    Args:
        path: our ``.safetensors``, an upstream ``.safetensors`` or an upstream Lightning ``.ckpt``.
        parts: the halves to load, ``"encoder"`` and ``"decoder"``; the other's tensors are not read.
        device: where the tensors go.
        dtype: data type to convert them to.
        config: the network's configuration, for files that do not state it; otherwise it is read from the
            file's metadata or hyper-parameters, or deduced from the tensors' shapes.

    Raises:
        VidtwinError: the file is missing, damaged, not a checkpoint, of another architecture, or a
            pickle that would run code.
    """
    return open_checkpoint(path, config=config).load(parts=parts, device=device, dtype=dtype)


def open_checkpoint(path: str | Path, *, config: VidTwinConfig | None = None) -> Checkpoint:
    """Open a checkpoint without reading tensors; arguments and errors are those of :func:`load_checkpoint`."""
    path = Path(path)
    try:
        if is_torch_file(check_file(path)):
            return _open_torch(path, config)
        return _open_safetensors(path, config)
    except VidtwinError as error:
        if error.message.startswith(str(path)):
            raise
        raise VidtwinError(f"{path}: {error.message}", error.hint) from error


def _open_torch(path: Path, config: VidTwinConfig | None) -> Checkpoint:
    source = TorchFile(path)
    shapes = {name: record.shape for name, record in source.tensors.items()}
    found = config or _config_in(source.hyper_parameters)
    return _with_config(path, found, shapes, source)


def _open_safetensors(path: Path, config: VidTwinConfig | None) -> Checkpoint:
    header = read_header(path)
    source = SafetensorsSource(path, header)
    shapes = {name: tensor.shape for name, tensor in header.tensors.items()}
    if header.metadata.get("format") == "vidtwin":
        config = config or VidTwinConfig.from_dict(_json(path, header, "config"))
        if SPARSE_KEY in header.metadata:
            sparse = dense_shapes(_json(path, header, SPARSE_KEY), shapes)
            stored = {name: shape for name, shape in shapes.items() if name.partition("#")[0] not in sparse}
            return Checkpoint(path, config, True, {**stored, **sparse}, DenseSource(source, sparse, shapes))
        return Checkpoint(path, config, True, shapes, source)
    if config is None and "config" in header.metadata:
        config = VidTwinConfig.from_upstream(_json(path, header, "config"))
    return _with_config(path, config, shapes, source)


def _check_count(numbers: int, most: int) -> None:
    if numbers > most:
        raise VidtwinError(f"its network is of {numbers} numbers, suspiciously many for a file of its size")


def _with_config(
    path: Path, config: VidTwinConfig | None, shapes: dict[str, Shape], source: TensorSource
) -> Checkpoint:
    assumed: list[str] = []
    if config is None:
        name = "decoder.pos_embed"
        positions = dict(source.read([name]))[name] if name in shapes else None
        config, assumed = deduce_config(shapes, positions)
    return Checkpoint(path, config, False, shapes, source, assumed)


def _json(path: Path, header: SafetensorsHeader, key: str) -> dict[str, Any]:
    try:
        values = json.loads(header.metadata[key])
    except (KeyError, ValueError, RecursionError) as error:
        raise VidtwinError(f"{path}: its metadata holds no readable {key}") from error
    if not isinstance(values, dict):
        raise VidtwinError(f"{path}: its metadata holds no readable {key}")
    return values


def _config_in(hyper_parameters: Any) -> VidTwinConfig | None:
    """Find a usable configuration among Lightning's hyper-parameters, at any depth."""
    if not isinstance(hyper_parameters, dict):
        return None
    if "encoder_config" in hyper_parameters:
        try:
            return VidTwinConfig.from_upstream(hyper_parameters)
        except VidtwinError:
            return None  # incomplete; the tensors' shapes still tell
    for value in hyper_parameters.values():
        found = _config_in(value)
        if found is not None:
            return found
    return None


class SafetensorsSource:
    """The tensors of a ``.safetensors`` file, read by name."""

    def __init__(self, path: Path, header: SafetensorsHeader) -> None:
        self.path, self.header = path, header

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yield each name and its tensor, copied out of the file's mapping so that the file may change afterwards."""
        try:
            with safe_open(self.path, framework="pt", device="cpu") as file:
                for name in names:
                    yield name, file.get_tensor(name).clone()
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise VidtwinError(f"{self.path}: cannot be read as safetensors ({error})") from error


def save_checkpoint(
    path: str | Path,
    model: VidTwin,
    *,
    name: str,
    origin: str,
    steps: Steps | None = None,
    compute_dtype: str = "float32",
    storage: str = "float16",
    extra: Mapping[str, str] | None = None,
) -> None:
    """Write a network in this project's format, under its final name only when complete.

    The same tensors and metadata give the same bytes, hence the same digest, on every machine.

    Args:
        path: the ``.safetensors`` to write.
        model: a VidTwin with both halves.
        name: name of the weights.
        origin: description of where they come from.
        steps: base quantisation steps; encoding needs them.
        compute_dtype: ``"float32"`` or ``"bfloat16"``, the lowest precision without visible loss.
        storage: ``"float16"``, ``"bfloat16"`` or ``"float32"``. A tensor with values beyond float16
            stays float32.
        extra: further metadata.

    Raises:
        VidtwinError: the file cannot be written, or the network holds values that are not finite.
    """
    if model.encoder is None or model.decoder is None:
        raise ValueError("weights are saved with both halves")
    if storage not in STORAGE_DTYPES or compute_dtype not in ("float32", "bfloat16"):
        raise ValueError(f"unknown precision {storage} or {compute_dtype}")
    metadata = {
        **(extra or {}),
        "format": "vidtwin",
        "version": "1",
        "name": name,
        "config": json.dumps(model.config.to_dict(), sort_keys=True),
        "compute_dtype": compute_dtype,
        "origin": origin,
    }
    if steps is not None:
        metadata["steps"] = json.dumps(steps.to_json())
    state = model.state_dict()
    sparse = {key: list(tensor.shape) for key, tensor in state.items() if is_sparse(tensor)}
    if sparse:
        metadata[SPARSE_KEY] = json.dumps(sparse, sort_keys=True)
        state = split_sparse(state, sparse)
    dtypes = {key: _storage_dtype(key, tensor, STORAGE_DTYPES[storage]) for key, tensor in state.items()}
    order = sorted(state, key=lambda key: (-dtypes[key].itemsize, key))  # so that every tensor is aligned
    layout = [(key, str(dtypes[key]).removeprefix("torch."), tuple(state[key].shape)) for key in order]

    def numbers() -> Iterator[bytes]:
        for key, _, _ in layout:
            tensor = state[key].detach().to("cpu", dtypes[key]).contiguous()
            yield tensor.reshape(-1).view(torch.uint8).numpy().tobytes()

    with atomic_path(path) as temporary:
        write_safetensors(temporary, metadata, layout, numbers())


def _storage_dtype(name: str, tensor: Tensor, asked: torch.dtype) -> torch.dtype:
    if not tensor.is_floating_point():
        return tensor.dtype
    largest = tensor.detach().abs().amax().float().item()
    if not largest < float("inf"):
        raise VidtwinError(f"tensor {name} holds values that are not finite; these weights are not usable")
    return torch.float32 if asked == torch.float16 and largest > _LARGEST_HALF else asked
