"""A whole batch: plan, engine, report."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from vidtwin_codec import __version__
from vidtwin_codec.batch.engine import Ended, Engine, Event, Row
from vidtwin_codec.batch.job_runner import JobRunner
from vidtwin_codec.batch.local import LocalEngine
from vidtwin_codec.batch.options import BatchOptions, fingerprint
from vidtwin_codec.batch.plan import Plan, Planner
from vidtwin_codec.batch.records import FOLDER, Records
from vidtwin_codec.batch.rows import ROW_KEYS, failed_row, left_row, summarize
from vidtwin_codec.closing import Closing
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.files import atomic_path, explain_os_error
from vidtwin_codec.options import Reporter
from vidtwin_codec.temporaries import clear
from vidtwin_codec.text import csv_cell, to_json


class Batch(Closing):
    """Encoding or decoding of many files into one folder; a context manager.

    >>> with Batch("packed", BatchOptions()) as batch:
    ...     plan = batch.plan(["videos"])
    ...     for event in batch.run(plan):
    ...         ...
    ...     print(batch.summary["failed"])

    Args:
        destination: the folder; made when the first job starts.
        options: the batch's options.
        engine: does the jobs; None for this machine's devices.

    Attributes:
        rows: a row for every file of the plan, in the order of their sources.

    Raises:
        VidtwinError: there are no such weights or no such device, or the destination is not a folder.
    """

    def __init__(self, destination: str | Path, options: BatchOptions, engine: Engine | None = None) -> None:
        self.destination, self.options = Path(destination), options
        if self.destination.exists() and not self.destination.is_dir():
            raise VidtwinError(f"{destination}: is not a folder", "name a folder to write to")
        # absolute, because processes of an engine may have another current folder
        self._folder = Path(os.path.abspath(destination))
        self._records = Records(self._folder)
        self._engine = engine or LocalEngine(options.file_options, options.jobs, options.merge)
        self._planner = Planner(self.destination, options, self._records, self._engine.kind)
        self.rows: list[Row] = []
        self._began = time.monotonic()

    def close(self) -> None:
        """Close the record."""
        self._records.close()

    @property
    def summary(self) -> dict[str, Any]:
        """Counts and sums so far."""
        return summarize(self.rows, time.monotonic() - self._began)

    def plan(self, sources: Sequence[str], lists: Sequence[str] = (), reporter: Reporter | None = None) -> Plan:
        """Plan what there is to do; see :meth:`Planner.plan`."""
        plan = self._planner.plan(sources, lists, reporter)
        left = [left_row(str(job.source), str(job.output)) for job in plan.jobs]
        self.rows = sorted([*plan.skipped, *plan.failed, *left], key=lambda row: str(row["source"]))
        return plan

    def run(self, plan: Plan) -> Generator[Event, None, None]:
        """Do the jobs of a plan, and write the report, even when the iteration is left early.

        Raises:
            VidtwinError: nothing can be written to the destination.
        """
        options = self.options
        try:
            self.destination.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain_os_error(error, self.destination) from error
        clear(self._folder / FOLDER)
        runner = JobRunner(self._folder, options, self._planner, self._records)
        places = {row["source"]: number for number, row in enumerate(self.rows)}
        try:
            with closing(_closeable(self._engine.run(plan.jobs, runner))) as events:
                for event in events:
                    if isinstance(event, Ended):
                        job = event.job
                        failed = failed_row(str(job.source), str(job.output), event.error or "")
                        self.rows[places[str(job.source)]] = event.row or failed
                    yield event
        finally:
            self.write_report()

    @property
    def report_path(self) -> Path:
        """Path of the report as JSON; the one as CSV lies beside it."""
        shard = self.options.shard
        part = "" if shard is None else f"-{shard.number}-of-{shard.count}"
        return self.destination / f"report{part}.json"

    def write_report(self) -> None:
        """Write ``report.json`` and ``report.csv``, with a row for every file.

        Raises:
            VidtwinError: they cannot be written.
        """
        options = self.options
        report = {
            "created_by": f"vidtwin {__version__}",
            "work": "decode" if options.decodes else "encode",
            "options": fingerprint(options.file_options),
            "shard": None if options.shard is None else str(options.shard),
            "summary": self.summary,
            "files": self.rows,
        }
        with atomic_path(self.report_path) as temporary:
            temporary.write_text(to_json(report, indent=1) + "\n", "utf-8")
        with atomic_path(self.report_path.with_suffix(".csv")) as temporary:
            temporary.write_text(as_csv(self.rows), "utf-8")


def as_csv(rows: Sequence[Row]) -> str:
    """Write rows as CSV with a header; lists and reasons go into one cell each, separated by semicolons."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ROW_KEYS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = {name: csv_cell(value) for name, value in row.items()}
        cells["reasons"] = csv_cell("; ".join(f"{name}: {reason}" for name, reason in (row["reasons"] or {}).items()))
        cells["warnings"] = csv_cell("; ".join(row["warnings"] or []))
        writer.writerow(cells)
    return text.getvalue()


def _closeable(events: Iterator[Event]) -> Generator[Event, None, None]:
    yield from events
