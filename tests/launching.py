"""The command line as tests start it, in a process of its own."""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

WHOLE = [sys.executable, "-m", "vidtwin_codec"]
"""The command, started in full."""
ENVIRONMENT = dict(os.environ)


def vidtwin() -> list[str]:
    """Return the command, started at once (``forking.py``) where the system can do that."""
    return _forked() if sys.platform == "linux" else WHOLE


@functools.cache
def _forked() -> list[str]:
    folder = tempfile.TemporaryDirectory(prefix="vidtwin-")
    launcher = [str(Path(__file__).with_name("forking.py")), str(Path(folder.name, "socket"))]
    server = subprocess.Popen([sys.executable, *launcher, "serve"], stdout=subprocess.PIPE, env=ENVIRONMENT)
    atexit.register(folder.cleanup)
    atexit.register(server.kill)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    return [sys.executable, "-I", "-S", *launcher, "run"]  # which imports nothing that it does not need
