"""What a newcomer meets first: `make demo`, the README's commands, the package's metadata."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make")


def _planned(target: str, *settings: str) -> str:
    """The commands that make would run in a fresh checkout."""
    command = ["make", "--dry-run", f"--directory={ROOT}", "VENV=no-such-environment", *settings, target]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@needs_make
def test_the_demo_installs_what_running_needs_and_tests_the_rest() -> None:
    demo, test = _planned("demo"), _planned("test")
    assert "[dev]" not in demo
    assert demo.rstrip().endswith("examples/demo.py")
    assert "[dev]" in test
    assert demo.count(" -m venv ") == test.count(" -m venv ") == 1
    assert "--quiet" not in demo  # pip's lines and bars are the progress


@needs_make
def test_where_torch_comes_from_is_the_users_choice() -> None:
    assert f"--index-url {CPU_INDEX} " in _planned("demo", f"TORCH_INDEX={CPU_INDEX}")
    assert "--index-url" not in _planned("demo", "TORCH_INDEX=")
    assert CPU_INDEX in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_two_lines_install_without_cuda() -> None:
    block = next(part for part in re.findall(r"```\n(.*?)```", README, re.DOTALL) if CPU_INDEX in part)
    torch, rest = (line.partition("#")[0].strip() for line in block.splitlines())
    # torch first and from there alone: by an extra index pip might take PyPI's, which is as new
    assert torch == f"pip install torch --index-url {CPU_INDEX}"
    assert rest == "pip install ."
