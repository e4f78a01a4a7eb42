"""The store of weights, which finds the file that a name, a digest or a path means.

There are two places: the folder that ships with the program, and the user's cache, where imported and fetched weights
are kept as ``<name>-<first 12 digits of the SHA-256>.safetensors``. A later import under the same name takes the name
over. The earlier file is still found by its digest, so what was encoded with it still decodes.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import atomic_path, explain_os_error, file_sha256, user_cache
from vidtwin_codec.weights.hub import FETCHABLE
from vidtwin_codec.weights.metadata import WeightsMetadata, read_metadata

DEFAULT_NAME = "mini"
_EMBEDDED_PREFIX = "vidtwin-"
_CACHED = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)-(?P<digest>[0-9a-f]{12})\.safetensors")
_LEAST_DIGITS = 8


@dataclass(frozen=True)
class Entry:
    """Weights on this machine that are ready to use.

    Attributes:
        name: name of the weights for the user.
        path: the ``.safetensors`` file.
        sha256: SHA-256 of the whole file in hexadecimal.
        metadata: metadata of the file.
        embedded: whether the weights ship with the program.
    """

    name: str
    path: Path
    sha256: str
    metadata: WeightsMetadata
    embedded: bool = False

    @property
    def origin(self) -> str:
        """Origin of the weights in words."""
        return self.metadata.origin

    @property
    def description(self) -> str:
        """Description of the weights in a few words; may be empty."""
        return self.metadata.description

    def can_decode(self, sha256: str) -> bool:
        """Whether these weights decode what weights of that SHA-256 encoded: they are the same, or their encoders are.

        The picture may differ, as it does with every better decoder.
        """
        return self.sha256 == sha256 or sha256 in self.metadata.decodes


@dataclass(frozen=True)
class Verdict:
    """The result of verifying a weights file.

    Attributes:
        name: name of the weights.
        path: the file.
        sha256: SHA-256 of the file in hexadecimal; None if it cannot be read.
        problem: what is wrong with the file; None if nothing is.
    """

    name: str
    path: Path
    sha256: str | None
    problem: str | None


def cache_folder() -> Path:
    """Return the folder of imported weights, ``weights`` in the user's cache of this program."""
    return user_cache() / "weights"


def resolve(spec: str | os.PathLike[str] | None = None) -> Entry:
    """Find the weights that ``spec`` means.

    Args:
        spec: a name (``mini``, ``base`` or the user's own), eight or more digits of a SHA-256, or a path to a file in
            this project's format; None for the default. A name takes precedence over a path of the same spelling.

    Raises:
        VidtwinError: there are no such weights, or the file cannot be used; the hint says what to do.
    """
    text = DEFAULT_NAME if spec is None else os.fspath(spec)
    for path in _files():
        if _name_of(path) == text:
            return _entry(path)
    if re.fullmatch(rf"[0-9a-fA-F]{{{_LEAST_DIGITS},64}}", text):
        found = find_by_digest(text)
        if found is not None:
            return found
    path = Path(text)
    if path.suffix or len(path.parts) > 1 or path.exists():
        if path.is_file() and path.suffix != ".safetensors":
            raise VidtwinError(
                f"{path}: is not in vidtwin's own format",
                f"make a checkpoint usable with: vidtwin weights import {shlex.quote(text)}",
            )
        return _entry(path)
    raise unknown_name(text)


def unknown_name(text: str) -> VidtwinError:
    """Make the error for an unknown name, which lists the known ones."""
    known = ", ".join(dict.fromkeys(_name_of(path) for path in _files())) or "none"
    if text in FETCHABLE:
        return VidtwinError(f"the weights {text!r} are not on this machine", f"get them: vidtwin weights fetch {text}")
    return VidtwinError(
        f"no weights are called {text!r} (here: {known})",
        "import a checkpoint with: vidtwin weights import FILE, or: vidtwin weights fetch base",
    )


def find_by_digest(sha256: str) -> Entry | None:
    """Find the weights whose SHA-256 is, or begins with, ``sha256``; None if they are not here.

    Raises:
        VidtwinError: several files match a short digest.
    """
    wanted = sha256.lower()
    matches: dict[str, Path] = {}
    for path in _files():
        cached = _CACHED.fullmatch(path.name)
        # the names of cached files rule out most of them without reading
        if cached and not (wanted.startswith(cached["digest"]) or cached["digest"].startswith(wanted[:12])):
            continue
        digest = file_digest(path)
        if digest.startswith(wanted):
            matches.setdefault(digest, path)
    if len(matches) > 1:
        raise VidtwinError(f"several weights have a digest that begins with {sha256}", "give more digits")
    return _entry(next(iter(matches.values()))) if matches else None


def find_decoder(sha256: str) -> Entry | None:
    """Find the weights of this SHA-256, or others that decode what they encoded; None if there are none here."""
    exact = find_by_digest(sha256)
    return exact or next((entry for entry in list_entries() if entry.can_decode(sha256)), None)


def share_latents(one: str, other: str) -> bool:
    """Return whether latents that weights of these two SHA-256 made mean the same: some weights here decode both."""
    return one == other or any(entry.can_decode(one) and entry.can_decode(other) for entry in list_entries())


def whole_name(spec: str | None) -> str | None:
    """Make a path in ``spec`` absolute, for a process in another folder; names stay as they are."""
    if spec is None or any(_name_of(path) == spec for path in _files()) or not Path(spec).is_file():
        return spec
    return os.path.abspath(spec)


def same_weights(entry: Entry) -> Entry:
    """Find the weights of another machine's ``entry`` on this one, at the same path or by their digest.

    Raises:
        VidtwinError: they are not here, or have another name here, which would be written to files.
    """
    found = _entry(entry.path) if entry.path.is_file() else None
    if found is None or found.sha256 != entry.sha256:
        found = find_by_digest(entry.sha256)
    if found is None:
        raise VidtwinError(
            f"the weights {entry.name} (SHA-256 {entry.sha256[:12]}…) are not on this machine",
            "put the file where all machines see it, and name it with --weights",
        )
    if found.name != entry.name:
        raise VidtwinError(
            f"the weights {entry.name} are called {found.name} on this machine", "name a file that both see"
        )
    return found


def list_entries() -> list[Entry]:
    """List all usable weights on this machine: the embedded ones, then the imported ones, newest first."""
    entries = []
    for path in _files():
        try:
            entries.append(_entry(path))
        except VidtwinError:
            continue  # a damaged file must not hide the others; `verify` reports it
    return entries


def verify(spec: str | None = None) -> list[Verdict]:
    """Read and hash weights again: all that are here, or those of one name, digest or path.

    Raises:
        VidtwinError: there are no such weights.
    """
    paths = list(_files())
    if spec is not None:
        named = [path for path in paths if _name_of(path) == spec]
        paths = named or [resolve(spec).path]
    return [_verdict(path) for path in paths]


def _verdict(path: Path) -> Verdict:
    name = _name_of(path)
    digest: str | None = None
    try:
        digest = _hash(path)
        read_metadata(path)
        expected = _recorded_digest(path)
    except VidtwinError as error:
        return Verdict(name, path, digest, error.message)
    if expected is not None and not digest.startswith(expected):
        return Verdict(name, path, digest, f"{path}: its SHA-256 is {digest}, but {expected}… was recorded")
    return Verdict(name, path, digest, None)


def embedded_folder() -> Path | None:
    """Find the folder of the weights that ship with the program, in the wheel or beside the package in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_weights", package.parent / "weights"):
        if any(folder.glob(f"{_EMBEDDED_PREFIX}*.safetensors")):
            return folder
    return None


def _files() -> list[Path]:
    folder = embedded_folder()
    embedded = sorted(folder.glob(f"{_EMBEDDED_PREFIX}*.safetensors")) if folder else []
    embedded.sort(key=lambda path: _name_of(path) != DEFAULT_NAME)  # the default first
    try:
        cached = [path for path in cache_folder().iterdir() if _CACHED.fullmatch(path.name)]
        cached.sort(key=lambda path: (-path.stat().st_mtime_ns, path.name))
    except FileNotFoundError:
        cached = []
    except OSError as error:
        raise explain_os_error(error, cache_folder()) from error
    return [*embedded, *cached]


def _name_of(path: Path) -> str:
    cached = _CACHED.fullmatch(path.name)
    if cached and path.parent == cache_folder():
        return cached["name"]
    return path.stem.removeprefix(_EMBEDDED_PREFIX)


def _entry(path: Path) -> Entry:
    metadata = read_metadata(path)
    if metadata.steps_json is None:
        raise VidtwinError(f"{path}: has no quantisation steps yet", "calibrate them: vidtwin weights import FILE")
    embedded = path.parent == embedded_folder()
    kept = embedded or path.parent == cache_folder()
    return Entry(_name_of(path) if kept else metadata.name, path, file_digest(path), metadata, embedded)


def file_digest(path: Path) -> str:
    """Compute the SHA-256 of a weights file.

    For a file in the cache it is read from the record beside it, unless the file is newer than that.

    Raises:
        VidtwinError: the file cannot be read, or has changed since it was stored.
    """
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _digest(path: Path, _size: int, modified: int) -> str:
    record = record_path(path)
    expected = _recorded_digest(path)
    try:
        if expected and len(expected) == 64 and path.parent == cache_folder() and record.stat().st_mtime_ns >= modified:
            return expected
    except FileNotFoundError:
        pass
    digest = _hash(path)
    if expected is not None and not digest.startswith(expected):
        raise VidtwinError(
            f"{path}: its SHA-256 is {digest[:12]}…, but {expected[:12]}… was recorded: the file has changed",
            "delete it and import or install the weights again",
        )
    return digest


def record_path(path: Path) -> Path:
    """Path of the file beside a weights file that holds its digest, in the format of ``sha256sum``."""
    return path.with_name(path.name + ".sha256")


def write_record(path: Path, digest: str) -> None:
    """Write the digest of a weights file to the record beside it."""
    with atomic_path(record_path(path)) as temporary:
        temporary.write_text(f"{digest}  {path.name}\n", encoding="utf-8")


def _recorded_digest(path: Path) -> str | None:
    """Find the recorded digest of a weights file, or its first twelve digits; None if there is no record."""
    try:
        record = record_path(path).read_text(encoding="utf-8", errors="replace")[:64]
        if re.fullmatch(r"[0-9a-f]{64}", record):
            return record
    except FileNotFoundError:
        pass
    except OSError as error:
        raise explain_os_error(error, record_path(path)) from error
    cached = _CACHED.fullmatch(path.name)
    return cached["digest"] if cached and path.parent == cache_folder() else None


def _hash(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise explain_os_error(error, path) from error
