"""Runs cases in a forked process, which is renewed when it dies, takes too long, or has grown."""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from vidtwin_codec.errors import VidtwinError

ACCEPTED, REFUSED, FAILED = "accepted", "refused", "failed"
SECONDS, GROWTH = 10, 1 << 30
"""Most CPU time of a case, and most bytes by which it may let its process grow."""
_RENEWED_AFTER = 5000  # cases
_NO_ANSWER = 60 * SECONDS  # of the clock: other programs may have the machine


@dataclass(frozen=True)
class Target:
    """One kind of file: how to make a hostile one, and how to read it.

    Attributes:
        name: for the command line, without dashes.
        suffix: of the files.
        make: returns the bytes of a case.
        read: reads a file as the product does; returns whether it was accepted. VidtwinError refuses it.
        share: of all cases, as a multiple.
    """

    name: str
    suffix: str
    make: Callable[[Random], bytes]
    read: Callable[[Path], bool]
    share: int = 1

    def case(self, seed: int, number: int) -> bytes:
        """The bytes of case ``number``."""
        return self.make(Random(f"{seed}/{self.name}/{number}"))


@dataclass(frozen=True)
class Outcome:
    """What became of a case: `ACCEPTED`, `REFUSED`, or `FAILED` with a text whose last line names the fault."""

    number: int
    kind: str
    text: str = ""


def run_cases(target: Target, seed: int, numbers: range) -> Iterator[Outcome]:
    """Run cases in processes of their own."""
    target.case(seed, 0)  # samples are made once, before processes fork
    yield from _in_processes(target, numbers, lambda number: target.case(seed, number))


def run_bytes(target: Target, data: bytes) -> Outcome:
    """Run one case whose bytes are known."""
    return next(_in_processes(target, range(1), lambda number: data))


def _in_processes(target: Target, numbers: range, make: Callable[[int], bytes]) -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        while numbers:
            work = Path(name, "work")
            work.mkdir()
            for outcome in _one_process(target, numbers, make, work):
                numbers = numbers[1:]
                yield outcome
            shutil.rmtree(work, ignore_errors=True)


def _one_process(target: Target, numbers: range, make: Callable[[int], bytes], work: Path) -> Iterator[Outcome]:
    """Outcomes up to the end of one process; at least one."""
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        os.close(read_end)
        _work(target, numbers, make, work, write_end)
    os.close(write_end)
    told, status = 0, None
    try:
        with os.fdopen(read_end, "rb") as stream:
            for line in _lines(stream):
                yield Outcome(numbers[told], *json.loads(line))
                told += 1
        _, status = os.waitpid(child, 0)
    finally:
        if status is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if status and told < len(numbers):
        yield Outcome(numbers[told], FAILED, _death(status, work / "trace"))


def _lines(stream: Any) -> Iterator[bytes]:
    """Lines as they come, up to the end or a long silence."""
    waiting = b""
    while select.select([stream], [], [], _NO_ANSWER)[0]:
        data = os.read(stream.fileno(), 1 << 16)
        if not data:
            return
        *lines, waiting = (waiting + data).split(b"\n")
        yield from lines
    raise TimeoutError(f"a case gave no answer for {_NO_ANSWER} s")


def _death(status: int, trace: Path) -> str:
    number = os.waitstatus_to_exitcode(status)
    how = f"ended with {number}" if number >= 0 else f"died of {signal.Signals(-number).name}"
    if number == -signal.SIGPROF:
        how = f"took more than {SECONDS} s of CPU time"
    text = trace.read_text(errors="replace") if trace.exists() else ""
    where = next((line.strip() for line in text.splitlines() if "vidtwin_codec" in line), "")
    return f"{text}\n{how} {where}".strip()


def _work(target: Target, numbers: range, make: Callable[[int], bytes], work: Path, write_end: int) -> None:
    """The process's life; it does not return."""
    code = 1
    try:
        with (work / "trace").open("w") as trace, os.fdopen(write_end, "w", buffering=1) as answers:
            faulthandler.enable(trace)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            faulthandler.register(signal.SIGPROF, trace, chain=True)
            _limit_memory()
            warnings.simplefilter("error")
            start = _peak()
            for done, number in enumerate(numbers, 1):
                kind, text = _run(target, make(number), work)
                if _peak() - start > GROWTH:
                    kind, text = FAILED, f"{text}\ntook more than {GROWTH} bytes of memory"
                answers.write(json.dumps([kind, text]) + "\n")
                if done == _RENEWED_AFTER or _peak() - start > GROWTH // 2:
                    break
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _limit_memory() -> None:
    """Let the machine live: what is asked for beyond this is refused."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    if pages:
        most = pages * resource.getpagesize() + 4 * GROWTH
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _run(target: Target, data: bytes, work: Path) -> tuple[str, str]:
    path = work / f"case{target.suffix}"
    path.write_bytes(data)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return (ACCEPTED if target.read(path) else REFUSED), ""
    except VidtwinError as error:
        text = f"{error.message}\n{error.hint or ''}".rstrip()
        if "\n" in error.message:
            return FAILED, f"{text!a}\na message of several lines"
        return REFUSED, text
    except Exception as error:
        return FAILED, f"{traceback.format_exc()}\n{_name(error)}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _name(error: BaseException) -> str:
    """A line that is the same for the same fault."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if "vidtwin_codec" in one.filename]
    where = f"{frames[-1].filename.rpartition('vidtwin_codec/')[2]}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {where}"
