"""A worker and its driver must agree on the program, the input files and the destination: checks of all three."""

from __future__ import annotations

import functools
import hashlib
import platform
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import vidtwin_codec
from vidtwin_codec.batch.engine import Job
from vidtwin_codec.batch.records import FOLDER, FileStamp
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import explain_os_error, temporary_folder

_SAMPLES = 16
# Network file systems show a new file to others only after a while.
_PATIENCE_SECONDS = 20.0
_POLL_SECONDS = 0.2
SHARE_HINT = "all machines must see SRC and DST at the same paths, on a file system that they share"


@dataclass(frozen=True)
class Program:
    """The identity of a vidtwin installation.

    Attributes:
        version: the released version.
        code: SHA-256 of the source files, because checkouts of one version may differ.
    """

    version: str
    code: str

    @classmethod
    @functools.cache
    def here(cls) -> Program:
        """Return the program that this process runs."""
        folder = Path(vidtwin_codec.__file__).parent
        digest = hashlib.sha256()
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes() + b"\0")
        return cls(vidtwin_codec.__version__, digest.hexdigest())

    def check(self) -> None:
        """Make sure that this process runs the same program.

        Raises:
            VidtwinError: it runs another one.
        """
        here = Program.here()
        if here.version != self.version:
            raise VidtwinError(
                f"vidtwin {here.version} is installed on {platform.node()}, this is vidtwin {self.version}",
                "install the same version on all machines",
            )
        if here.code != self.code:
            raise VidtwinError(
                f"the vidtwin {here.version} on {platform.node()} is not the same program as this one",
                "install the very same version on all machines",
            )


@dataclass(frozen=True)
class SharedFiles:
    """Files that every process must see as the driver does.

    Attributes:
        token: a file below the destination.
        secret: the content of that file.
        samples: some of the inputs, each with its size and time of modification.
    """

    token: Path
    secret: str
    samples: tuple[tuple[Path, FileStamp], ...]

    def check(self) -> None:
        """Make sure that this machine sees the files, and can write beside the token.

        Raises:
            VidtwinError: a file is missing or differs, or nothing can be written.
        """
        machine = platform.node()
        until = time.monotonic() + _PATIENCE_SECONDS
        while (found := _read(self.token)) != self.secret:
            if time.monotonic() > until:
                what = "is not to be seen" if found is None else "is another one"
                raise VidtwinError(f"the destination {self.token.parent.parent.parent} {what} on {machine}", SHARE_HINT)
            time.sleep(_POLL_SECONDS)
        for path, stamp in self.samples:
            try:
                seen = FileStamp.of(path)
            except VidtwinError as error:
                raise VidtwinError(f"{path} cannot be read on {machine} ({error.message})", SHARE_HINT) from error
            if seen != stamp:
                raise VidtwinError(f"{path} is another file on {machine}", SHARE_HINT)
        mine = self.token.with_name(f"{self.token.name}-{secrets.token_hex(4)}")
        try:
            mine.touch()
            mine.unlink()
        except OSError as error:
            raise VidtwinError(f"{self.token.parent} cannot be written to on {machine} ({error.strerror})") from error


@contextmanager
def shared_files(destination: Path, jobs: Sequence[Job]) -> Iterator[SharedFiles]:
    """Put a token into a folder below the destination for other machines to check, for the time of the block.

    What else this run shares with them may lie in the folder, too, which a later run clears if this process is killed.

    Args:
        destination: the batch's folder, as an absolute path.
        jobs: the jobs, with absolute paths; a few of their inputs become the samples.

    Raises:
        VidtwinError: the destination cannot be written.
    """
    secret = secrets.token_hex(16)
    some = jobs[:: max(1, -(-len(jobs) // _SAMPLES))]
    state = destination / FOLDER
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, state) from error
    with temporary_folder(state) as folder:
        token = folder / "shared"
        try:
            folder.chmod(state.stat().st_mode)  # workers may be another user's
            token.write_text(secret)
        except OSError as error:
            raise explain_os_error(error, token) from error
        yield SharedFiles(token, secret, tuple((job.source, job.stamp) for job in some))


def _read(path: Path) -> str | None:
    try:
        # opened anew each time, which makes a network file system look again
        return path.read_text()
    except OSError:
        return None
