"""Reports of a run: a log of JSON lines, a plot, and the model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidtwin_codec.files import atomic_path
from vidtwin_codec.text import valid


class Log:
    """A log with one JSON object a line, which has ``step``, ``seconds``, and ``loss`` (training) or ``psnr``."""

    def __init__(self, path: Path, step: int) -> None:
        """Continue the log after ``step``; records beyond it, from an interrupted run, are dropped."""
        self.path = path
        self.records = [record for record in read_log(path) if record["step"] <= step] if step else []
        with atomic_path(path) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in self.records), encoding="utf-8")

    def add(self, record: dict[str, Any]) -> None:
        """Append a record to the file."""
        self.records.append(record)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the records of a log; a last line that was cut off is left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def plot(records: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Plot loss and held-out PSNR over steps, as PNG; returns False if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return False
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    left = figure.subplots()
    training = [record for record in records if "loss" in record]
    measured = [record for record in records if "psnr" in record]
    left.plot([record["step"] for record in training], [record["loss"] for record in training], color="tab:gray")
    left.set_xlabel("step")
    left.set_ylabel("loss")
    if measured:
        right = left.twinx()
        right.plot(
            [record["step"] for record in measured], [record["psnr"] for record in measured], "o-", color="tab:blue"
        )
        right.set_ylabel("held-out PSNR of the averaged weights [dB]", color="tab:blue")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return True


def write_card(path: Path, name: str, rows: Sequence[tuple[str, str]], command: str) -> None:
    """Write the model card, with a table and the command that made the weights."""
    cells = [(label, text.replace("|", "\\|").replace("\n", " ")) for label, text in rows]
    table = "\n".join(f"| {label} | {text} |" for label, text in cells)
    text = f"# {name}\n\n| | |\n|---|---|\n{table}\n\nMade with:\n\n    {command}\n"
    with atomic_path(path) as temporary:
        temporary.write_text(valid(text), encoding="utf-8")
