"""Rows of the report, which have the keys of ``measure`` and a status, and their summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from vidtwin_codec.batch.engine import Row
from vidtwin_codec.evaluation.measure.options import BOUNDARIES, COUNTS, KEYS, NOT_ASKED
from vidtwin_codec.metrics import METRICS
from vidtwin_codec.options import DecodeResult, EncodeResult

DONE, SKIPPED, FAILED, LEFT = "done", "skipped", "failed", "left"
"""Statuses of a file: made now, made by an earlier or another run, failed, or not reached before an interrupt."""
ROW_KEYS = (*KEYS, "output_bytes", "status", "error")
MEASURED = ("psnr", "luma_matrix", *BOUNDARIES, "reasons")
"""Keys that ``--measure`` fills."""


def encoded_row(result: EncodeResult, clips: int) -> Row:
    """Make the row of a file that was encoded to ``clips`` clips."""
    return _row({**result.to_json(), "clips": clips, "output_bytes": result.vtw_bytes})


def decoded_row(result: DecodeResult, clips: int) -> Row:
    """Make the row of a file with ``clips`` clips that was decoded."""
    more = {"clips": clips, "raw_bytes": result.raw_bytes, "source_bytes": result.vtw_bytes}
    return _row({**result.to_json(), **more})


def failed_row(source: str, output: str | None, reason: str) -> Row:
    """Make the row of a file that failed."""
    return dict.fromkeys(ROW_KEYS) | {"source": source, "output": output, "status": FAILED, "error": reason}


def left_row(source: str, output: str) -> Row:
    """Make the row of a file that was not reached."""
    return dict.fromkeys(ROW_KEYS) | {"source": source, "output": output, "status": LEFT}


def _row(values: dict[str, Any]) -> Row:
    reasons = dict.fromkeys((*METRICS, *BOUNDARIES), NOT_ASKED)
    values = {"files": 1, "protocol": "codec", "reasons": reasons, "status": DONE, **values}
    return {name: values.get(name) for name in ROW_KEYS}


def summarize(rows: Sequence[Row], seconds: float) -> dict[str, Any]:
    """Count the files, and sum over those that are made, by this run or before.

    Args:
        rows: a row for every file.
        seconds: time that this run took.
    """
    made = [row for row in rows if row["status"] in (DONE, SKIPPED)]
    sums = {name: _sum(row[name] for row in made) for name in ("frames", "duration", "output_bytes", *COUNTS)}
    counts = {status: sum(row["status"] == status for row in rows) for status in (DONE, SKIPPED, FAILED, LEFT)}
    psnrs = [row["psnr"] for row in made if row["psnr"] is not None]
    return {
        "files": len(rows),
        **counts,
        **sums,
        "hours": sums["duration"] / 3600,
        "compression_ratio": _ratio(sums["raw_bytes"], sums["video_bytes"]),
        "ratio_to_source": _ratio(sums["source_bytes"], sums["vtw_bytes"]),
        "psnr": sum(psnrs) / len(psnrs) if psnrs else None,
        "measured": len(psnrs),
        "seconds": seconds,
    }


def _sum(values: Iterable[float | None]) -> float:
    return sum(value for value in values if value is not None)


def _ratio(a: float, b: float) -> float | None:
    return a / b if b else None
