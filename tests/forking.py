"""Commands that start at once: forked by a process that has imported torch and numba before them.

Importing is most of what a short command does, and few tests ask about it. So ``python forking.py SOCKET serve``
imports it all once, and ``python forking.py SOCKET run ARGUMENT…`` stands for ``python -m vidtwin_codec ARGUMENT…``:
it hands its standard streams to a fork of that process, passes signals on to it, and ends as it ends. What a fork
cannot give, another environment or a stream that is closed, is started in full. Killing a command kills only what
stands for it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
from types import FrameType

STREAMS = (0, 1, 2)
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Those of ``vidtwin_codec.signals``, which what stands for a command does not import."""
LENGTH = 1 << 20
"""Most bytes of a request."""
IMPORTED = (
    "vidtwin_codec.cli.common",
    "vidtwin_codec.model.checkpoint",
    "vidtwin_codec.media.probe",
    "vidtwin_codec.encoding.encode",
    "vidtwin_codec.decoding.decode",
    "imageio_ffmpeg",
    "psutil",
    "numba",
)
"""Modules that commands import late."""
CHANGING = ("PYTEST_CURRENT_TEST", "LINES", "COLUMNS")
"""What pytest, and the readline that it loads, set in the environment meanwhile."""


def differs(environment: dict[str, str]) -> bool:
    """Return whether this process has anything that a fork of another would lack."""
    try:
        for stream in STREAMS:
            os.fstat(stream)
    except OSError:
        return True
    here, there = ({**each, **dict.fromkeys(CHANGING)} for each in (os.environ, environment))
    return here != there or any(signal.getsignal(number) == signal.SIG_IGN for number in STOPPING)


def run(path: str, arguments: list[str]) -> None:
    """Be the command, as far as whoever started it can see."""
    with open(f"{path}.json", encoding="utf-8") as file:
        environment = json.load(file)
    if differs(environment):
        os.execv(sys.executable, [sys.executable, "-m", "vidtwin_codec", *arguments])
    pid = 0
    early = []

    def pass_on(number: int, _: FrameType | None) -> None:
        if pid:
            os.kill(pid, number)
        else:
            early.append(number)

    for number in STOPPING:
        signal.signal(number, pass_on)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [json.dumps([os.getcwd(), arguments]).encode()], STREAMS)
        for stream in STREAMS:
            os.close(stream)  # the command alone holds them, so that its end is theirs
        answers = connection.makefile()
        pid = int(answers.readline())
        for number in early:
            os.kill(pid, number)
        status = int(answers.readline())
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def serve(path: str) -> list[str]:
    """Fork for each command, as long as who started this is there; return in the fork, with its arguments."""
    parent, environment = os.getppid(), dict(os.environ)  # before importing adds to it
    *_, numba = (importlib.import_module(name) for name in IMPORTED)
    numba.njit(lambda number: number)(0)  # a first call loads as many modules again
    gc.freeze()  # what forks do not look at, they need not copy
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who waits for a command is a fork of its own
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        listener.settimeout(5)
        with open(f"{path}.json", "w", encoding="utf-8") as file:
            json.dump(environment, file)
        print("ready", flush=True)
        while os.getppid() == parent:
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                if not os.fork():
                    listener.close()
                    return attend(connection)
                connection.close()
    sys.exit()


def attend(connection: socket.socket) -> list[str]:
    """Fork once more: here to wait for the command and to tell how it ended, and there to be it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, streams, *_ = socket.recv_fds(connection, LENGTH, len(STREAMS))
    folder, arguments = json.loads(data)
    pid = os.fork()
    if pid:
        for stream in streams:
            os.close(stream)
        connection.sendall(b"%d\n" % pid)
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        os._exit(0)
    connection.close()
    for stream, given in zip(STREAMS, streams, strict=True):
        os.dup2(given, stream)
        os.close(given)
    # those of the interpreter remember what kind of files theirs were
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(stream, mode, closefd=False) for stream, mode in zip(STREAMS, "rww", strict=True)
    )
    os.chdir(folder)
    return arguments


if __name__ == "__main__":
    _, place, role, *rest = sys.argv
    if role == "run":
        run(place, rest)
    sys.argv = ["", *serve(place)]
    import runpy

    runpy.run_module("vidtwin_codec", run_name="__main__", alter_sys=True)
