"""Running the ffmpeg binary: its path, its messages, and child processes that never outlive their parent."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import IO

from vidtwin_codec import machine
from vidtwin_codec.closing import Closing
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media.watch import Patience, start_process

# Every ordinary line starts with its level (-loglevel level+...), after the names of the contexts it comes from.
_LINE = re.compile(
    r"^(?P<who>(?:\[[^\]]* @ (?:0x)?[0-9a-fA-F]+\] )*)"
    r"\[(?P<level>panic|fatal|error|warning|info|verbose|debug)\] (?P<text>.*)$"
)
# A line of -progress; the number of frames is what counts.
_PROGRESS = re.compile(r"^(?P<key>[a-z_0-9]+)=\s*(?P<value>\S*)\s*$")
_SERIOUS = ("panic", "fatal", "error")
# Output options that make ffmpeg tell the time of each picture before it gives the picture itself. The lines share the
# pipe of its messages (a pipe of their own could not be handed down on every system) and may split one of those.
_STAMP = re.compile(rb"\x02(-?\d+) (\d+)/(\d+)\n\Z")
STAMPED = ("-stats_enc_pre", "pipe:2", "-stats_enc_pre_fmt", "\x02{pts} {tb}")
_NO_TIME = -(1 << 63)
# A damaged hour of video makes one message per frame; the first ones say what is wrong, the last one why it stopped.
# A header alone can have hundreds of lines (chapters, many streams).
_KEPT_MESSAGES = 5000
# ffmpeg's last lines only repeat, without the reason, that something went wrong.
_HOLLOW = (
    "Conversion failed!",
    "Nothing was written into output file",
    "Error while processing the decoded data",
    "Terminating thread with return code",
    "Task finished with error code",
    "Error muxing a packet",
    "Error writing trailer",
    "Error closing file",
    "Error submitting",
    "Error sending frames to consumers",
    "Error while opening encoder",
    "Error initializing filters",
    "Error opening output files",
    "Error opening input file",
    "Error opening output file",
    "Error applying encoder options",
    "Could not open encoder before EOF",
)


@functools.cache
def executable() -> str:
    """Return the path of the ffmpeg binary that imageio-ffmpeg brings (or that $IMAGEIO_FFMPEG_EXE names).

    Raises:
        VidtwinError: there is none for this platform, or the variable names something else.
    """
    import imageio_ffmpeg

    try:
        path = str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise VidtwinError("no ffmpeg binary found", "reinstall imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE") from error
    if os.environ.get("IMAGEIO_FFMPEG_EXE"):
        _check_own(path)
    return path


def _check_own(path: str) -> None:
    """Refuse a path that the user has named as ffmpeg but that is not ffmpeg."""
    try:
        done = subprocess.run([path, "-version"], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        wrong = "" if done.stdout.startswith(b"ffmpeg version") else "does not answer as ffmpeg does"
    except OSError as error:
        wrong = error.strerror or str(error)
    if wrong:
        raise VidtwinError(
            f"{path}: cannot be run as ffmpeg ({wrong})",
            "the variable IMAGEIO_FFMPEG_EXE names it; correct it, or unset it for the ffmpeg of imageio-ffmpeg",
        )


@functools.cache
def video_encoders() -> frozenset[str]:
    """Return the names of the video encoders in this ffmpeg."""
    return frozenset(re.findall(r"^ V[A-Z.]{5} (\S+)", _listing("-encoders").partition("------")[2], re.MULTILINE))


@functools.cache
def hwaccels() -> tuple[str, ...]:
    """Return the names of the methods of hardware decoding that this ffmpeg was built with."""
    return tuple(_listing("-hwaccels").partition(":")[2].split())


@functools.cache
def has_filters(*names: str) -> bool:
    """Return whether this ffmpeg has all of the named filters (some builds come without zimg)."""
    return set(names) <= set(re.findall(r"^ [A-Z.]{2,3} (\S+) ", _listing("-filters"), re.MULTILINE))


def _listing(what: str) -> str:
    command = [executable(), "-hide_banner", what]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False).stdout


_NO_THREADS = "ffmpeg cannot be started: the system allows no more threads"
_most_threads = 8


def limit_threads(count: int) -> None:
    """Limit the threads of each ffmpeg child, where several processes share a machine."""
    global _most_threads  # noqa: PLW0603
    _most_threads = count


def thread_count() -> int:
    """Return the number of threads for one ffmpeg child: the CPUs that this process may use, at most 8.

    Frame threads each hold a picture, so more would cost memory on a large machine without feeding the network faster.
    """
    return max(1, min(_most_threads, machine.cores()))


_running: weakref.WeakSet[Child] = weakref.WeakSet()
_running_lock = threading.Lock()


def end_children(threads: Collection[int] | None = None) -> None:
    """End ffmpegs that this process runs, so that it can leave in a hurry: those who wait for one find it dead.

    Args:
        threads: identifiers of the threads whose ffmpegs are ended; None ends all.
    """
    with _running_lock:
        children = [child for child in _running if threads is None or child.thread in threads]
    for child in children:
        child.end()


@dataclass(frozen=True)
class Message:
    """One line ffmpeg printed: its level, the part of ffmpeg it comes from (may be empty), and the text."""

    level: str
    who: str
    text: str


@dataclass(frozen=True)
class Stamp:
    """The time of one picture in seconds; None if it has no time."""

    time: Fraction | None


class Child(Closing):
    """A running ffmpeg, whose standard error a thread drains.

    It gets a session of its own, so Ctrl-C in the terminal reaches only the parent, which then decides. Leaving the
    ``with`` block kills it if it still runs; should the parent itself be killed, the kernel (on Linux) or the
    closed pipe ends it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        feed: bool = False,
        level: str = "warning",
        wanted: re.Pattern[str] | None = None,
        count: bool = False,
    ) -> None:
        """Start ffmpeg.

        Args:
            arguments: arguments of ffmpeg, after those that every call has.
            feed: whether it gets a standard input to write to.
            level: the level of messages to keep, by ffmpeg's name.
            wanted: a pattern of the lines to keep of those that are no complaints (metadata, chapters).
            count: whether it reports the number of frames that it has written; see :attr:`written`.

        Raises:
            VidtwinError: the binary cannot be started.
        """
        command = [
            executable(),
            "-hide_banner",
            "-nostdin",
            "-nostats",
            "-loglevel",
            f"repeat+level+{level}",
            *(("-progress", "pipe:2") if count else ()),
            *arguments,
        ]
        try:
            self._process: subprocess.Popen[bytes] = start_process(
                command,
                stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) if sys.platform == "win32" else 0,
            )
        except OSError as error:
            raise VidtwinError(f"ffmpeg cannot be started: {error.strerror or error}") from error
        except ValueError as error:
            raise VidtwinError("a file name cannot hold a null character") from error
        except RuntimeError as error:
            raise VidtwinError(_NO_THREADS) from error
        self.thread = threading.get_ident()
        with _running_lock:
            _running.add(self)
        self._wanted = wanted
        self.messages: list[Message] = []
        self.error_count = 0
        self.written: int | None = None
        """Number of frames of the first video stream that were written so far; only with ``count``."""
        self._count = count
        self.hung = False
        """Whether it was ended because it did nothing for too long."""
        self._stamps: queue.SimpleQueue[Stamp | None] = queue.SimpleQueue()
        self._drain = threading.Thread(target=self._read_messages, name="ffmpeg-stderr", daemon=True)
        try:
            self._patience = Patience(self._process.pid, self._give_up)
            machine.start(self._drain)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def close(self) -> None:
        """Kill it if it still runs."""
        self.kill()

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe into ffmpeg; only with ``feed``."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe out of ffmpeg."""
        assert self._process.stdout is not None
        return self._process.stdout

    def waiting(self) -> contextlib.AbstractContextManager[None]:
        """Within, this process does nothing but wait for ffmpeg, which is ended if it hangs."""
        return self._patience.waiting()

    def excused(self) -> contextlib.AbstractContextManager[None]:
        """Within, ffmpeg waits for somebody else, such as the reader of its output, for as long as that takes."""
        return self._patience.excused()

    def wait(self) -> int:
        """Wait for the end and for the last message, and return the exit code."""
        with self.waiting():
            code = self._process.wait()
        self._drain.join()
        return code

    def next_stamp(self) -> Stamp | None:
        """Return the time of the next picture (see :data:`STAMPED`) as soon as it is known; None after the last one."""
        stamp = self._stamps.get()
        if stamp is None:
            self._stamps.put(None)
        return stamp

    def end(self) -> None:
        """Stop the child now, and leave the rest to the thread that uses it."""
        if self._process.poll() is None:
            self._process.kill()

    def kill(self) -> None:
        """End the child now if it still runs, and free its pipes; it is harmless to repeat."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._drain.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                # Closing flushes; what a dead child did not read is of no use to anyone.
                with contextlib.suppress(OSError):
                    pipe.close()

    def errors(self) -> list[Message]:
        """Return the kept messages of level error or worse, oldest first."""
        return [message for message in self.messages if message.level in _SERIOUS]

    def reason(self) -> str:
        """Return the most telling message about ffmpeg's failure, in one line."""
        if self.hung:
            return "ffmpeg hung and was ended"
        errors = self.errors()
        if any("No space left on device" in message.text for message in errors):
            return "No space left on device"
        telling = [message for message in errors if not message.text.startswith(_HOLLOW)]
        return clean((telling or errors)[-1].text) if errors else "ffmpeg stopped without saying why"

    def _give_up(self) -> None:
        if self._process.poll() is None:
            self.hung = True
            self._process.kill()

    def _read_messages(self) -> None:
        level, who = "info", ""
        assert self._process.stderr is not None
        begun = b""  # the first half of a message that a stamp cut in two
        for piece in self._process.stderr:
            raw = begun + piece
            begun = b""
            if stamp := _STAMP.search(raw):
                ticks, tick = int(stamp[1]), Fraction(int(stamp[2]), int(stamp[3]))
                self._stamps.put(Stamp(None if ticks == _NO_TIME else ticks * tick))
                begun = raw[: stamp.start()]
                continue
            line = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
            match = _LINE.match(line)
            if match:
                level, who, text = match["level"], match["who"].strip(), match["text"]
            elif self._count and (told := _PROGRESS.match(line)):
                if told["key"] == "frame" and told["value"].isdecimal():
                    self.written = int(told["value"])
                continue
            else:
                text = "\0" + line  # the rest of a message with a newline, which is not a line of its own
            serious = level in _SERIOUS and match is not None
            if self._wanted and level == "info" and not who and not self._wanted.match(text):
                continue
            self.error_count += serious
            if len(self.messages) >= 2 * _KEPT_MESSAGES:
                del self.messages[_KEPT_MESSAGES]
            self.messages.append(Message(level, who, text))
        self._stamps.put(None)


def clean(text: str) -> str:
    """Return an ffmpeg message as one printable line."""
    text = re.sub(r"\[[^\]]* @ (?:0x)?[0-9a-fA-F]+\] ", "", text)
    # bytes that are not UTF-8 stay as they are in names, to be found there; they are made readable when they are shown
    shown = (letter if letter.isprintable() or "\udc80" <= letter <= "\udcff" else " " for letter in text)
    return " ".join("".join(shown).split()).rstrip(".")
