"""Outputs that appear under their real name only when they are complete, and the user's cache folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.temporaries import TemporaryFile, locked_folder

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv"}
    | {".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
"""Suffixes of the files in a folder that are taken for videos."""
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
"""Error numbers that mean a full disk, or a user's exhausted quota."""


def user_cache() -> Path:
    """Return the folder for files that can be made again: ``$VIDTWIN_CACHE``, or ``vidtwin`` in the user's cache."""
    own = os.environ.get("VIDTWIN_CACHE")
    if own:
        return Path(own)
    from platformdirs import user_cache_path  # imported only here: most commands' help needs no cache

    return user_cache_path("vidtwin", appauthor=False, opinion=False)


def is_pipe(name: str | os.PathLike[str]) -> bool:
    """Return whether ``name`` stands for standard input or output."""
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
    try:
        _check_output(Path(destination), source, force=force)
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise explain_os_error(error, destination) from error


def _check_output(path: Path, source: str | os.PathLike[str] | None, *, force: bool) -> None:
    if path.is_dir():
        raise VidtwinError(f"{path}: is a directory", "name a file to write")
    if source is not None and not is_pipe(source) and _same_file(path, Path(source)):
        raise VidtwinError(f"{path}: output and input are the same file", "choose another output name")
    if not path.parent.is_dir():
        raise VidtwinError(f"{path.parent}: no such folder", "create it first, or choose another output")
    if path.is_file() and not is_written_to(path) and not force:
        raise VidtwinError(f"{path}: already exists", "pass --force to replace it")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise VidtwinError(f"{path.parent}: no permission to write here", "choose another output folder")


_finished: deque[str] = deque(maxlen=8)
_placing: dict[str, tuple[Path, os.stat_result]] = {}
"""Outputs that are about to get their names, and the files that get them: a signal may come as soon as they have."""
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_LINKS = 40  # as many as Linux follows


def finished_outputs() -> list[str]:
    """Return the last outputs that this process has completed, of those that the user named."""
    placed = [name for name, (target, file) in list(_placing.items()) if _is_there(target, file)]
    return list(_finished) + [name for name in placed if name not in _finished]


def _is_there(target: Path, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(target.stat(), file)
    except OSError:
        return False


@contextlib.contextmanager
def atomic_path(
    destination: str | os.PathLike[str], suffix: str | None = None, *, force: bool | None = None
) -> Iterator[Path]:
    """Give a temporary path beside ``destination``; rename it there on success, delete it on error.

    The temporary keeps the suffix, unless another is given (ffmpeg chooses its container by it). For ``-`` the
    finished file is copied to standard output.

    A device or a named pipe is written to when the file is complete, as are ``/dev/stdout`` and its like. An error
    from within that names the temporary names the destination instead.

    Args:
        destination: the file to write.
        suffix: suffix of the temporary.
        force: whether to replace an output that has appeared there meanwhile, if the user named it. None stands for a
            file of our own, which is replaced.

    Raises:
        VidtwinError: the disk is full, the folder cannot be written, or the output exists and is not to be replaced.
    """
    stream = is_written_to(destination)
    # through links, as any program that opens a file for writing
    target = Path(destination if stream else os.path.realpath(destination))
    shown = "standard output" if is_pipe(destination) else os.fspath(destination)
    folder = Path(tempfile.gettempdir()) if stream else target.parent
    try:
        temporary = TemporaryFile(folder, suffix or Path(destination).suffix, private=stream)
    except OSError as error:
        raise explain_os_error(error, folder) from error
    with contextlib.closing(temporary):
        try:
            yield temporary.path
            if is_pipe(destination):
                _copy(temporary.path, _standard_output())
            elif stream:
                with _open_stream(target) as device:
                    _copy(temporary.path, device)
            else:
                if force is not None:
                    _placing[os.fspath(destination)] = target, temporary.path.stat()
                _place(temporary, target, force=force)
        except OSError as error:
            raise explain_os_error(error, shown) from error
        except VidtwinError as error:
            raise renamed(error, temporary.path, shown) from error
    if force is not None:
        _finished.append(os.fspath(destination))
        _placing.pop(os.fspath(destination), None)


def _place(temporary: TemporaryFile, target: Path, *, force: bool | None) -> None:
    try:
        temporary.place(target, replace=force is not False)
    except FileExistsError as error:
        raise VidtwinError(
            f"{target}: already exists: another program has written it meanwhile", "pass --force to replace it"
        ) from error


@contextlib.contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """Give a new folder for this process alone; it is removed at the end with all that is in it.

    Args:
        parent: the folder in which it is made, under a hidden name; None for the system's temporary folder.

    Raises:
        VidtwinError: the folder cannot be made there.
    """
    with contextlib.ExitStack() as stack:
        place: str | os.PathLike[str] = parent or "the temporary folder"
        try:
            place = parent or tempfile.gettempdir()
            folder = stack.enter_context(locked_folder(Path(place), hidden=parent is not None))
        except OSError as error:
            raise explain_os_error(error, place) from error
        yield folder


def renamed(error: VidtwinError, hidden: Path, shown: str) -> VidtwinError:
    """Return an error with the name that the user knows in place of one that only the program knows."""
    return VidtwinError(error.message.replace(os.fspath(hidden), shown).replace(hidden.name, shown), error.hint)


def files_in(name: str, suffixes: Collection[str], nothing: str) -> list[str]:
    """List the files of a folder with one of these suffixes, at any depth, sorted; a file stands for itself.

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


def file_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal; errors of the file system pass through."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def explain_os_error(error: OSError, path: str | os.PathLike[str]) -> VidtwinError:
    """Turn an operating system's refusal into one line that names the file."""
    if error.errno in FULL:
        return VidtwinError(f"{os.fspath(path)}: the disk is full", "free some space and run the command again")
    if error.errno == errno.EPIPE:
        return VidtwinError("standard output was closed before everything was written")
    if error.errno == errno.ENAMETOOLONG:
        return VidtwinError(f"{os.fspath(path)}: the name is too long", "choose a shorter one")
    if error.errno == errno.EBADF:
        return VidtwinError(f"{os.fspath(path)} is closed")
    return VidtwinError(f"{os.fspath(path)}: {error.strerror or error}")


def standard_input() -> BinaryIO:
    """Return standard input as a binary stream.

    Raises:
        VidtwinError: the shell has closed standard input.
    """
    if sys.stdin is None:
        raise explain_os_error(OSError(errno.EBADF, ""), "standard input")
    return sys.stdin.buffer


def open_input(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file or a named pipe for reading.

    Raises:
        VidtwinError: the operating system refuses.
    """
    try:
        return open(path, "rb")
    except OSError as error:
        raise explain_os_error(error, path) from error


def _same_file(a: Path, b: Path) -> bool:
    return a.exists() and b.exists() and a.samefile(b)


def _standard_output() -> BinaryIO:
    if sys.stdout is None:  # `>&-` in a shell
        raise VidtwinError("standard output is closed", "name a file to write")
    return sys.stdout.buffer


def _descriptor(path: str | os.PathLike[str]) -> int | None:
    """Return the open file that ``/dev/stdout``, ``/dev/fd/3`` or ``/proc/self/fd/3``, or a link to one, stands for."""
    for _ in range(_LINKS):
        name = os.path.abspath(path)
        if name in _STANDARD:
            return _STANDARD[name]
        folder, last = os.path.split(name)
        if folder in ("/dev/fd", "/proc/self/fd", f"/proc/{os.getpid()}/fd") and last.isdecimal():
            return int(last)
        if not os.path.islink(name):
            return None
        path = os.path.join(folder, os.readlink(name))
    return None


def is_written_to(path: str | os.PathLike[str]) -> bool:
    """Return whether an output is written to and never replaced: standard output, a device, a named pipe."""
    if is_pipe(path) or _descriptor(path) is not None:
        return True
    return os.path.exists(path) and not os.path.isfile(path)


@contextlib.contextmanager
def open_stream(destination: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open an output that is written to and never replaced (see :func:`is_written_to`), without a buffer.

    Raises:
        VidtwinError: it is closed, full or not there; also for what fails within as an OSError.
    """
    shown = "standard output" if is_pipe(destination) else os.fspath(destination)
    try:
        if is_pipe(destination):
            with _unbuffered(_standard_output()) as stream:
                yield stream
        else:
            number = _descriptor(destination)
            with open(destination if number is None else os.dup(number), "wb", buffering=0) as stream:
                yield stream
    except OSError as error:
        raise explain_os_error(error, shown) from error
    _finished.append(os.fspath(destination))


def _unbuffered(stream: BinaryIO) -> BinaryIO:
    """The file below a stream, opened once more; the stream itself where there is none, as in tests."""
    stream.flush()
    try:
        return os.fdopen(os.dup(stream.fileno()), "wb", buffering=0)
    except io.UnsupportedOperation:
        return contextlib.nullcontext(stream)  # type: ignore[return-value]


def _open_stream(path: Path) -> BinaryIO:
    number = _descriptor(path)
    # The open file itself, and the place in it: opened by name, what a shell redirects to would be cut to nothing.
    return path.open("wb") if number is None else os.fdopen(os.dup(number), "wb")


def _copy(path: Path, target: BinaryIO) -> None:
    with path.open("rb") as stream:
        shutil.copyfileobj(stream, target, 1 << 20)
    target.flush()
