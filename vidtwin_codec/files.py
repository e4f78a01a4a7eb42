"""Outputs that appear under their real name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vidtwin_codec.errors import VidtwinError


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
            set, it is a directory, or it is the input itself.
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
    if path.exists() and not force:
        raise VidtwinError(f"{path}: already exists", "pass --force to replace it")
    if not os.access(path.parent, os.W_OK):
        raise VidtwinError(f"{path.parent}: no permission to write here", "choose another output folder")


@contextlib.contextmanager
def atomic_path(destination: str | os.PathLike[str], suffix: str | None = None) -> Iterator[Path]:
    """Give a temporary path beside ``destination``; rename it there on success, delete it on error.

    The temporary keeps the suffix, unless another is given (ffmpeg chooses its container by it). For ``-`` the
    finished file is copied to standard output.

    Raises:
        VidtwinError: the disk is full or the folder cannot be written.
    """
    pipe = is_pipe(destination)
    target = Path("stdout") if pipe else Path(destination)
    folder = tempfile.gettempdir() if pipe else target.parent
    try:
        handle, name = tempfile.mkstemp(prefix=".vidtwin-", suffix=suffix or target.suffix, dir=folder)
    except OSError as error:
        raise VidtwinError(f"{folder}: cannot write here ({error.strerror})") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if pipe:
            _copy_to_stdout(temporary)
        else:
            # mkstemp makes files private; an output has the permissions any new file would have
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, target)
    except OSError as error:
        raise explain_os_error(error, target) from error
    finally:
        temporary.unlink(missing_ok=True)


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


def _copy_to_stdout(path: Path) -> None:
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
