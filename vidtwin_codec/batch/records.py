"""Records of what was made from what: a journal beside the outputs, which tells the next run what is up to date.

Every run appends to a file of its own below ``DST/.vidtwin``, one JSON object a line, so simultaneous runs, on network
file systems too, do not disturb each other. A line is on the disk before its output is renamed into place, and holds
the output's SHA-256. So whatever happens in between, an output counts as made only if it is there and whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vidtwin_codec.batch.options import same_options
from vidtwin_codec.files import explain_os_error, file_sha256
from vidtwin_codec.options import NetworkOptions

FOLDER = ".vidtwin"
_JOURNALS = "journal-*.jsonl"


@dataclass(frozen=True)
class FileStamp:
    """The state of an input: its size in bytes, and its time of modification in nanoseconds."""

    bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """Look at a file as it is now.

        Raises:
            VidtwinError: it is missing or not accessible.
        """
        try:
            status = path.stat()
        except OSError as error:
            raise explain_os_error(error, path) from error
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Record:
    """One output, and everything that decides whether it must be made again.

    Attributes:
        output: path of the output below the destination, with slashes.
        stamp: size and time of modification of the input.
        source_sha256: SHA-256 of the input.
        options: fingerprint of the options.
        weights: SHA-256 of the weights.
        output_bytes: size of the finished output.
        output_sha256: SHA-256 of the finished output.
        row: its line in the report.
        written: time of the record, in seconds since 1970.
    """

    output: str
    stamp: FileStamp
    source_sha256: str
    options: dict[str, Any]
    weights: str
    output_bytes: int
    output_sha256: str
    row: dict[str, Any]
    written: float = dataclasses.field(default_factory=time.time)

    def difference(
        self, source: Path, stamp: FileStamp, options: NetworkOptions, weights: str | None, *, digest: bool
    ) -> str | None:
        """Say in words why the output must be made again; None if it is what these arguments would make.

        Args:
            source: the input.
            stamp: the input's size and time of modification now.
            options: options for the file.
            weights: SHA-256 of the weights; None where the input names them.
            digest: whether to compare the content of the input, not its stamp.
        """
        changed = self.source_sha256 != file_sha256(source) if digest else self.stamp != stamp
        if changed:
            return "the source has changed"
        if not same_options(self.options, options):
            return "made with other options"
        if weights is not None and weights != self.weights:
            return "made with other weights"
        return None

    def is_whole(self, path: Path) -> bool:
        """Whether the output is there, byte for byte."""
        try:
            return path.stat().st_size == self.output_bytes and file_sha256(path) == self.output_sha256
        except OSError:  # missing or unreadable: it is made again, or fails with a reason
            return False

    @classmethod
    def from_line(cls, line: bytes) -> Record | None:
        """Parse a line of a journal; None if it was cut short, or written by another version."""
        try:
            values = json.loads(line)
            return cls(**{**values, "stamp": FileStamp(**values["stamp"])})
        except (ValueError, TypeError, KeyError):
            return None


class Records:
    """The records of all runs on one destination; those of other runs appear with :meth:`refresh`.

    Any thread may call.

    Args:
        destination: the folder; nothing is written there before the first :meth:`add`.
    """

    def __init__(self, destination: Path) -> None:
        self._folder = destination / FOLDER
        self._latest: dict[str, Record] = {}
        self._read_up_to: dict[Path, int] = {}
        self._journal: IO[bytes] | None = None
        self._lock = threading.Lock()
        self.refresh()

    def __reduce__(self) -> tuple[type[Records], tuple[Path]]:
        # a copy elsewhere reads the same journals and writes one of its own
        return Records, (self._folder.parent,)

    def find(self, output: str) -> Record | None:
        """Find the newest record of an output."""
        with self._lock:
            return self._latest.get(output)

    def refresh(self) -> None:
        """Read what other runs have written since the last call.

        Raises:
            VidtwinError: the journals cannot be read.
        """
        with self._lock:
            try:
                for path in sorted(self._folder.glob(_JOURNALS)):
                    self._read(path)
            except OSError as error:
                raise explain_os_error(error, self._folder) from error

    def add(self, record: Record) -> None:
        """Write a record to the disk.

        Raises:
            VidtwinError: the disk is full or the folder cannot be written.
        """
        line = json.dumps(dataclasses.asdict(record), ensure_ascii=True).encode() + b"\n"
        with self._lock:
            try:
                if self._journal is None:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    name = f"journal-{platform.node() or 'host'}-{os.getpid()}-{time.time_ns()}.jsonl"
                    self._journal = (self._folder / name).open("ab")
                self._journal.write(line)
                self._journal.flush()
                os.fsync(self._journal.fileno())
            except OSError as error:
                raise explain_os_error(error, self._folder) from error
            self._keep(record)

    def close(self) -> None:
        """Close this run's journal."""
        with self._lock, contextlib.ExitStack() as stack:
            if self._journal is not None:
                stack.enter_context(self._journal)

    def _read(self, path: Path) -> None:
        start = self._read_up_to.get(path, 0)
        if path.stat().st_size == start:
            return
        with path.open("rb") as stream:
            stream.seek(start)
            for line in stream:
                if not line.endswith(b"\n"):
                    break  # being written, or cut off when its run was killed
                start += len(line)
                record = Record.from_line(line)
                if record is not None:
                    self._keep(record)
        self._read_up_to[path] = start

    def _keep(self, record: Record) -> None:
        known = self._latest.get(record.output)
        if known is None or known.written <= record.written:
            self._latest[record.output] = record
