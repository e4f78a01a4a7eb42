"""Files of PyTorch (``.ckpt``, ``.pt``): the tensors in them, and reading some of these.

Such a file is a zip archive with the pickle and one entry per storage. PyTorch before 1.6 wrote a stream of pickles
and raw storages, which is not read.
"""

from __future__ import annotations

import errno
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error
from vidtwin_codec.model.unpickle import (
    MAX_PICKLE,
    Inert,
    InertUnpickler,
    RefusedError,
    StorageRecord,
    TensorRecord,
    check_pickle,
)

_LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
"""The beginning of a file by PyTorch before 1.6."""
_MAX_DEPTH = 32
_MAX_VALUES = 100_000
"""Most values of hyper-parameters: a pickle may name one value any number of times."""
_MAX_NAME = 500
DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""Errors that damaged or hostile bytes make the standard library raise."""


class TorchFile:
    """The tensors of a PyTorch checkpoint's state dict, by name, read only when asked for.

    Attributes:
        tensors: :class:`TensorRecord` (shape and place) by name.
        hyper_parameters: the hyper-parameters that Lightning stored, as plain dictionaries where they can be read.

    Raises:
        VidtwinError: the file is damaged, holds no state dict, or would run code.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as stream:
                begins = stream.read(len(_LEGACY))
                if begins == _LEGACY:
                    message = f"{path}: a checkpoint in the format of before PyTorch 1.6, which is not read"
                    raise VidtwinError(message, "convert it in Python: torch.save(torch.load(OLD), NEW)")
                if not begins.startswith(b"PK"):
                    raise VidtwinError(f"{path}: a pickle, but not a PyTorch checkpoint")
                content = self._open_zip(stream)
        except RefusedError as error:
            raise VidtwinError(f"{path}: refused: {error.message}", error.hint) from error
        except VidtwinError:
            raise
        except (OSError, *DAMAGE) as error:
            raise _explained(error, path) from error
        self.tensors, self.hyper_parameters = _find_state_dict(path, content)

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yield each name and its tensor, in memory of its own, one at a time.

        Raises:
            VidtwinError: the file is damaged.
        """
        try:
            with self.path.open("rb") as stream:
                numbers = self._storages(stream)
                for name in names:
                    record = self.tensors[name]
                    whole = numbers(record.storage)
                    part = record.view(whole)
                    # a small tensor does not keep a large storage in memory
                    yield name, part.clone() if 2 * part.numel() < whole.numel() else part
        except (OSError, *DAMAGE) as error:
            raise _explained(error, self.path) from error

    def _open_zip(self, stream: BinaryIO) -> Any:
        with zipfile.ZipFile(stream) as archive:
            pickles = [name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise VidtwinError(f"{self.path}: a zip archive, but not a PyTorch checkpoint")
            self._prefix = pickles[0].removesuffix("data.pkl")
            order = f"{self._prefix}byteorder"
            if order in archive.namelist() and archive.open(order).read(8) != b"little":
                raise VidtwinError(f"{self.path}: written on a big-endian machine, which is not supported")
            info = archive.getinfo(pickles[0])
            if info.file_size > MAX_PICKLE:
                raise VidtwinError(f"{self.path}: its pickle has {info.file_size} bytes, too many for a checkpoint")
            with warnings.catch_warnings(action="ignore"):  # of damaged text, before it is refused
                return InertUnpickler(check_pickle(archive.read(info))).load()

    def _storages(self, stream: BinaryIO) -> Callable[[StorageRecord], Tensor]:
        archive = zipfile.ZipFile(stream)

        def numbers(record: StorageRecord) -> Tensor:
            info = archive.getinfo(f"{self._prefix}data/{record.key}")
            # a stored entry takes as many bytes of the file as of memory, so it cannot be a zip bomb
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != record.elements * _size(record.dtype):
                raise zipfile.BadZipFile("a storage is not of the size its tensor says")
            with archive.open(info) as entry:
                return _read_numbers(entry, record)

        return numbers


def _explained(error: Exception, path: Path) -> VidtwinError:
    """Return the error for what reading a file raised."""
    if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which a place before the file's beginning gives
        return explain_os_error(error, path)
    return VidtwinError(f"{path}: a truncated or damaged PyTorch checkpoint", "get the file again")


def _find_state_dict(path: Path, content: Any) -> tuple[dict[str, TensorRecord], Any]:
    hyper_parameters = None
    if isinstance(content, Mapping):
        try:
            hyper_parameters = plain(content.get("hyper_parameters"), _Count(_MAX_VALUES))
        except OverflowError as error:
            raise VidtwinError(f"{path}: its hyper-parameters hold more than {_MAX_VALUES} values") from error
        content = content.get("state_dict", content)
    tensors: dict[str, TensorRecord] = {}
    if isinstance(content, Mapping):
        tensors = {name: value for name, value in content.items() if isinstance(value, TensorRecord)}
    if not tensors:
        raise VidtwinError(f"{path}: this PyTorch file holds no state dict of tensors")
    if not all(isinstance(name, str) and len(name) <= _MAX_NAME and name.isprintable() for name in tensors):
        raise VidtwinError(f"{path}: names of its tensors are not short printable text; it is damaged")
    return tensors, hyper_parameters


class _Count:
    """A counter of the values that may still come."""

    def __init__(self, left: int) -> None:
        self.left = left

    def one(self) -> None:
        """Count one value.

        Raises:
            OverflowError: there have been too many.
        """
        self.left -= 1
        if self.left < 0:
            raise OverflowError


def plain(value: Any, count: _Count, depth: int = 0) -> Any:
    """Return dictionaries, lists and values, with OmegaConf's containers and nodes unwrapped; None for the rest.

    Raises:
        OverflowError: there are more values than ``count`` allows.
    """
    count.one()
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, Inert) and isinstance(value.state, Mapping):
        for field in ("_content", "_val"):
            if field in value.state:
                return plain(value.state[field], count, depth + 1)
    if isinstance(value, Inert):
        value = value.items or None
    if isinstance(value, Mapping):
        return {key: plain(item, count, depth + 1) for key, item in value.items() if isinstance(key, str)}
    if isinstance(value, list | tuple):
        return [plain(item, count, depth + 1) for item in value]
    return value if isinstance(value, bool | int | float | str) else None


def _size(dtype: torch.dtype) -> int:
    return torch.empty(0, dtype=dtype).element_size()


def _read_numbers(stream: Any, record: StorageRecord) -> Tensor:
    """Read a storage's numbers into memory that torch aligned, as results can depend on alignment."""
    numbers = torch.empty(record.elements, dtype=record.dtype)
    if record.elements:
        view = numbers.view(torch.uint8).numpy().data
        done = 0
        while done < len(view):
            count = stream.readinto(view[done : done + (16 << 20)])
            if not count:
                raise EOFError
            done += count
    return numbers
