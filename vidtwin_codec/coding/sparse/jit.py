"""The compiler of the sparse coder's inner loops: numba where it works, plain Python with the same results elsewhere.

Kernels take only one-dimensional arrays of whole numbers. Compiled code gets numpy arrays; plain Python gets
memoryviews of them, whose elements are Python integers, so that no overflow can differ.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vidtwin_codec.files import user_cache

Kernel = Callable[..., Any]


def _load_numba() -> Any:
    if os.environ.get("VIDTWIN_NO_NUMBA"):
        return None
    try:
        import numba
    except Exception:  # an installation that cannot run here (no LLVM, wrong numpy) fails in many ways
        return None
    return numba


def _cache_folder() -> str | None:
    """Return a folder for compiled kernels, or None where there is no place for one.

    It is named by a digest of their source, so that no stale kernel is ever loaded.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    folder = user_cache() / "kernels" / digest.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return str(folder) if os.access(folder, os.W_OK) else None


_NUMBA = _load_numba()
_FOLDER = None if _NUMBA is None else _cache_folder()
COMPILED = _NUMBA is not None


def must_compile() -> bool:
    """Return whether the first use will compile the kernels: fifteen seconds, once for each version on a machine."""
    return COMPILED and (_FOLDER is None or not any(Path(_FOLDER).rglob("*.nbi")))


def kernel(function: Kernel) -> Kernel:
    """Compile a function that only other kernels call."""
    return _compile(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def entry(function: Kernel) -> Kernel:
    """Compile a function on its first call, and keep the result in the user's cache folder."""
    return _compile(function, no_cfunc_wrapper=True)


_ARRAYS = {
    "int8": ("own", "before"),
    "uint8": ("buffer",),
    "int32": (
        "table",
        "fixed",
        "states",
        "weights",
        "targets",
        "values",
        "means",
        "source",
        "symbols",
        "scales",
        "trend",
        "ends",
        "some_before",
    ),
    "int64": ("sizes", "work", "register", "sums", "off", "guesses", "best"),
}


def _signature(function: Kernel) -> str:
    """Return the types of a kernel's arguments by their names; what is not an array is a whole number."""
    types = {name: f"{kind}[::1]" for kind, names in _ARRAYS.items() for name in names}
    code = function.__code__
    given = (types.get(name, "int64") for name in code.co_varnames[: code.co_argcount])
    result = "void" if function.__annotations__["return"] == "None" else "int64"
    return f"{result}({', '.join(given)})"


def _compile(function: Kernel, **options: bool) -> Kernel:
    """Compile a function that takes no reference to the arrays it is given and makes none.

    Without ``_nrt=False`` numba counts references to every array in every call, atomically: two thirds of all the time.
    """
    if _NUMBA is None:
        return function
    before = _NUMBA.config.CACHE_DIR
    try:
        if _FOLDER is not None:
            _NUMBA.config.CACHE_DIR = _FOLDER
        compiled: Kernel = _NUMBA.njit(
            _signature(function),
            cache=_FOLDER is not None,
            nogil=True,
            error_model="numpy",
            _nrt=False,
            **options,
        )(function)
    finally:
        _NUMBA.config.CACHE_DIR = before
    return compiled


def view(array: NDArray[Any]) -> Any:
    """Return the view of a contiguous one-dimensional array that kernels read and write."""
    return array if COMPILED else memoryview(array)  # type: ignore[arg-type]
