"""What a newcomer meets first: `make demo`, the README's commands, the package's metadata."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make")


def _planned(target: str, *settings: str) -> str:
    """The commands that make would run in a fresh checkout."""
    quiet = ["make", "--dry-run", "--no-print-directory", f"--directory={ROOT}"]
    command = [*quiet, "VENV=no-such-environment", *settings, target]
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


def test_the_least_versions_that_are_tested_are_those_declared() -> None:
    ranges = [*PROJECT["project"]["dependencies"]]
    for extra in ("train", "compare", "remote", "lpips"):
        ranges += PROJECT["project"]["optional-dependencies"][extra]
    declared = {name.lower(): version for name, _, version in (text.partition(">=") for text in ranges)}
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").split("# What these")[0].splitlines()
    tested = dict(line.lower().split("==") for line in lines if not line.startswith("#"))
    assert set(declared) - set(tested) == {"torch", "torchvision"}  # gigabytes; see the file
    assert {name: Version(version) for name, version in tested.items()} == {
        name: Version(declared[name]) for name in tested
    }


def test_two_lines_install_without_cuda() -> None:
    block = next(part for part in re.findall(r"```\n(.*?)```", README, re.DOTALL) if CPU_INDEX in part)
    torch, rest = (line.partition("#")[0].strip() for line in block.splitlines())
    # torch first and from there alone: by an extra index pip might take PyPI's, which is as new
    assert torch == f"pip install torch --index-url {CPU_INDEX}"
    assert rest == "pip install ."


def test_what_a_package_index_shows_has_no_links_to_files_that_are_not_there() -> None:
    readme = README
    for change in PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        readme = re.sub(change["pattern"], change["replacement"], readme)
    targets = re.findall(r"\]\(([^)]*)\)", readme)
    assert "https://arxiv.org/abs/2412.17726" in targets
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    assert "docs/INSTALL.md has every platform" in readme
    assert "Left the source" in README
    assert "Left the source" not in readme


def test_links_of_the_readme_lead_to_files() -> None:
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]*)\)", README)]
    files = [target for target in targets if target and not target.startswith("https://")]
    assert {"docs/images/quality_60.jpg", "docs/images/quality_40.jpg", "docs/INSTALL.md"} <= set(files)
    assert [name for name in files if not (ROOT / name).is_file()] == []
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size < 150_000


def test_limits_stand_near_the_top() -> None:
    lines = README.splitlines()
    assert lines.index("## Limits") < 40
    assert lines.index("## Limits") < lines.index("## What it does")


def test_variables_are_documented() -> None:
    install = (ROOT / "docs" / "INSTALL.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "vidtwin_codec").rglob("*.py")]
    used = {name for text in sources for name in re.findall(r"\bVIDTWIN_[A-Z_]+", text)}
    assert {"VIDTWIN_WEIGHTS", "VIDTWIN_DEVICE", "VIDTWIN_CACHE"} <= used
    assert [name for name in sorted(used) if name not in install] == []


def test_types_are_shipped() -> None:
    assert (ROOT / "vidtwin_codec" / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]
