"""Outputs that appear under their real name only when they are complete, and the user's cache folder."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from vidtwin_codec.errors import VidtwinError

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv"}
    | {".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
"""Of the files of a folder, those that are taken for videos."""


def user_cache() -> Path:
    """The folder for what can be made again: ``$VIDTWIN_CACHE``, or ``vidtwin`` below the platform's cache folder."""
    own = os.environ.get("VIDTWIN_CACHE")
    if own:
        return Path(own)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "vidtwin"


def is_pipe(name: str | os.PathLike[str]) -> bool:
    """Whether ``name`` stands for standard input or output."""
    return os.fspath(name) == "-"


def check_output(
    destination: str | os.PathLike[str],
    source: str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
) -> None:
    """Refuse an output that cannot or should not be written, before any work is done.

    Raises:
        VidtwinError: the folder is missing or read-only, the output exists and ``force`` is not
            set, it is a directory, or it is the input itself. Devices and named pipes may be written to.
    """
    if is_pipe(destination):
        return
    path = Path(destination)
    if path.is_dir():
        raise VidtwinError(f"{path}: is a directory", "name a file to write")
    if source is not None and not is_pipe(source) and _same_file(path, Path(source)):
        raise VidtwinError(f"{path}: output and input are the same file", "choose another output name")
    if not path.parent.is_dir():
        raise VidtwinError(f"{path.parent}: no such folder", "create it first, or choose another output")
    if path.is_file() and not force:
        raise VidtwinError(f"{path}: already exists", "pass --force to replace it")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise VidtwinError(f"{path.parent}: no permission to write here", "choose another output folder")


_mark = ""


def mark_temporaries(mark: str) -> None:
    """From now on put ``mark`` into the names of this process's temporary files, for :func:`remove_marked`."""
    global _mark  # noqa: PLW0603
    _mark = f"{mark}-" if mark else ""


def remove_marked(folder: Path, mark: str) -> None:
    """Remove the temporary files that a process of that mark, which was killed, has left in a folder."""
    for path in folder.glob(f".vidtwin-{mark}-*"):
        with contextlib.suppress(OSError):  # gone already, or its disk is: no more than untidy
            path.unlink()


@contextlib.contextmanager
def atomic_path(destination: str | os.PathLike[str], suffix: str | None = None) -> Iterator[Path]:
    """Give a temporary path beside ``destination``; rename it there on success, delete it on error.

    The temporary keeps the suffix, unless another is given (ffmpeg chooses its container by it). For ``-`` the
    finished file is copied to standard output.

    A device or a named pipe is written to when the file is complete.

    Raises:
        VidtwinError: the disk is full or the folder cannot be written.
    """
    # through links, as any program that opens a file for writing
    target = Path("standard output") if is_pipe(destination) else Path(os.path.realpath(destination))
    # a device or a named pipe is written to, never replaced
    stream = is_pipe(destination) or (target.exists() and not target.is_file())
    folder = tempfile.gettempdir() if stream else target.parent
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".vidtwin-{_mark}", suffix=suffix or Path(destination).suffix, dir=folder
        )
    except OSError as error:
        raise explain_os_error(error, folder) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if is_pipe(destination):
            _copy(temporary, sys.stdout.buffer)
        elif stream:
            with target.open("wb") as device:
                _copy(temporary, device)
        else:
            # mkstemp makes files private; an output has the permissions any new file would have
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, target)
    except OSError as error:
        raise explain_os_error(error, target) from error
    finally:
        temporary.unlink(missing_ok=True)


def files_in(name: str, suffixes: Collection[str], nothing: str) -> list[str]:
    """The files of a folder, at any depth and by name, that have one of these suffixes; ``name`` itself if it is none.

    Raises:
        VidtwinError: the folder cannot be read, or has ``nothing`` that fits.
    """
    folder = Path(name)
    if not folder.is_dir():
        return [name]
    try:
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    except OSError as error:
        raise explain_os_error(error, folder) from error
    if not found:
        raise VidtwinError(f"{name}: {nothing}")
    return [str(path) for path in found]


def explain_os_error(error: OSError, path: str | os.PathLike[str]) -> VidtwinError:
    """Turn an operating system's refusal into one line that names the file."""
    if error.errno == errno.ENOSPC:
        return VidtwinError(f"{os.fspath(path)}: the disk is full", "free some space and run the command again")
    if error.errno == errno.EPIPE:
        return VidtwinError("standard output was closed before everything was written")
    return VidtwinError(f"{os.fspath(path)}: {error.strerror or error}")


def _same_file(a: Path, b: Path) -> bool:
    return a.exists() and b.exists() and a.samefile(b)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _copy(path: Path, target: BinaryIO) -> None:
    with path.open("rb") as stream:
        shutil.copyfileobj(stream, target, 1 << 20)
    target.flush()
