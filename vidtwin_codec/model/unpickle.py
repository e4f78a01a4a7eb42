"""Reading the structure of a PyTorch checkpoint without running its code.

A ``.ckpt`` is a pickle: a program that builds objects by calling what it names. Here every name it
gives resolves to something of this module: tensors become :class:`TensorRecord` (where the numbers
lie), and any other class becomes an :class:`Inert` object that remembers what it was given and does
nothing. No module is ever imported because a pickle asks for it. On top of that, a pickle that calls
functions no checkpoint needs is refused by name, so that its owner learns what was in the file.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import torch

from vidtwin_codec.errors import VidtwinError

# Standard-library names in ordinary checkpoints: plain containers and values.
_PLAIN = re.compile(
    r"builtins\.(set|frozenset|dict|list|tuple|int|float|complex|bool|str|bytes|bytearray|slice|range|object|NoneType)"
    r"|(collections|typing|enum|datetime|decimal|fractions|uuid|pathlib|dataclasses)(\.\w+)+"
    r"|copyreg\.(_reconstructor|__newobj__|__newobj_ex__)|_codecs\.encode"
    r"|argparse\.Namespace|types\.SimpleNamespace|functools\.partial|numbers\.\w+"
)
# Third-party names whose call only ever builds a value. Any other third-party name may appear (a class, rebuilt
# without being called) but not be called.
_VALUES = re.compile(
    r"torch\.(Size|device|dtype|Tensor|Generator|nn\..+|optim\..+|_utils\._rebuild_\w+|_tensor\._rebuild_\w+)"
    r"|torch\.serialization\._get_layout|torch\.storage\.\w+|torch\.\w+Storage"
    r"|numpy\.(dtype|ndarray|(core|_core)\.(multiarray|numeric)\.(scalar|_reconstruct|_frombuffer))"
    r"|numpy\.(dtypes\.\w+|random\..+|bool_?|u?int\d+|float\d+|complex\d+)"
    r"|(omegaconf|lightning|pytorch_lightning|lightning_fabric|lightning_utilities|torchmetrics)(\.\w+)+"
)
_STORAGE_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


MAX_PICKLE = 16 << 20
"""The structure of a checkpoint takes a few hundred kilobytes; its numbers lie elsewhere."""
MAX_OPERATIONS = 1 << 20
"""Most operations of a pickle; a tensor takes some forty. Each may make an object of hundreds of bytes."""
MAX_INTEGER = 1 << 128
MAX_RANK = 16
_MAX_SIZE = 1 << 63


class RefusedError(VidtwinError):
    """The pickle names an object that would run code."""


@dataclass(frozen=True)
class StorageRecord:
    """The numbers of a storage in the checkpoint: ``elements`` of ``dtype`` under ``key``."""

    key: str
    dtype: torch.dtype
    elements: int


@dataclass(frozen=True)
class TensorRecord:
    """A tensor that was not read: a strided view of a storage."""

    storage: StorageRecord
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def view(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return the tensor, as a view of its storage's ``numbers`` (1-D)."""
        return numbers.as_strided(self.shape, self.stride, self.offset)


class _InertMeta(type):
    """The metaclass of inert classes, whose call (pickle's REDUCE) is refused unless they name a plain value."""

    callable_name: bool

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if not cls.callable_name:
            _refuse(cls.__name__)
        return super().__call__(*args, **kwargs)


class Inert(metaclass=_InertMeta):
    """Stands for an object of a class that this program does not have.

    ``state`` holds the state of its attributes in the pickle, ``items`` its items as a mapping.
    """

    callable_name = True
    state: Any
    items: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        made = super().__new__(cls)
        made.state, made.items = None, {}
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, str):
            self.items[key] = value

    def append(self, item: Any) -> None:
        """Swallow an item of a list-like object."""

    def extend(self, items: Any) -> None:
        """Swallow items of a list-like object."""

    def add(self, item: Any) -> None:
        """Swallow an item of a set-like object."""


class _Builder:
    """One of our few functions that a pickle may call; it has no attributes that a pickle could change."""

    __slots__ = ("_build",)
    _build: Callable[..., Any]

    def __init__(self, build: Callable[..., Any]) -> None:
        object.__setattr__(self, "_build", build)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise pickle.UnpicklingError("a function cannot be given state")

    def __call__(self, *args: Any) -> Any:
        return self._build(*args)


class Items(dict[Any, Any]):
    """Stands for an ``OrderedDict``: a dictionary whose methods no pickle can replace."""

    __slots__ = ()

    def __init__(self, pairs: Iterable[tuple[Any, Any]] = ()) -> None:
        super().__init__()
        for key, value in pairs:
            self[key] = value

    def __setitem__(self, key: Any, value: Any) -> None:
        _check_key(key)
        super().__setitem__(key, value)

    def __setstate__(self, state: Any) -> None:
        """Drop attributes: modules keep versions of their parts there."""


def check_pickle(data: bytes) -> bytes:
    """Return the pickle that ``data`` begins with.

    Raises:
        pickle.UnpicklingError: it holds what no checkpoint needs.
        ValueError: it is damaged.
    """
    end = 0
    for count, (operation, argument, position) in enumerate(pickletools.genops(data)):
        end = (position or 0) + 1
        large = isinstance(argument, int) and abs(argument) >= MAX_INTEGER
        if count >= MAX_OPERATIONS or large or operation.name == "BYTEARRAY8":
            raise pickle.UnpicklingError("more than a checkpoint needs")
    return data[:end]


_LOAD: dict[int, Callable[..., None]] = dict(pickle._Unpickler.dispatch)


# The unpickler in Python: the one in C keeps an array as long as the largest number that a pickle gives its memo, and
# cannot be told which keys to refuse.
class InertUnpickler(pickle._Unpickler):
    """Unpickles a checkpoint's structure; see the module's description.

    Args:
        data: from `check_pickle`.

    Raises (from :meth:`load`):
        RefusedError: the pickle names something that would run code.
        Exception: whatever a damaged pickle makes of itself; callers report the file as damaged.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(_LOAD)
    stack: list[Any]

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        """Return our classes for parts of tensors and inert ones for the rest; refuse names that run code."""
        # protocols up to 2 spell Python's own modules as Python 2 did
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        if full in {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"}:
            return _Builder(_rebuild_tensor)
        if full in {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}:
            return _Builder(_rebuild_parameter)
        if full == "collections.OrderedDict":
            return Items
        if full == "_codecs.encode":  # how protocol 2 spells bytes
            return _Builder(_encode)
        storage = _STORAGE_DTYPES.get(name) if module in {"torch", "torch.storage"} else None
        if storage is not None:
            return storage
        plain = _PLAIN.fullmatch(full) is not None
        # a built-in function may be mentioned (in a functools.partial, say); of the library nothing else need be
        if module != "builtins" and module.partition(".")[0] in sys.stdlib_module_names and not plain:
            _refuse(full)
        callable_name = plain or _VALUES.fullmatch(full) is not None
        return _InertMeta(full, (Inert,), {"callable_name": callable_name})

    def persistent_load(self, pid: Any) -> StorageRecord:
        """Return a storage by its key in the archive."""
        kind, dtype, key, _location, elements, *view = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(elements, int) or elements < 0:
            raise pickle.UnpicklingError("unknown kind of storage")
        if any(part is not None for part in view):
            raise pickle.UnpicklingError("views of storages are not supported")
        if not isinstance(key, str | int):
            raise pickle.UnpicklingError("a storage without a name")
        return StorageRecord(str(key), dtype, elements)

    def _setitem(self) -> None:
        _check_key(self.stack[-2])
        _LOAD[pickle.SETITEM[0]](self)

    def _setitems(self) -> None:
        for key in self.stack[::2]:
            _check_key(key)
        _LOAD[pickle.SETITEMS[0]](self)

    def _elements(self) -> None:
        for element in self.stack:
            _check_key(element)
        _LOAD[pickle.ADDITEMS[0]](self)

    def _frozen(self) -> None:
        for element in self.stack:
            _check_key(element)
        _LOAD[pickle.FROZENSET[0]](self)

    def _dict(self) -> None:
        for key in self.stack[::2]:
            _check_key(key)
        _LOAD[pickle.DICT[0]](self)

    dispatch[pickle.SETITEM[0]] = _setitem
    dispatch[pickle.SETITEMS[0]] = _setitems
    dispatch[pickle.ADDITEMS[0]] = _elements
    dispatch[pickle.FROZENSET[0]] = _frozen
    dispatch[pickle.DICT[0]] = _dict


def _check_key(key: Any) -> None:
    """Refuse nested tuples as keys: hashing one whose halves are the same tuple takes twice as long at each level."""
    if isinstance(key, tuple | frozenset) and any(isinstance(part, tuple | frozenset) for part in key):
        raise pickle.UnpicklingError("a key made of tuples of tuples")


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_rest: Any) -> TensorRecord:
    if not isinstance(shape, tuple) or not isinstance(stride, tuple) or max(len(shape), len(stride)) > MAX_RANK:
        raise pickle.UnpicklingError("a tensor of too many axes")
    sizes = (offset, *shape, *stride)
    fine = all(type(size) is int and 0 <= size < _MAX_SIZE for size in sizes)
    if not isinstance(storage, StorageRecord) or not fine:
        raise pickle.UnpicklingError("a tensor is not described by a storage and sizes")
    record = TensorRecord(storage, offset, tuple(shape), tuple(stride))
    elements = math.prod(record.shape)
    last = offset + sum((size - 1) * step for size, step in zip(record.shape, record.stride, strict=True))
    if elements and (last >= storage.elements or elements > storage.elements):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    return record


def _rebuild_parameter(data: Any, *_rest: Any) -> Any:
    return data


def _encode(text: Any, *_rest: Any) -> bytes:
    if not isinstance(text, str):
        raise pickle.UnpicklingError("no text to encode")
    return text.encode("latin1", "replace")


def _refuse(name: str) -> NoReturn:
    shown = name if name.isprintable() and len(name) < 120 else ascii(name)[:120]
    raise RefusedError(
        f"its pickle calls {shown}, which no checkpoint needs",
        "nothing of it was run; do not load this file with other tools unless you trust its author",
    )
