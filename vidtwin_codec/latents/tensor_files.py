"""Files of named tensors that latents are exchanged in: .safetensors and .npz.

Both are written group by group, so that memory does not grow with the video. A .safetensors is read so, too; an .npz is
a zip archive, of which numpy reads whole arrays.
"""

from __future__ import annotations

import errno
import tokenize
import warnings
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error, temporary_folder
from vidtwin_codec.safetensors_file import build_header

SUFFIXES = (".safetensors", ".npz")
METADATA = "metadata"
MAX_MEMBERS = 10_000
SMALL_METADATA, MAX_METADATA = 8 << 20, 64 << 20
"""Most bytes of the text, four a character: in a file of any size, and of a size beyond them at all."""
SMALL_BYTES = 256 << 20
MAX_RATIO = 200
"""A compressed archive may hold `SMALL_BYTES`, or so many times what its file takes."""
_REAL = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8")
_DAMAGE = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors that numpy and zipfile raise for bytes that are no archive of arrays."""
Shapes = Sequence[tuple[str, tuple[int, ...]]]


class TensorWriter(ABC):
    """float32 tensors of known shapes, filled a part at a time; a context manager.

    Args:
        path: the file to write; its suffix plays no part.
        metadata: one text.
        shapes: names and shapes of the tensors.
    """

    def __init__(self, path: Path, metadata: str, shapes: Shapes) -> None:
        self._stack = ExitStack()
        self._open(path, metadata, shapes)

    @abstractmethod
    def _open(self, path: Path, metadata: str, shapes: Shapes) -> None: ...

    @abstractmethod
    def write(self, name: str, first: int, part: NDArray[np.float32]) -> None:
        """Fill a tensor from ``first`` along its first axis on."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        with self._stack:
            if kind is None:
                self._finish()

    @abstractmethod
    def _finish(self) -> None:
        """Everything has been filled."""


class SafetensorsWriter(TensorWriter):
    """Writes each part at its place in the file."""

    def _open(self, path: Path, metadata: str, shapes: Shapes) -> None:
        start, offsets = build_header({METADATA: metadata}, [(name, "float32", shape) for name, shape in shapes])
        self._places = {
            name: (offset, 4 * int(np.prod(shape[1:]))) for (name, shape), offset in zip(shapes, offsets, strict=True)
        }
        self._stream = self._stack.enter_context(path.open("wb"))
        self._stream.write(start)

    def write(self, name: str, first: int, part: NDArray[np.float32]) -> None:
        offset, row = self._places[name]
        self._stream.seek(offset + first * row)
        self._stream.write(np.ascontiguousarray(part, dtype="<f4").data)

    def _finish(self) -> None:
        self._stream.flush()


class NpzWriter(TensorWriter):
    """Fills arrays on disk beside the file, and puts them into the archive at the end."""

    def _open(self, path: Path, metadata: str, shapes: Shapes) -> None:
        self._path, self._metadata = path, metadata
        folder = self._stack.enter_context(temporary_folder(path.parent))
        self._arrays = {
            name: np.lib.format.open_memmap(Path(folder, f"{number}.npy"), mode="w+", dtype="<f4", shape=shape)
            for number, (name, shape) in enumerate(shapes)
        }

    def write(self, name: str, first: int, part: NDArray[np.float32]) -> None:
        self._arrays[name][first : first + len(part)] = part

    def _finish(self) -> None:
        with self._path.open("wb") as stream:
            arrays: dict[str, Any] = {METADATA: np.array(self._metadata), **self._arrays}
            np.savez(stream, **arrays)
        self._arrays.clear()


class TensorReader(ABC):
    """Named tensors of a file, which is closed when nothing refers to it.

    Attributes:
        metadata: the text that a `TensorWriter` was given, None where another program wrote the file.
        shapes: of each tensor.
        array_bytes: bytes of the arrays that are in memory as a whole once they are read.

    Raises:
        VidtwinError: the file cannot be read.
    """

    metadata: str | None
    shapes: Mapping[str, tuple[int, ...]]
    array_bytes: int = 0

    @abstractmethod
    def read(self, name: str, first: int, end: int) -> NDArray[np.floating]:
        """Rows ``first`` … ``end`` - 1 of a tensor of any kind of float."""


class SafetensorsReader(TensorReader):
    """Reads no more of a tensor than asked for."""

    def __init__(self, path: Path) -> None:
        try:
            file, slices = _slices(path, "numpy")
            odd = [part.get_dtype() for part in slices.values() if part.get_dtype() not in _REAL]
            if odd:
                raise VidtwinError(f"{path}: holds numbers of type {odd[0]}", f"latents are of {', '.join(_REAL)}")
            if any(part.get_dtype() == "BF16" for part in slices.values()):
                file, slices = _slices(path, "pt")  # numpy has no bfloat16, torch does
        except SafetensorError as error:
            raise VidtwinError(f"{path}: is not a sound safetensors file ({error})") from error
        except OSError as error:
            raise explain_os_error(error, path) from error
        self._slices = slices
        self.metadata = (file.metadata() or {}).get(METADATA)
        self.shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}

    def read(self, name: str, first: int, end: int) -> NDArray[np.floating]:
        part = self._slices[name][first:end]
        found: NDArray[np.floating] = part if isinstance(part, np.ndarray) else part.float().numpy()
        return found


def _slices(path: Path, framework: str) -> tuple[Any, dict[str, Any]]:
    """The open file, and what reads a part of each of its tensors."""
    file: Any = safe_open(path, framework=framework)
    return file, {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118


class NpzReader(TensorReader):
    """Reads whole arrays, when they are first wanted, and keeps them; sizes are known before."""

    def __init__(self, path: Path) -> None:
        self._path, self._arrays = path, dict[str, NDArray[Any]]()
        self.metadata = None
        with self._explained(), zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            if len(members) > MAX_MEMBERS:
                raise ValueError(f"{len(members)} arrays")
            size = path.stat().st_size
            total = self.array_bytes = sum(info.file_size for info in archive.infolist())
            if total > max(SMALL_BYTES, MAX_RATIO * size):
                raise VidtwinError(
                    f"{path}: unpacks to {total} bytes, suspiciously many for its size",
                    "save it uncompressed (np.savez)",
                )
            names = {member.removesuffix(".npy"): member for member in members if member.endswith(".npy")}
            headers = {name: self._header(archive, member) for name, member in names.items()}
            if METADATA in headers:
                shape, dtype = headers.pop(METADATA)
                if shape or dtype.kind != "U":
                    raise ValueError("its metadata are no text")
                if dtype.itemsize > min(MAX_METADATA, max(SMALL_METADATA, size)):
                    raise ValueError("its metadata are too long for a file of its size")
                self.metadata = str(self._load(METADATA))
            self.shapes = {name: shape for name, (shape, _) in headers.items()}
            self._dtypes = {name: dtype for name, (_, dtype) in headers.items()}

    def read(self, name: str, first: int, end: int) -> NDArray[np.floating]:
        if name not in self._arrays:
            if self._dtypes[name].kind not in "fiu":
                raise VidtwinError(f"{self._path}: {name} holds {self._dtypes[name]}, not real numbers")
            with self._explained():
                self._arrays[name] = self._load(name)
        return self._arrays[name][first:end]

    def _load(self, name: str) -> NDArray[Any]:
        # pickled objects are refused: they could run code
        with warnings.catch_warnings(action="ignore"), np.load(self._path, allow_pickle=False) as archive:
            found: NDArray[Any] = archive[name]
            return found

    def _header(self, archive: zipfile.ZipFile, member: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of an array, after checking that it has the bytes for them."""
        info = archive.getinfo(member)
        # numpy warns of headers that Python 2 wrote, and reads them
        with archive.open(info) as stream, warnings.catch_warnings(action="ignore"):
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stream)
            if stream.tell() + prod(shape) * dtype.itemsize != info.file_size:
                raise ValueError(f"{member} is not of the size it says")
        return shape, dtype

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except VidtwinError:
            raise
        except OSError as error:
            if error.errno == errno.EINVAL:  # a place before the file's beginning
                raise VidtwinError(f"{self._path}: is not a sound .npz file ({error})") from error
            raise explain_os_error(error, self._path) from error
        except MemoryError as error:
            raise VidtwinError(f"{self._path}: its arrays do not fit the memory of this machine") from error
        except _DAMAGE as error:
            raise VidtwinError(f"{self._path}: is not a sound .npz file ({error})") from error


_KINDS: dict[str, tuple[type[TensorWriter], type[TensorReader]]] = {
    ".safetensors": (SafetensorsWriter, SafetensorsReader),
    ".npz": (NpzWriter, NpzReader),
}


def check_suffix(path: Path) -> str:
    """The suffix, if it is one of `SUFFIXES`.

    Raises:
        VidtwinError: it is another.
    """
    suffix = path.suffix.lower()
    if suffix not in _KINDS:
        raise VidtwinError(f"{path}: latents are kept in {' or '.join(SUFFIXES)} files", "choose a name that ends so")
    return suffix


def tensor_writer(suffix: str, path: Path, metadata: str, shapes: Shapes) -> TensorWriter:
    """A writer of the kind that ``suffix`` names."""
    return _KINDS[suffix][0](path, metadata, shapes)


def open_tensors(path: Path) -> TensorReader:
    """A reader by the file's suffix.

    Raises:
        VidtwinError: another suffix, or the file cannot be read.
    """
    reader: Any = _KINDS[check_suffix(path)][1]
    if path.exists() and not path.is_file():
        raise VidtwinError(f"{path}: not a regular file")  # a device may never end
    opened: TensorReader = reader(path)
    return opened
