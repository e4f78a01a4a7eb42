"""What ``vidtwin batch`` shows: the plan, progress by the cost of each file, and the summary."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.progress import TaskID
from rich.table import Table

from vidtwin_codec.cli.meter import EVENT_SECONDS, PLAIN_LINE_SECONDS
from vidtwin_codec.cli.output import output_state, print_json
from vidtwin_codec.cli.progress import Lines
from vidtwin_codec.cli.screen import Screen
from vidtwin_codec.text import clock, counted, human_bytes

if TYPE_CHECKING:
    from vidtwin_codec.batch.engine import Event, Job
    from vidtwin_codec.batch.plan import Plan
    from vidtwin_codec.batch.run import Batch

FAILURES_SHOWN = 20


class BatchProgress:
    """Shows how far a batch is: bars on a terminal, lines elsewhere.

    On a terminal there is a bar for everything and one for each file in hand; elsewhere a line for each file, and now
    and then one for everything.

    Args:
        measured: each file is encoded, then measured, which takes about as long again.
    """

    def __init__(self, plan: Plan, screen: Screen, *, measured: bool = False) -> None:
        self._screen, self._measured = screen, measured
        self._total = sum(job.cost for job in plan.jobs) or 1.0
        self._count, self._hours = len(plan.jobs), sum(job.seconds for job in plan.jobs) / 3600
        self._ended, self._ended_cost, self._ended_hours = 0, 0.0, 0.0
        self._shares: dict[Job, float] = {}
        self._bars: dict[Job, TaskID] = {}
        self._began: float | None = None
        self._wanted = output_state().progress
        self._due = time.monotonic() + (EVENT_SECONDS if self._wanted == "json" else PLAIN_LINE_SECONDS)
        self._bar = Lines(
            console=screen,
            transient=True,
            disable=not screen.is_terminal or self._wanted != "auto",
            redirect_stdout=sys.stdout.isatty(),  # what goes to a file or a pipe is no business of the bar's
        )
        self._overall = self._bar.add_task("batch", total=self._total, notes=self.notes)

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
            if self._wanted == "json":
                self._event("warning", event.job, text=event.text)
            else:
                self._say(f"{event.job.source}: warning: {event.text}")
            return None
        if isinstance(event, Ended):
            self._end(event.job)
            row = event.row or failed_row(str(event.job.source), str(event.job.output), event.error or "")
            if self._wanted == "json":
                self._event("finished", event.job, status=row["status"], error=row["error"])
            else:
                self._say(f"[{self._ended}/{self._count}] {_line(row)}")
        else:
            share = min(1.0, event.done / event.total) if event.total else 0.0
            if self._measured:
                share = 0.5 + share / 2 if event.stage.startswith("comparing") else share / 2
            # a second pass over a file does not undo the first
            self._shares[event.job] = max(self._shares.get(event.job, 0.0), share)
            if event.job not in self._bars:
                if self._wanted == "json":
                    self._event("started", event.job, stage=event.stage, unit="frame", done=0, total=event.total)
                self._bars[event.job] = self._bar.add_task(event.job.name, total=1.0, notes=[])
            self._bar.update(self._bars[event.job], completed=self._shares[event.job])
            row = None
        self._bar.update(self._overall, completed=self.work_done)
        self._tell_overall()
        return row

    def _tell_overall(self) -> None:
        """Now and then, where there is no bar."""
        if time.monotonic() < self._due:
            return
        if self._wanted == "json":
            self._due = time.monotonic() + EVENT_SECONDS
            output_state().event("progress", **self.numbers())
        elif self._wanted == "auto" and not self._screen.is_terminal:
            self._due = time.monotonic() + PLAIN_LINE_SECONDS
            self._say(self.notes()[0])

    @property
    def work_done(self) -> float:
        """Clips and tiles, of finished files and of those in hand."""
        return self._ended_cost + sum(share * job.cost for job, share in self._shares.items())

    @property
    def seconds_left(self) -> float | None:
        """What the rest will take at the pace so far; None where nothing tells."""
        done = self.work_done
        if self._began is None or not done:
            return None
        return (time.monotonic() - self._began) * max(0.0, self._total - done) / done

    def numbers(self) -> dict[str, Any]:
        """The values of a ``progress`` event."""
        left = self.seconds_left
        values = {"verb": "batch", "stage": "", "unit": "file", "done": self._ended, "total": self._count}
        video = {
            "video_seconds": round(self._hours_done * 3600, 1),
            "video_seconds_total": round(self._hours * 3600, 1),
        }
        return {**values, **video, "seconds_left": None if left is None else round(left, 1)}

    def notes(self) -> list[str]:
        """Files, hours of video, and the time that the rest will take: the longest way of saying it first."""
        files, left = f"{self._ended} of {counted(self._count, 'file')}", self.seconds_left
        video = f"{clock(self._hours_done * 3600)} of {clock(self._hours * 3600)}"
        if left is None:
            return [f"{files}, {video}", files, f"{self._ended}/{self._count}"]
        rest = f"about {clock(left)} to go"
        brief = f"{self._ended}/{self._count}, {clock(left)} left"
        return [f"{files}, {video} of video, {rest}", f"{files}, {rest}", brief, f"{self._ended}/{self._count}"]

    @property
    def _hours_done(self) -> float:
        return self._ended_hours + sum(share * job.seconds for job, share in self._shares.items()) / 3600

    def _end(self, job: Job) -> None:
        self._ended += 1
        self._ended_cost += job.cost
        self._ended_hours += job.seconds / 3600
        self._shares.pop(job, None)
        if job in self._bars:
            self._bar.remove_task(self._bars.pop(job))

    def _event(self, kind: str, job: Job, **values: Any) -> None:
        output_state().event(kind, verb="batch", source=str(job.source), output=str(job.output), **values)

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
        screen.print(f"to do    {job.source} -> {job.output} ({clock(job.seconds)}, {job.reason})")
    for row in plan.skipped:
        screen.print(f"skip     {row['source']} -> {row['output']}")
    for row in plan.failed:
        screen.print(f"fail     {_why(row)}")
    seconds = clock(sum(job.seconds for job in plan.jobs))
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
    lines["video"] = f"{clock(summary['duration'])} ({summary['hours']:.2f} hours), {summary['frames']} frames"
    lines["bytes"] = f"{human_bytes(summary['source_bytes'])} in, {human_bytes(summary['output_bytes'])} out"
    if summary["ratio_to_source"] and not batch.options.decodes:
        lines["ratio"] = f"{summary['ratio_to_source']:.1f}:1 to the sources"
        if summary["compression_ratio"]:
            lines["ratio"] += f", {summary['compression_ratio']:.0f}:1 to raw video"
    if summary["psnr"] is not None:
        lines["PSNR"] = f"{summary['psnr']:.2f} dB, mean of {summary['measured']}"
    lines["time"] = clock(summary["seconds"])
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
