"""Temporary files and folders; what a killed process has left is removed by a later run.

A process can be killed in a way that it cannot answer (SIGKILL, no memory left). So each temporary is locked while
its owner lives: the system frees the lock however the owner ends. The name tells the machine, because locks on a shared
disk may not reach beyond it. What is of this machine, of this user and not locked has no owner any more.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_LOCK = ".owner"
"""Name of the locked file in a temporary folder."""
_LONGEST_SUFFIX = 32
_NO_LINKS = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
_mark = ""
_cleared: set[str] = set()


def mark_temporaries(mark: str) -> None:
    """From now on put ``mark`` into the names of this process's temporary files, for :func:`remove_marked`."""
    global _mark  # noqa: PLW0603
    _mark = f"{mark}-" if mark else ""


def remove_marked(folder: Path, mark: str) -> None:
    """Remove the temporary files that a process of that mark, which was killed, has left in a folder."""
    for path in folder.glob(f".vidtwin-{mark}-*"):
        with contextlib.suppress(OSError):  # gone already, or its disk is: no more than untidy
            path.unlink()


class TemporaryFile:
    """A new empty file, locked for this process. Others write to it by its path.

    Args:
        folder: where it is made.
        suffix: of its name.
        private: readable by this user alone; if not, it has the permissions that any new file would have.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, suffix: str = "", *, private: bool = False) -> None:
        clear(folder)
        suffix = suffix if len(suffix) <= _LONGEST_SUFFIX else ""
        while True:
            self.path = folder / f".vidtwin-{_mark}{_machine()}-{secrets.token_hex(6)}{suffix}"
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
            if _own(self._handle, self.path):
                return
            self._release()

    def place(self, target: Path, *, replace: bool) -> None:
        """Give the file its real name.

        Args:
            target: that name, in the same folder.
            replace: a file that has this name already.

        Raises:
            FileExistsError: there is one, and ``replace`` is not set.
            OSError: the folder cannot be written.
        """
        if sys.platform == "win32":
            self._release()  # open files cannot be renamed there
            (os.replace if replace else os.rename)(self.path, target)
        elif replace:
            os.replace(self.path, target)
        else:
            _link(self.path, target)

    def close(self) -> None:
        """Remove the file, unless it has been placed."""
        if sys.platform == "win32":
            self._release()
        self.path.unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


@contextlib.contextmanager
def locked_folder(parent: Path, *, hidden: bool) -> Iterator[Path]:
    """Give a new folder, locked for this process, and remove it at the end with all that is in it.

    Args:
        parent: where it is made.
        hidden: whether its name begins with a dot.

    Raises:
        OSError: it cannot be made there.
    """
    prefix = f"{'.' if hidden else ''}vidtwin-{_machine()}-"
    clear(parent)
    with contextlib.ExitStack() as stack:
        while True:
            made = tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(made))
            handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            stack.callback(os.close, handle)
            if _own(handle, folder / _LOCK):
                break
        yield folder


def clear(folder: Path) -> None:
    """Remove what killed processes of this user and machine have left in a folder. Looks once a process."""
    name = os.path.abspath(folder)
    if name in _cleared:
        return
    _cleared.add(name)
    ours = re.compile(rf"\.?vidtwin-(?:[0-9a-z]+-)?{_machine()}-")
    with contextlib.suppress(OSError):  # tidying must not keep anyone from working
        for entry in [entry for entry in os.scandir(name) if ours.match(entry.name)]:
            with contextlib.suppress(OSError):
                _remove_if_orphaned(entry)


def _remove_if_orphaned(entry: os.DirEntry[str]) -> None:
    whole = entry.is_dir(follow_symlinks=False)
    if entry.is_symlink() or (sys.platform != "win32" and entry.stat(follow_symlinks=False).st_uid != os.geteuid()):
        return
    path = Path(entry.path)
    lock = path / _LOCK if whole else path
    handle = None if sys.platform == "win32" else os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    try:
        if handle is None:
            lock.unlink()  # fails there while its owner has it open
        elif _try_lock(handle) is not True or not _is(handle, lock):
            return
        if whole:
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    finally:
        if handle is not None:
            os.close(handle)


@functools.cache
def _machine() -> str:
    return hashlib.sha256(platform.node().encode("utf-8", "replace")).hexdigest()[:8]


def _own(handle: int, path: Path) -> bool:
    """Lock a file just made; False when another process, which took it for an orphan, was faster."""
    return _try_lock(handle) is not False and _is(handle, path)


def _try_lock(handle: int) -> bool | None:
    """Lock an open file; False: another holds the lock; None: files cannot be locked here."""
    if sys.platform == "win32":
        return None  # an open file cannot be removed there, which is lock enough
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is(handle: int, path: Path) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _link(path: Path, target: Path) -> None:
    """Rename a file to a name that must be free."""
    try:
        os.link(path, target, follow_symlinks=False)
    except FileExistsError:
        if not os.path.samefile(path, target):  # over a network a request may be answered the second time
            raise
    except (PermissionError, NotImplementedError):
        _claim(path, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _claim(path, target)


def _claim(path: Path, target: Path) -> None:
    """Do without links, on disks that have none: an empty file takes the name first, for a moment."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        os.replace(path, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
