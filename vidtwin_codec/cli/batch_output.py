"""What ``vidtwin batch`` shows: progress by the work that each file is, the plan, and the summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from vidtwin_codec.cli.common import PLAIN_LINE_SECONDS, Screen, counted, human_bytes, print_json
from vidtwin_codec.text import printable

if TYPE_CHECKING:
    from vidtwin_codec.batch.engine import Event, Job
    from vidtwin_codec.batch.plan import Plan
    from vidtwin_codec.batch.run import Batch

FAILURES_SHOWN = 20


@contextmanager
def planning(screen: Screen) -> Iterator[Callable[[str, int, int], None]]:
    """Shows how far looking at the inputs is."""
    due = time.monotonic() + PLAIN_LINE_SECONDS
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as bar:
        task = bar.add_task("looking for files", total=None)

        def tell(what: str, done: int, total: int) -> None:
            nonlocal due
            bar.update(task, description=f"{what}: {done} of {total}", completed=done, total=total)
            if not screen.is_terminal and time.monotonic() >= due:
                due = time.monotonic() + PLAIN_LINE_SECONDS
                screen.print(f"{what}: {done} of {total}")

        yield tell


class BatchProgress:
    """A bar for everything and one for each file in hand on a terminal; elsewhere a line a file, and now and then one
    for everything.

    Args:
        measured: each file is encoded, then measured, which takes about as long again.
    """

    def __init__(self, plan: Plan, screen: Screen, *, measured: bool = False) -> None:
        self._screen, self._measured = screen, measured
        self._total = sum(job.work for job in plan.jobs) or 1.0
        self._count, self._hours = len(plan.jobs), sum(job.seconds for job in plan.jobs) / 3600
        self._ended, self._ended_work, self._ended_hours = 0, 0.0, 0.0
        self._shares: dict[Job, float] = {}
        self._bars: dict[Job, TaskID] = {}
        self._began: float | None = None
        self._due = time.monotonic() + PLAIN_LINE_SECONDS
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=screen,
            transient=True,
            disable=not screen.is_terminal,
            redirect_stdout=sys.stdout.isatty(),  # what goes to a file or a pipe is no business of the bar's
        )
        self._overall = self._bar.add_task("batch", total=self._total, note="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, event: Event) -> dict[str, Any] | None:
        """Take note of an event; gives the row of a file that has ended."""
        from vidtwin_codec.batch.engine import Ended, Warned
        from vidtwin_codec.batch.rows import failed_row

        # counted from the first sign of work: reading the weights says nothing about the rest
        self._began = self._began or time.monotonic()
        if isinstance(event, Warned):
            self._say(f"{event.job.source}: warning: {event.text}")
            return None
        if isinstance(event, Ended):
            self._end(event.job)
            row = event.row or failed_row(str(event.job.source), str(event.job.output), event.error or "")
            self._say(f"[{self._ended}/{self._count}] {_line(row)}")
        else:
            share = min(1.0, event.done / event.total) if event.total else 0.0
            if self._measured:
                share = 0.5 + share / 2 if event.stage.startswith("comparing") else share / 2
            # a second pass over a file does not undo the first
            self._shares[event.job] = max(self._shares.get(event.job, 0.0), share)
            if event.job not in self._bars:
                self._bars[event.job] = self._bar.add_task(printable(event.job.name), total=1.0, note="")
            self._bar.update(self._bars[event.job], completed=self._shares[event.job])
            row = None
        self._bar.update(self._overall, completed=self.work_done, note=self.overall())
        if not self._screen.is_terminal and time.monotonic() >= self._due:
            self._due = time.monotonic() + PLAIN_LINE_SECONDS
            self._say(self.overall())
        return row

    @property
    def work_done(self) -> float:
        """Clips and tiles, of finished files and of those in hand."""
        return self._ended_work + sum(share * job.work for job, share in self._shares.items())

    def overall(self) -> str:
        """Files, hours of video, and the time that the rest will take at the pace so far."""
        hours = self._ended_hours + sum(share * job.seconds for job, share in self._shares.items()) / 3600
        text = (
            f"{self._ended} of {counted(self._count, 'file')}, {_clock(hours * 3600)} of {_clock(self._hours * 3600)}"
        )
        done = self.work_done
        if self._began is None or not done:
            return text
        rest = (time.monotonic() - self._began) * (self._total - done) / done
        return f"{text} of video, about {_clock(rest)} to go"

    def _end(self, job: Job) -> None:
        self._ended += 1
        self._ended_work += job.work
        self._ended_hours += job.seconds / 3600
        self._shares.pop(job, None)
        if job in self._bars:
            self._bar.remove_task(self._bars.pop(job))

    def _say(self, text: str) -> None:
        self._screen.print(text)


def print_plan(plan: Plan, as_json: bool, quiet: bool) -> None:
    """What would be done, on standard output."""
    if as_json:
        for job in plan.jobs:
            values = {"source": str(job.source), "output": str(job.output), "status": "to do", "reason": job.reason}
            print_json({**values, "frames": job.frames, "duration": job.seconds, "source_bytes": job.stamp.bytes})
        for row in (*plan.skipped, *plan.failed):
            print_json(row)
        return
    if quiet:
        return
    screen = Screen()
    for job in plan.jobs:
        screen.print(f"to do    {job.source} -> {job.output} ({_clock(job.seconds)}, {job.reason})")
    for row in plan.skipped:
        screen.print(f"skip     {row['source']} -> {row['output']}")
    for row in plan.failed:
        screen.print(f"fail     {_why(row)}")
    seconds = _clock(sum(job.seconds for job in plan.jobs))
    elsewhere = f", {plan.elsewhere} in other shards" if plan.elsewhere else ""
    screen.print(
        f"{counted(len(plan.jobs), 'file')} to do ({seconds} of video), {len(plan.skipped)} to skip, "
        f"{len(plan.failed)} to fail{elsewhere}"
    )


def print_summary(batch: Batch, screen: Screen) -> None:
    """Sums and failures."""
    from vidtwin_codec.batch.rows import DONE, FAILED, SKIPPED

    summary = batch.summary
    table = Table(show_header=False, box=None)
    verb = "decoded" if batch.options.decodes else "encoded"
    counts = [f"{summary[DONE]} {verb}", f"{summary[SKIPPED]} skipped", f"{summary[FAILED]} failed"]
    lines = {"files": f"{summary['files']}: {', '.join(counts)}"}
    lines["video"] = f"{_clock(summary['duration'])} ({summary['hours']:.2f} hours), {summary['frames']} frames"
    lines["bytes"] = f"{human_bytes(summary['source_bytes'])} in, {human_bytes(summary['output_bytes'])} out"
    if summary["ratio_to_source"] and not batch.options.decodes:
        lines["ratio"] = f"{summary['ratio_to_source']:.1f}:1 to the sources"
        if summary["compression_ratio"]:
            lines["ratio"] += f", {summary['compression_ratio']:.0f}:1 to raw video"
    if summary["psnr"] is not None:
        lines["PSNR"] = f"{summary['psnr']:.2f} dB, mean of {summary['measured']}"
    lines["time"] = _clock(summary["seconds"])
    for label, text in lines.items():
        table.add_row(label, text)
    screen.print(table)
    screen.print(f"report: {batch.report_path} and .csv")
    failed = [row for row in batch.rows if row["status"] == FAILED]
    for row in failed[:FAILURES_SHOWN]:
        screen.print(f"failed: {_why(row)}")
    if len(failed) > FAILURES_SHOWN:
        screen.print(f"… and {len(failed) - FAILURES_SHOWN} more, in the report")


def _line(row: dict[str, Any]) -> str:
    from vidtwin_codec.batch.rows import FAILED, SKIPPED

    if row["status"] == FAILED:
        return f"failed: {_why(row)}"
    psnr = "" if row["psnr"] is None else f", {row['psnr']:.2f} dB"
    if row["status"] == SKIPPED:  # another run made it meanwhile, or it has only been measured
        return f"{row['output']}: was there{psnr}"
    return f"{row['output']}: {human_bytes(row['output_bytes'])}, {counted(row['frames'], 'frame')}{psnr}"


def _why(row: dict[str, Any]) -> str:
    """A file and its error, which often begins with the name."""
    return f"{row['source']}: {row['error'].removeprefix(row['source'] + ': ')}"


def _clock(seconds: float) -> str:
    """3725 → 1:02:05."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
