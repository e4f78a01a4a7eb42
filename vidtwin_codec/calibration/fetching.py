"""Weights from the Hugging Face hub, through ``huggingface_hub`` (an optional extra)."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from vidtwin_codec.calibration.importing import ImportOptions, ImportResult, import_checkpoint, name_from
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error
from vidtwin_codec.reporter import Reporter
from vidtwin_codec.weights import store
from vidtwin_codec.weights.hub import FETCHABLE, SHARED_FILE, Remote, without_bars
from vidtwin_codec.weights.pushing import REPOSITORY

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata


def fetch(name: str = "base", *, device: str = "auto", reporter: Reporter | None = None) -> ImportResult:
    """Download a checkpoint, check it against the digest that the hub states, and import it.

    An interrupted download continues where it stopped when the command is run again. ``HF_ENDPOINT`` chooses another
    server, as for every program that uses the hub's library.

    Args:
        name: one of :data:`~vidtwin_codec.weights.hub.FETCHABLE`, or a repository, ``user/repo``, that ``vidtwin
            weights push`` has written. Its weights are kept byte for byte, under the repository's name.
        device: where to calibrate, see :class:`~vidtwin_codec.calibration.importing.ImportOptions`.
        reporter: receives progress.

    Raises:
        VidtwinError: the name is unknown, huggingface_hub is not installed, the hub cannot be reached, or the file
            differs from what the hub states.
    """
    remote = FETCHABLE.get(name)
    shared = remote is None and REPOSITORY.fullmatch(name) is not None
    if shared:
        remote = Remote(name, SHARED_FILE, "", "")
    if remote is None:
        known = ", ".join(FETCHABLE)
        raise VidtwinError(
            f"{name!r} cannot be fetched (known: {known})",
            "a repository of the hub is written user/repo; vidtwin weights list shows what is here",
        )
    reporter = reporter or Reporter()
    checkpoint = download(remote, reporter)
    options = ImportOptions(name=name, origin=remote.origin, description=remote.description, device=device)
    if shared:  # nothing is added to what its owner says about it
        options = ImportOptions(name=name_from(name.split("/")[1]))
    try:
        result = import_checkpoint(checkpoint, options, reporter=reporter)
    finally:
        shutil.rmtree(checkpoint.parent, ignore_errors=True)
    return result


def download(remote: Remote, reporter: Reporter) -> Path:
    """Download and verify a remote file, to a folder of its own below the cache, which the caller deletes.

    Args:
        remote: the file.
        reporter: receives progress, in bytes.

    Raises:
        VidtwinError: see :func:`fetch`.
    """
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise VidtwinError(
            "fetching weights needs the package huggingface_hub, which is not installed",
            'install it: pip install "vidtwin-codec[hub]", or download '
            f"https://huggingface.co/{remote.repository}/resolve/main/{remote.file} and: vidtwin weights import FILE",
        ) from error
    where = f"{remote.repository}/{remote.file}"
    try:
        stated = get_hf_file_metadata(hf_hub_url(remote.repository, remote.file))
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "?"
        raise VidtwinError(f"{where}: the hub answers {status}", "try again later, or import a local copy") from error
    except Exception as error:  # the library changes its HTTP client between versions, and its exceptions with it
        raise _unreachable(where, error) from error
    digest = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
    if stated.etag is None or stated.size is None or stated.size <= 0 or not digest.fullmatch(stated.etag):
        raise VidtwinError(f"{where}: the hub states no digest and size for this file", "check HF_ENDPOINT")
    folder = store.cache_folder().parent / "downloads" / stated.etag
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _download_into(folder, remote, stated, reporter)
    except OSError as error:
        raise explain_os_error(error, folder) from error


def _download_into(folder: Path, remote: Remote, stated: HfFileMetadata, reporter: Reporter) -> Path:
    from filelock import FileLock, Timeout

    target = folder / Path(remote.file).name
    part = target.with_name(target.name + ".part")
    try:
        with FileLock(folder.with_suffix(".lock"), timeout=0):
            _transfer(part, remote, stated, reporter)
            found = _digest(part, stated.etag or "")
            if found != stated.etag:
                part.unlink()  # wrong bytes cannot be continued
                raise VidtwinError(
                    f"{remote.repository}/{remote.file}: what arrived has digest {found}, the hub states {stated.etag}",
                    "run the command again; if it persists, something between here and the hub changes files",
                )
            os.replace(part, target)
    except Timeout as error:
        raise VidtwinError("another vidtwin is downloading the same file", "wait for it to finish") from error
    return target


def _transfer(part: Path, remote: Remote, stated: HfFileMetadata, reporter: Reporter) -> None:
    """Append the missing bytes to ``part``.

    The library's own download functions start over in every process (from version 1.31 on), but 1.3 GB are worth
    keeping. Its ``http_get`` can continue a download, and retries by itself.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get

    size = stated.size or 0
    have = part.stat().st_size if part.exists() else 0
    if have > size:
        part.unlink()
        have = 0
    free = shutil.disk_usage(part.parent).free
    if free < size - have:
        raise VidtwinError(
            f"{part.parent}: {size - have} bytes to download, {free} free", "free some space, or set VIDTWIN_CACHE"
        )
    # the version whose digest was stated, even if the branch has moved on
    url = hf_hub_url(remote.repository, remote.file, revision=stated.commit_hash or "main")
    reporter.stage(f"downloading {remote.repository}/{remote.file}", "byte").started(size - have, "")
    with part.open("ab") as stream, without_bars():
        try:
            http_get(url, cast("BinaryIO", _Bounded(stream, size, reporter)), resume_size=have, expected_size=size)
        except TooLongError as error:
            part.unlink()
            raise VidtwinError(
                f"{remote.repository}/{remote.file}: more than the {size} bytes that the hub states arrive",
                "check HF_ENDPOINT; something between here and the hub changes files",
            ) from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise _unreachable(f"{remote.repository}/{remote.file}", error) from error
        except Exception as error:  # as above: the exceptions are those of the library's HTTP client
            raise _unreachable(f"{remote.repository}/{remote.file}", error) from error


class TooLongError(Exception):
    """More bytes arrive than the hub stated."""


class _Bounded:
    """A file with a largest size, so that a server that never stops sending cannot fill the disk; it counts bytes."""

    def __init__(self, stream: BinaryIO, size: int, reporter: Reporter) -> None:
        self._stream, self._size, self._reporter = stream, size, reporter

    def write(self, data: bytes) -> int:
        """Write to the file, or raise `TooLongError` where it would exceed its largest size."""
        if self._stream.tell() + len(data) > self._size:
            raise TooLongError
        self._reporter.advanced(len(data))
        return self._stream.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _unreachable(where: str, error: Exception) -> VidtwinError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return VidtwinError(
        f"{where}: cannot be downloaded: {lines[0][:200]}",
        "check the connection and run the command again: it continues where it stopped",
    )


def _digest(path: Path, etag: str) -> str:
    """Compute what the hub gives as etag: the SHA-256 of a large file, or git's object name of a small one."""
    git: Any = hashlib.sha256() if len(etag) == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: git).hexdigest()
