"""What the tests of `vidtwin batch` share: running it, and files to run it on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from vidtwin_codec.batch.engine import Ended
from vidtwin_codec.batch.options import BatchOptions
from vidtwin_codec.batch.run import Batch
from vidtwin_codec.options import EncodeOptions


def spread(video: Path, folder: Path, *names: str) -> Path:
    """Copies of one video, each with bytes of its own: a comment at the end that no container minds."""
    for number, name in enumerate(names):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, target)
        with target.open("ab") as stream:
            stream.write((9 + number).to_bytes(4, "big") + b"free" + bytes(1 + number))
    return folder


def encoding(weights: Path, **changes: Any) -> EncodeOptions:
    return EncodeOptions(weights=str(weights), device="cpu", **changes)


def run_batch(source: Path | list[str], destination: Path, work: Any, **changes: Any) -> Batch:
    """A whole batch in this process; its rows and summary say how it went."""
    names = source if isinstance(source, list) else [str(source)]
    with Batch(destination, BatchOptions(file_options=work, **changes)) as batch:
        ended = [event for event in batch.run(batch.plan(names)) if isinstance(event, Ended)]
    assert len({event.job.name for event in ended}) == len(ended)
    return batch


def statuses(batch: Batch) -> dict[str, str]:
    """Source's name → how it ended."""
    return {Path(row["source"]).name: row["status"] for row in batch.rows}


def outputs(folder: Path) -> dict[str, bytes]:
    """Every file below a destination that is not hidden, but the reports."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.name.startswith("report")
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def touch(path: Path) -> None:
    """Another time of modification, the same contents."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
